"""Sessions for many users, agents and processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack
from uuid import uuid4
from weakref import WeakSet

from pydantic import ValidationError

from agents_sessions.errors import InvalidItemError, SessionExistsError
from agents_sessions.lookup import SessionLookup
from agents_sessions.model.history import HistoryEntry, Message, invalid_fields, typed
from agents_sessions.model.info import SessionInfo, SessionStatus, SessionType
from agents_sessions.session import ManagedSession
from agents_sessions.stores.base import History, SessionStore
from agents_sessions.stores.file.store import FileStore
from agents_sessions.turns.agents import AgentRegistry, Agents
from agents_sessions.turns.approvals import PendingApproval, load_awaiting
from agents_sessions.turns.events import Listener, TurnEvent
from agents_sessions.turns.options import (
    RetryOptions,
    RunArguments,
    SendOptions,
    TurnOptions,
    TurnSettings,
    check_options,
)
from agents_sessions.turns.request import Content, Decisions, Prompt, Request, Resume, Retry, Send
from agents_sessions.turns.stream import ReplyStream
from agents_sessions.turns.turn import Turns

if TYPE_CHECKING:
    from types import TracebackType

    from agents.memory import SessionSettings

    from agents_sessions.turns.reply import Reply

_Event = TypeVar("_Event", bound=TurnEvent)
_UNCHANGED: Any = object()


@contextlib.contextmanager
def _facts_checked() -> Iterator[None]:
    """Name the facts that do not fit, without their values, which pydantic would quote."""
    try:
        yield
    except ValidationError as error:
        raise InvalidItemError("the session's facts", f"invalid value of {invalid_fields(error)}") from None


class SessionManager:
    """Finds sessions, runs turns on them, and keeps their history.

    Args:
        store_or_root: A store, or the folder of a `FileStore`.
        agents: The agents that sessions belong to: a list, a mapping from names, or a factory that makes the
            agent of a session. Needed only for sending messages.
        lock_timeout: Seconds that a message waits for the turns before it on the same session; None for ever.
        defaults: Arguments of `Runner.run` for every turn: context, max_turns, hooks, run_config, error_handlers.
    """

    def __init__(
        self,
        store_or_root: SessionStore | str | os.PathLike[str] = "sessions",
        *,
        agents: Agents = (),
        lock_timeout: float | None = 300.0,
        **defaults: Unpack[RunArguments],
    ) -> None:
        self.store = store_or_root if isinstance(store_or_root, SessionStore) else FileStore(store_or_root)
        self._registry = AgentRegistry(agents)
        check_options(RunArguments, defaults)
        self._lock_timeout = lock_timeout
        self._defaults = defaults
        self._lookup = SessionLookup(self.store)
        self._turns = Turns(self.store, self._lookup, self._registry)
        self._streams: WeakSet[ReplyStream] = WeakSet()

    async def __aenter__(self) -> SessionManager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the streams that still run, and wait until their sessions are free."""
        # All at once: one that ends must not let the next one begin.
        await asyncio.gather(*(stream.aclose() for stream in tuple(self._streams)))

    # --- sessions ---

    async def create_session(
        self,
        agent_id: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        name: str | None = None,
        session_type: SessionType = "user",
        mode: str | None = None,
        max_turns: int | None = None,
        history_limit: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> SessionInfo:
        """Make a new session of an agent.

        Args:
            agent_id: The agent that its first turn starts with.
            session_id: Its id; by default a new UUID.
            user_id: Whose conversation it is.
            name: A title for people.
            session_type: Who drives it.
            mode: Free text such as `plan` or `build`, for an agent factory.
            max_turns: The Runner's `max_turns` where neither the call nor the manager gives one.
            history_limit: About how many items of the history the model sees, where no run config says it. The cut
                is made at a user message.
            metadata: Anything else to keep, as JSON data.

        Raises:
            UnknownAgentError: Agents were given, and this is none of them.
            SessionExistsError: The id is taken.
            InvalidItemError: A value does not fit, or the metadata is not JSON.
        """
        self._registry.check_entry(agent_id)
        with _facts_checked():
            info = SessionInfo(
                id=str(uuid4()) if session_id is None else session_id,
                agent_id=agent_id,
                user_id=user_id,
                name=name,
                session_type=session_type,
                mode=mode,
                max_turns=max_turns,
                history_limit=history_limit,
                metadata=metadata or {},
            )
        if session_id is not None and await self.store.find(session_id):
            raise SessionExistsError(session_id)
        created = await self.store.create(info)
        self._lookup.remember(created.key)
        return created

    async def get_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Return a session's facts and totals.

        Raises:
            SessionNotFoundError: There is none.
            SessionAmbiguousError: Several agents have one of this id, and `agent_id` does not say which.
        """
        key = await self._lookup.key(session_id, agent_id)
        return await self.store.existing(key)

    async def list_sessions(
        self,
        *,
        agent_id: str | None = None,
        user_id: str | None = None,
        status: SessionStatus | None = None,
        session_type: SessionType | None = None,
        limit: int | None = None,
    ) -> list[SessionInfo]:
        """Return sessions, the most recently changed first. What is not given does not filter."""
        wanted = {"user_id": user_id, "status": status, "session_type": session_type}
        found = [
            info
            async for info in self.store.scan(agent_id)
            if all(value is None or getattr(info, name) == value for name, value in wanted.items())
        ]
        found.sort(key=lambda info: info.updated_at, reverse=True)
        return found if limit is None else found[: max(0, limit)]

    async def update_session(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        name: str | None = _UNCHANGED,
        user_id: str | None = _UNCHANGED,
        status: SessionStatus = _UNCHANGED,
        mode: str | None = _UNCHANGED,
        max_turns: int | None = _UNCHANGED,
        history_limit: int | None = _UNCHANGED,
        metadata: dict[str, Any] = _UNCHANGED,
    ) -> SessionInfo:
        """Change facts of a session; what is not given stays. `metadata` replaces all of it.

        Raises:
            SessionNotFoundError: There is none.
            InvalidItemError: A value does not fit, or the metadata is not JSON; nothing was changed.
        """
        given = {
            "name": name,
            "user_id": user_id,
            "status": status,
            "mode": mode,
            "max_turns": max_turns,
            "history_limit": history_limit,
            "metadata": metadata,
        }
        facts = {field: value for field, value in given.items() if value is not _UNCHANGED}

        def change(history: History) -> History:
            with _facts_checked():
                return history.with_facts(**facts) if facts else history

        return await self.store.rewrite(await self._lookup.key(session_id, agent_id), change)

    async def clear_session(self, session_id: str, *, agent_id: str | None = None) -> None:
        """Remove the whole history of a session, with its totals. Waits for a turn that runs on it.

        Raises:
            SessionNotFoundError: There is none.
            SessionBusyError: A turn runs on it and did not end in time.
        """
        key = await self._lookup.key(session_id, agent_id)
        await self._turns.clear(key, self._lock_timeout)

    async def delete_session(self, session_id: str, *, agent_id: str | None = None) -> None:
        """Remove a session and all that belongs to it, for good. Waits for a turn that runs on it.

        Raises:
            SessionNotFoundError: There is none.
            SessionBusyError: A turn runs on it and did not end in time.
        """
        key = await self._lookup.key(session_id, agent_id)
        await self._turns.delete(key, self._lock_timeout)

    def session(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> ManagedSession:
        """Return one session as the SDK's `Session`, for `Runner.run(session=…)`.

        That there is none shows when it is first used, or at once with ``await manager.session(…)``.
        """
        return ManagedSession(
            self._lookup, self.store, session_id, agent_id=agent_id, session_settings=session_settings
        )

    # --- turns ---

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
            SessionBusyError: The session did not come free in time.
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
        the end; both raise what `send_message` would raise. The session is held until the run has ended, also if
        the reader of the events breaks off.
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
        """Go on with a turn that waits for approval, in this or any other process.

        Args:
            session_id: The session.
            approve: Ids of calls that may run; True for all that are not rejected.
            reject: Ids of calls that may not, with the reason that the model is told; True for all others.
            options: As for `send_message`, without start and on_pending. The context object is not kept with the
                turn: give it again.

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

    async def pending_approvals(self, session_id: str, *, agent_id: str | None = None) -> list[PendingApproval]:
        """Return the tool calls of a session that wait for a decision.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        paused = await load_awaiting(self.store, await self.get_session(session_id, agent_id=agent_id))
        return [] if paused is None else paused.approvals

    def on(self, kind: type[_Event], listener: Listener[_Event]) -> Callable[[], None]:
        """Call a listener, sync or async, at every event of a kind; return the function that ends it."""
        return self._turns.listeners.add(kind, listener)

    # --- history ---

    async def get_history(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[HistoryEntry]:
        """Return the history in order: items, handoffs, usage and the ends of turns.

        With a `limit`, the oldest entries beyond `after`, so that who asks again and again misses none; without
        `after`, the newest ones.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            after: Only entries with a `seq` above this one.
            before: Only entries with a `seq` below this one.
            limit: At most so many entries.

        Raises:
            SessionNotFoundError: There is none.
        """
        key = await self._lookup.key(session_id, agent_id)
        return [typed(entry) for entry in await self.store.entries(key, after=after, before=before, limit=limit)]

    async def get_recent_messages(
        self, session_id: str, *, agent_id: str | None = None, limit: int = 50
    ) -> list[Message]:
        """Return the newest messages of user and assistant, oldest first. The cost grows with `limit` alone.

        Raises:
            SessionNotFoundError: There is none.
        """
        key = await self._lookup.key(session_id, agent_id)
        return await self.store.messages(key, limit=max(0, limit))

    # --- inside ---

    def _stream(self, request: Request) -> ReplyStream:
        stream = ReplyStream(self._turns, request)
        self._streams.add(stream)
        return stream

    def _settings(self, kind: type[Mapping[str, Any]], session_id: str, options: TurnOptions) -> TurnSettings:
        defaults = {"lock_timeout": self._lock_timeout, **self._defaults}
        return TurnSettings.of(kind, session_id, defaults, options)
