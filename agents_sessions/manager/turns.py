"""Send messages to sessions, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload
from weakref import WeakSet

from agents_sessions.model.ids import check_id
from agents_sessions.not_given import NOT_GIVEN, NotGiven, given
from agents_sessions.turns.approvals import PendingApproval, load_awaiting
from agents_sessions.turns.events import Listener, TurnEvent
from agents_sessions.turns.options import (
    OnFailure,
    OnPending,
    RetryOptions,
    RunArguments,
    SendOptions,
    Start,
    TurnOptions,
    TurnSettings,
)
from agents_sessions.turns.request import Again, Content, Decisions, Prompt, Request, Resume, Retry, Send
from agents_sessions.turns.stream import ReplyStream

if TYPE_CHECKING:
    from agents import Agent

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.reply import Reply
    from agents_sessions.turns.turn import Turns

_Event = TypeVar("_Event", bound=TurnEvent)


class TurnFacade:
    """What a manager does with the turns of sessions."""

    store: SessionStore
    _lookup: SessionLookup
    _turns: Turns
    _streams: WeakSet[ReplyStream]
    _lock_timeout: float | None
    _defaults: RunArguments

    async def send_message(
        self,
        session_id: str,
        content: Content,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        agent: Agent[Any] | str | None = None,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        on_pending: OnPending = "error",
        **arguments: Unpack[RunArguments],
    ) -> Reply:
        """Run one turn: give the message to the agent, store what happens, return the answer.

        Messages on one session wait for each other, first come, first served; on different sessions they do not.

        Args:
            session_id: The session: the `id` of its info.
            content: A text, or input items of the SDK.
            agent_id: Which session, if several agents have one of this id.
            agent: Which agent takes the message: an `Agent`, or the name of one. Not together with `start`.
            lock_timeout: Seconds to wait for the turns before this one, None for ever; by default the manager's.
            start: Go on with the agent that ended the `last` turn, or begin at the session's own: `entry`.
            on_failure: What becomes of a failed turn's items: `keep`, since its tools may have acted, or `rollback`.
            on_pending: While tool calls wait for approval, a message is an `error`, or it `reject`s them and goes on.
            arguments: Those of `Runner.run`, over the manager's: context, max_turns, hooks, run_config, error_handlers.

        Raises:
            SessionNotFoundError, SessionPausedError, SessionClosedError: The session takes no messages.
            SessionBusyError: Other turns held the session for longer than `lock_timeout`.
            SessionReentryError: A tool sent to the very session that it works for.
            UnknownAgentError, AgentAmbiguousError: The session's agent, or the last one, is not registered, or several
                have its name.
            InvalidValueError, InvalidItemError: An argument is none of its values; the content is not JSON.
            ApprovalPendingError: Tool calls of the last turn wait for approval.
            ReplyNotStoredError: The answer came but could not be stored; the error carries it.
            Exception: Whatever the run raised, as it was raised; the turn is recorded as failed.
        """
        chosen = given(
            agent_id=agent_id,
            agent=agent,
            lock_timeout=lock_timeout,
            start=start,
            on_failure=on_failure,
            on_pending=on_pending,
        )
        settings = self._settings(SendOptions, session_id, chosen, arguments)
        return await self._turns.run(Send(session_id=session_id, settings=settings, prompt=Prompt.of(content)))

    def stream_message(
        self,
        session_id: str,
        content: Content,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        agent: Agent[Any] | str | None = None,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        on_pending: OnPending = "error",
        **arguments: Unpack[RunArguments],
    ) -> ReplyStream:
        """Run one turn as `send_message` does, with the same arguments, and give its events while it runs.

        The turn begins at once. `stream.text_deltas()` yields the words, `stream.stream_events()` the SDK's events,
        and `await stream.reply()` waits for the end; all raise what `send_message` would raise. The session stays
        locked until the run has ended, also if the reader of the events breaks off.

        Raises:
            InvalidValueError, InvalidItemError: An argument is none of its values; the content is not JSON.
        """
        chosen = given(
            agent_id=agent_id,
            agent=agent,
            lock_timeout=lock_timeout,
            start=start,
            on_failure=on_failure,
            on_pending=on_pending,
        )
        settings = self._settings(SendOptions, session_id, chosen, arguments)
        return self._stream(Send(session_id=session_id, settings=settings, prompt=Prompt.of(content)))

    async def resume(
        self,
        session_id: str,
        *,
        approve: Iterable[str] | bool = (),
        reject: Mapping[str, str | None] | Iterable[str] | bool = (),
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        agent: Agent[Any] | str | None = None,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> Reply:
        """Go on with a turn that awaits approval, in this or any other process.

        Args:
            session_id: The session.
            approve: Ids of calls that may run, or one id; True for all that are not rejected.
            reject: Ids of calls that may not, perhaps with reasons for the model; True for all others.
            agent_id: See `send_message`.
            lock_timeout: See `send_message`.
            agent: The agent that the turn began with, or its name, if it was renamed or is not registered.
            start: With `entry`, the session's own agent takes the place of the one that the turn began with.
            on_failure: See `send_message`.
            arguments: Those of `Runner.run`. The run context is not kept with the turn: give `context` again.

        Raises:
            NothingToResumeError: No call waits.
            InvalidDecisionError: A call of these ids does not wait, is one of several, or is approved and rejected.
            SessionError: See `send_message`.
        """
        chosen = given(agent_id=agent_id, agent=agent, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        decisions = Decisions(approve, reject)
        return await self._turns.run(Resume(session_id=session_id, settings=settings, decisions=decisions))

    def stream_resume(
        self,
        session_id: str,
        *,
        approve: Iterable[str] | bool = (),
        reject: Mapping[str, str | None] | Iterable[str] | bool = (),
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        agent: Agent[Any] | str | None = None,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> ReplyStream:
        """Go on as `resume` does, with the same arguments, and give the turn's events while it runs."""
        chosen = given(agent_id=agent_id, agent=agent, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return self._stream(Resume(session_id=session_id, settings=settings, decisions=Decisions(approve, reject)))

    async def retry(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        agent: Agent[Any] | str | None = None,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> Reply:
        """Run the last turn again if it failed, was cancelled or was interrupted, without storing its message twice.

        Args:
            session_id: The session.
            agent_id: See `send_message`.
            agent: See `send_message`.
            lock_timeout: See `send_message`.
            start: See `send_message`.
            on_failure: See `send_message`.
            arguments: Those of `Runner.run`.

        Raises:
            NothingToRetryError: The last turn has not failed.
            MessageNotKeptError: Its message was too large to be kept: send it again, shorter.
            SessionError: See `send_message`.
        """
        chosen = given(agent_id=agent_id, agent=agent, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return await self._turns.run(Retry(session_id=session_id, settings=settings))

    def stream_retry(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        agent: Agent[Any] | str | None = None,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> ReplyStream:
        """Run the last turn again as `retry` does, with the same arguments, and give its events while it runs."""
        chosen = given(agent_id=agent_id, agent=agent, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return self._stream(Retry(session_id=session_id, settings=settings))

    async def regenerate(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> Reply:
        """Take the last turn back and send its message once more, in one step: nothing comes in between.

        The arguments are those of `send_message`. The answer that was taken back stays in the history, out of sight.

        Raises:
            NothingToUndoError: There is no turn, or the history does not have its message.
            SessionError: See `send_message`; the turn is back if the new one could not begin.
        """
        chosen = given(agent_id=agent_id, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return await self._turns.run(Again(session_id=session_id, settings=settings))

    def stream_regenerate(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> ReplyStream:
        """Do as `regenerate` does, with the same arguments, and give the turn's events while it runs."""
        chosen = given(agent_id=agent_id, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return self._stream(Again(session_id=session_id, settings=settings))

    async def edit_last_message(
        self,
        session_id: str,
        content: Content,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> Reply:
        """Take the last turn back and send another message in its place, in one step: nothing comes in between.

        The arguments are those of `send_message`. What was taken back stays in the history, out of sight.

        Raises:
            NothingToUndoError: There is no turn.
            SessionError: See `send_message`; the turn is back if the new one could not begin.
        """
        chosen = given(agent_id=agent_id, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return await self._turns.run(Again(session_id=session_id, settings=settings, prompt=Prompt.of(content)))

    def stream_edit_last_message(
        self,
        session_id: str,
        content: Content,
        *,
        agent_id: str | None = None,
        lock_timeout: float | NotGiven | None = NOT_GIVEN,
        start: Start = "last",
        on_failure: OnFailure = "keep",
        **arguments: Unpack[RunArguments],
    ) -> ReplyStream:
        """Do as `edit_last_message` does, with the same arguments, and give the turn's events while it runs."""
        chosen = given(agent_id=agent_id, lock_timeout=lock_timeout, start=start, on_failure=on_failure)
        settings = self._settings(RetryOptions, session_id, chosen, arguments)
        return self._stream(Again(session_id=session_id, settings=settings, prompt=Prompt.of(content)))

    async def give_up(self, session_id: str, *, agent_id: str | None = None) -> None:
        """End the turn that awaits approval, whatever has become of its agents, its tools or its run state.

        Its calls are rejected and answered, and the turn is `cancelled`: `retry` lets the agent go on without them.

        Raises:
            NothingToResumeError: No turn awaits approval.
            SessionNotFoundError: There is no such session.
            SessionBusyError: A turn runs on it and did not end in time.
        """
        await self._turns.give_up(await self._lookup.key(session_id, agent_id), self._lock_timeout)

    async def pending_approvals(self, session_id: str, *, agent_id: str | None = None) -> list[PendingApproval]:
        """Return the tool calls of a session that wait for a decision.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        awaiting = await load_awaiting(self.store, await self.store.existing(key))
        return [] if awaiting is None else awaiting.approvals

    @overload
    def on(self, kind: type[_Event], listener: Listener[_Event]) -> Callable[[], None]: ...

    @overload
    def on(self, kind: type[_Event]) -> Callable[[Listener[_Event]], Listener[_Event]]: ...

    def on(
        self, kind: type[_Event], listener: Listener[_Event] | None = None
    ) -> Callable[[], None] | Callable[[Listener[_Event]], Listener[_Event]]:
        """Call a listener, sync or async, at every event of a kind; return the function that ends it.

        Without a listener it is a decorator: ``@manager.on(TurnFinished)``. Listeners run inside the turn.

        Raises:
            TypeError: The kind is no class of events.
        """
        if not (isinstance(kind, type) and issubclass(kind, TurnEvent)):
            raise TypeError(f"kind must be TurnEvent or one of its classes, such as TurnFinished, not {kind!r:.80}")
        if listener is not None:
            return self._turns.listeners.add(kind, listener)

        def add(decorated: Listener[_Event]) -> Listener[_Event]:
            self._turns.listeners.add(kind, decorated)
            return decorated

        return add

    def _stream(self, request: Request) -> ReplyStream:
        stream = ReplyStream(self._turns, request)
        self._streams.add(stream)
        return stream

    def _settings(
        self, kind: type[Mapping[str, Any]], session_id: str, chosen: Mapping[str, object], arguments: RunArguments
    ) -> TurnSettings:
        check_id(session_id)
        defaults = {"lock_timeout": self._lock_timeout, **self._defaults}
        return TurnSettings.of(kind, session_id, defaults, cast("TurnOptions", {**chosen, **arguments}))
