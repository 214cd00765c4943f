"""Sessions for many users, agents and processes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Unpack
from weakref import WeakSet

from agents_sessions.lookup import SessionLookup
from agents_sessions.manager.history import HistoryFacade
from agents_sessions.manager.sessions import SessionFacade
from agents_sessions.manager.turns import TurnFacade
from agents_sessions.stores.base import SessionStore
from agents_sessions.turns.agents import AgentRegistry, Agents, MissingAgent
from agents_sessions.turns.options import RunArguments, check_options
from agents_sessions.turns.turn import Turns

if TYPE_CHECKING:
    from types import TracebackType

    from agents_sessions.turns.stream import ReplyStream


DRAIN_TIMEOUT = 10.0
"""Seconds that a manager which is closed lets its turns run on."""


class SessionManager(SessionFacade, TurnFacade, HistoryFacade):
    """Finds sessions, runs turns on them, and keeps their history.

    Args:
        store_or_root: A store, or the folder of a `FileStore`.
        agents: The agents that sessions belong to: one, a list, a mapping from names, or a factory that makes the
            agent of a session. Needed only for sending messages.
        missing_agent: If the agent that a conversation was handed to is gone, its next message is an `error`, or goes
            to the session's own agent: `entry`.
        lock_timeout: Seconds that a message waits for the turns before it on the same session; None for no limit.
        defaults: Arguments of `Runner.run` for every turn: context, max_turns, hooks, run_config, error_handlers.
    """

    def __init__(
        self,
        store_or_root: SessionStore | str | os.PathLike[str] = "sessions",
        *,
        agents: Agents = (),
        missing_agent: MissingAgent = "error",
        lock_timeout: float | None = 300.0,
        **defaults: Unpack[RunArguments],
    ) -> None:
        self._owns_store = not isinstance(store_or_root, SessionStore)
        self.store = store_or_root if isinstance(store_or_root, SessionStore) else _file_store(store_or_root)
        self._registry = AgentRegistry(agents, missing_agent)
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
        await self.aclose(drain_timeout=DRAIN_TIMEOUT if error is None else 0.0)

    async def aclose(self, *, drain_timeout: float | None = DRAIN_TIMEOUT) -> None:
        """Take no more turns, let those that run come to their end, and wait until their sessions are free.

        A turn that waits for its session does not begin any more: it is a `ManagerClosedError`. Then the store is
        closed, if the manager has made it; a store that it was given stays open.

        Args:
            drain_timeout: Seconds after which the turns that still run are cancelled, None for never. The end of an
                ``async with`` block that was left by an error cancels them at once.
        """
        running, streams = self._turns.running, tuple(self._streams)
        running.close()
        for stream in streams:
            stream.leave_behind()
        try:
            if not await running.drain(drain_timeout):
                await asyncio.gather(*(stream.aclose() for stream in streams))
                running.cancel()
                await running.drain(None)
        finally:
            if self._owns_store:
                await self.store.aclose()


def _file_store(root: str | os.PathLike[str]) -> SessionStore:
    from agents_sessions.stores.file.store import FileStore  # here: it needs POSIX, and a manager does not

    return FileStore(root)
