"""Sessions for many users, agents and processes."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Unpack
from weakref import WeakSet

from agents_sessions.lookup import SessionLookup
from agents_sessions.manager.features import FeatureFacade
from agents_sessions.manager.history import HistoryFacade
from agents_sessions.manager.sessions import SessionFacade
from agents_sessions.manager.turns import TurnFacade
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.urls import store_from_url
from agents_sessions.turns.agents import AgentRegistry, Agents, MissingAgent
from agents_sessions.turns.options import RunArguments, check_options
from agents_sessions.turns.turn import Turns

if TYPE_CHECKING:
    from types import TracebackType

    from agents_sessions.turns.stream import ReplyStream


class SessionManager(SessionFacade, TurnFacade, HistoryFacade, FeatureFacade):
    """Finds sessions, runs turns on them, and keeps their history.

    Args:
        store_or_root: A store, the folder of a `FileStore`, or the URL of another store: `sqlite:///…`,
            `postgresql://…`, `redis://…`; see `store_from_url`.
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
        self.store = store_or_root if isinstance(store_or_root, SessionStore) else store_from_url(store_or_root)
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
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the streams that still run, and wait until their sessions are free.

        Then close the store, if the manager has made it; a store that it was given stays open.
        """
        try:
            # Cancel them together: a stream that ends alone would let the next one on its session begin.
            await asyncio.gather(*(stream.aclose() for stream in tuple(self._streams)))
        finally:
            if self._owns_store:
                await self.store.aclose()
