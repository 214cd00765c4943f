"""Sessions for many users, agents and processes."""

from __future__ import annotations

import asyncio
import copy
import os
from functools import cached_property
from typing import TYPE_CHECKING, Unpack
from weakref import WeakSet

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.statistics.prices import NO_PRICES, Prices, check_prices
from agents_sessions.lookup import SessionLookup
from agents_sessions.manager.bulk import BulkFacade
from agents_sessions.manager.features import FeatureFacade
from agents_sessions.manager.history import HistoryFacade
from agents_sessions.manager.turns import TurnFacade
from agents_sessions.model.durations import Duration, duration_of, seconds_of
from agents_sessions.quota import SessionQuota
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.scoped import OneUsersStore
from agents_sessions.stores.urls import store_from_url
from agents_sessions.turns.agents import AgentRegistry, Agents, MissingAgent
from agents_sessions.turns.options import RunArguments, check_options
from agents_sessions.turns.summarising import Summarisers
from agents_sessions.turns.turn import Turns

if TYPE_CHECKING:
    from types import TracebackType

    from agents_sessions.features.retention.retention import Schedule
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import Compaction
    from agents_sessions.stores.encryption.keyring import KeyProvider
    from agents_sessions.turns.stream import ReplyStream


DRAIN_TIMEOUT = 10.0
"""Seconds that a manager which is closed lets its turns run on."""


class SessionManager(BulkFacade, TurnFacade, HistoryFacade, FeatureFacade):
    """Finds sessions, runs turns on them, and keeps their history.

    Args:
        store_or_root: A store, the folder of a `FileStore`, or the URL of another store: `sqlite:///…`,
            `postgresql://…`, `redis://…`; see `store_from_url`.
        agents: The agents that sessions belong to: one, a list, a mapping from names, or a factory that makes the
            agent of a session. Needed only for sending messages.
        missing_agent: If the agent that a conversation was handed to is gone, its next message is an `error`, or goes
            to the session's own agent: `entry`.
        lock_timeout: Seconds that a message waits for the turns before it on the same session; None for no limit.
        trash: How long a deleted session can be had back, such as `"30d"`; None deletes for good.
        ttl: How long a session lives after its last activity that has no time of its own, such as `"7d"`.
        archive: The folder for archived sessions; None takes one below the root of a `FileStore`.
        max_sessions: How many sessions may be open, which is not closed, in the whole store; None for no limit.
        max_sessions_per_user: The same for the sessions of each user.
        prices: What models cost that no price list knows, or otherwise than it says: see `statistics`.
        compaction: When and how the model's input is shortened before a turn; None never does. A session's own wins.
        encryption: The keys that the sessions of a folder are encrypted under: a `KeyRing`. A store has its own.
        defaults: Arguments of `Runner.run` for every turn: context, max_turns, hooks, run_config, error_handlers.
    """

    def __init__(
        self,
        store_or_root: SessionStore | str | os.PathLike[str] = "sessions",
        *,
        agents: Agents = (),
        missing_agent: MissingAgent = "error",
        lock_timeout: float | None = 300.0,
        trash: Duration | None = None,
        ttl: Duration | None = None,
        archive: str | os.PathLike[str] | None = None,
        max_sessions: int | None = None,
        max_sessions_per_user: int | None = None,
        prices: Prices = NO_PRICES,
        compaction: Compaction | None = None,
        encryption: KeyProvider | None = None,
        **defaults: Unpack[RunArguments],
    ) -> None:
        self._owns_store = not isinstance(store_or_root, SessionStore)
        self.store = _store_of(store_or_root, encryption)
        self._registry = AgentRegistry(agents, missing_agent)
        check_options(RunArguments, defaults)
        self._lock_timeout = lock_timeout
        self._defaults = defaults
        self._trash_keeps = None if trash is None else duration_of(trash, "trash")
        self._archive_folder = archive
        self._lookup = SessionLookup(self.store, None if ttl is None else seconds_of(ttl, "ttl"))
        self._quota = SessionQuota(self.store, max_sessions, max_sessions_per_user)
        self._prices = check_prices(prices)
        if compaction is not None:
            Summarisers(self._registry).check(compaction.summariser)
        self._turns = Turns(self.store, self._lookup, self._registry, compaction=compaction)
        self._streams: WeakSet[ReplyStream] = WeakSet()
        self._schedules: set[Schedule] = set()
        self._current: SessionKey | None = None

    def for_user(self, user_id: str) -> SessionManager:
        """Return this manager as one user may use it: sessions of others are not there, whatever is called.

        It can do all that a manager can. New sessions are this user's, and stay so. It shares agents, defaults, limits
        and listeners with this one, and need not be closed.

        Raises:
            InvalidValueError: The user is no text, or an empty one.
        """
        if not isinstance(user_id, str) or not user_id:
            raise InvalidValueError({"user_id": f"must be a string that is not empty, not {user_id!r:.80}"})
        view = copy.copy(self)
        for name in vars(self):
            if isinstance(getattr(type(self), name, None), cached_property):
                delattr(view, name)  # it was made with the store of all
        view._owns_store, view._current, view._user_id = False, None, user_id
        view.store = OneUsersStore(self.store, user_id)
        view._lookup = SessionLookup(view.store, self._lookup.ttl)
        view._archive_folder = self.archive.folder
        view._quota = self._quota.seen_by(user_id)
        view._turns = self._turns.on(view.store, view._lookup)
        return view

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
            await asyncio.gather(*(schedule.stop() for schedule in tuple(self._schedules)))
            if not await running.drain(drain_timeout):
                await asyncio.gather(*(stream.aclose() for stream in streams))
                running.cancel()
                await running.drain(None)
        finally:
            if self._owns_store:
                await self.store.aclose()


def _store_of(store_or_root: SessionStore | str | os.PathLike[str], encryption: KeyProvider | None) -> SessionStore:
    if encryption is None:
        return store_or_root if isinstance(store_or_root, SessionStore) else store_from_url(store_or_root)
    if isinstance(store_or_root, SessionStore):
        raise InvalidValueError({"encryption": "must be given to the store, which is made already"})
    scheme, is_url, _ = os.fspath(store_or_root).partition("://")
    if is_url and scheme != "file":
        raise InvalidValueError({"encryption": f"must be None: the store of {scheme}:// does not encrypt"})
    return store_from_url(store_or_root, encryption=encryption)
