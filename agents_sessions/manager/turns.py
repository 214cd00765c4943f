"""Send messages to sessions, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from weakref import WeakSet

from agents_sessions.turns.approvals import PendingApproval, load_awaiting
from agents_sessions.turns.events import Listener, TurnEvent
from agents_sessions.turns.options import RetryOptions, RunArguments, SendOptions, TurnOptions, TurnSettings
from agents_sessions.turns.request import Content, Decisions, Prompt, Request, Resume, Retry, Send
from agents_sessions.turns.stream import ReplyStream

if TYPE_CHECKING:
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

    async def send_message(self, session_id: str, content: Content, **options: Unpack[SendOptions]) -> Reply:
        """Run one turn: give the message to the agent, store what happens, return the answer.

        Messages on one session wait for each other, first come, first served; on different sessions they do not.

        Args:
            session_id: The session.
            content: A text, or input items of the SDK.
            options: How to run it: agent_id, lock_timeout, start, on_failure, on_pending; see `SendOptions`. And the
                arguments of `Runner.run`: context, max_turns, hooks, run_config, error_handlers.

        Raises:
            SessionNotFoundError, SessionPausedError, SessionClosedError: The session takes no messages.
            SessionBusyError: Other turns held the session for longer than `lock_timeout`.
            SessionReentryError: A tool sent to the very session that it works for.
            UnknownAgentError: The session's agent, or the last one, is not registered.
            InvalidItemError: The content is not JSON.
            ApprovalPendingError: Tool calls of the last turn wait for approval.
            ReplyNotStoredError: The answer came but could not be stored; the error carries it.
            Exception: Whatever the run raised, as it was raised; the turn is recorded as failed.
        """
        settings = self._settings(SendOptions, session_id, options)
        return await self._turns.run(Send(session_id=session_id, settings=settings, prompt=Prompt.of(content)))

    def stream_message(self, session_id: str, content: Content, **options: Unpack[SendOptions]) -> ReplyStream:
        """Run one turn as `send_message` does, and give its events while it runs.

        The turn begins at once. `stream.stream_events()` yields the SDK's events, `await stream.reply()` waits for
        the end; both raise what `send_message` would raise. The session stays locked until the run has ended, also if
        the reader of the events breaks off.

        Raises:
            InvalidItemError: The content is not JSON.
        """
        settings = self._settings(SendOptions, session_id, options)
        return self._stream(Send(session_id=session_id, settings=settings, prompt=Prompt.of(content)))

    async def resume(
        self,
        session_id: str,
        *,
        approve: Iterable[str] | bool = (),
        reject: Mapping[str, str | None] | Iterable[str] | bool = (),
        **options: Unpack[TurnOptions],
    ) -> Reply:
        """Go on with a turn that awaits approval, in this or any other process.

        Args:
            session_id: The session.
            approve: Ids of calls that may run; True for all that are not rejected.
            reject: Ids of calls that may not, perhaps with reasons for the model; True for all others.
            options: As for `send_message`, without start and on_pending. The run context is not kept with the turn:
                give `context` again.

        Raises:
            NothingToResumeError: No call waits, or not one of these ids.
            SessionError: See `send_message`.
        """
        settings = self._settings(TurnOptions, session_id, options)
        decisions = Decisions(approve, reject)
        return await self._turns.run(Resume(session_id=session_id, settings=settings, decisions=decisions))

    def stream_resume(
        self,
        session_id: str,
        *,
        approve: Iterable[str] | bool = (),
        reject: Mapping[str, str | None] | Iterable[str] | bool = (),
        **options: Unpack[TurnOptions],
    ) -> ReplyStream:
        """Go on as `resume` does, and give the turn's events while it runs."""
        settings = self._settings(TurnOptions, session_id, options)
        return self._stream(Resume(session_id=session_id, settings=settings, decisions=Decisions(approve, reject)))

    async def retry(self, session_id: str, **options: Unpack[RetryOptions]) -> Reply:
        """Run the last turn again if it failed, was cancelled or was interrupted, without storing its message twice.

        Args:
            session_id: The session.
            options: As for `send_message`, without on_pending.

        Raises:
            NothingToResumeError: The last turn has not failed.
            SessionError: See `send_message`.
        """
        settings = self._settings(RetryOptions, session_id, options)
        return await self._turns.run(Retry(session_id=session_id, settings=settings))

    def stream_retry(self, session_id: str, **options: Unpack[RetryOptions]) -> ReplyStream:
        """Run the last turn again as `retry` does, and give its events while it runs."""
        return self._stream(Retry(session_id=session_id, settings=self._settings(RetryOptions, session_id, options)))

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

    def on(self, kind: type[_Event], listener: Listener[_Event]) -> Callable[[], None]:
        """Call a listener, sync or async, at every event of a kind; return the function that ends it."""
        return self._turns.listeners.add(kind, listener)

    def _stream(self, request: Request) -> ReplyStream:
        stream = ReplyStream(self._turns, request)
        self._streams.add(stream)
        return stream

    def _settings(self, kind: type[Mapping[str, Any]], session_id: str, options: TurnOptions) -> TurnSettings:
        defaults = {"lock_timeout": self._lock_timeout, **self._defaults}
        return TurnSettings.of(kind, session_id, defaults, options)
