"""A session manager without turns: all that does not need the SDK, and so starts fast."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self, cast

from agents_sessions.errors import SessionAmbiguousError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.lookup import SessionLookup
from agents_sessions.manager.facts import FactFacade
from agents_sessions.manager.features import FeatureFacade
from agents_sessions.manager.finding import FindingFacade
from agents_sessions.manager.history import HistoryFacade
from agents_sessions.quota import SessionQuota
from agents_sessions.turns.ends import awaits_approval, end_interrupted, give_up
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.features.erasure import Erasure
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.agents import AgentRegistry
    from agents_sessions.turns.approvals import PendingApproval
    from agents_sessions.turns.summarising import Summarisers

TRASH = timedelta(days=30)
"""How long a session that was deleted here can be had back before a clean-up takes it."""


class Desk(FindingFacade, FactFacade, HistoryFacade, FeatureFacade):
    """Finds, changes and removes sessions, in the way of `SessionManager`; it can run no turns."""

    def __init__(self, store: SessionStore, lock_timeout: float | None) -> None:
        self.store = store
        self._lookup = SessionLookup(store)
        self._quota = SessionQuota(store, None, None)
        self._lock_timeout = lock_timeout
        self._trash_keeps = TRASH
        self._archive_folder = None
        self._schedules = set()
        self._prices = {}
        self._current = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.store.aclose()

    @cached_property
    def _summarisers(self) -> Summarisers:
        from agents_sessions.turns.summarising import Summarisers

        # No agent is ever asked here: a summary is composed without a model.
        return Summarisers(cast("AgentRegistry", None))

    async def meant(self, typed: str) -> SessionInfo:
        """Return the session that someone means: as `resolve`, or by `AGENT/ID` where several agents have the id."""
        try:
            return await self.resolve(typed)
        except (SessionNotFoundError, SessionAmbiguousError):
            agent_id, slash, session_id = typed.partition("/")
            if not slash or not agent_id or not session_id:
                raise
            found = await self.store.load(SessionKey(agent_id, session_id))
            if found is None:
                raise
            return found

    @property
    def erasure(self) -> Erasure:
        """What removes all sessions of a user."""
        return self._erasure

    async def trash_session(self, key: SessionKey) -> None:
        """Put a session into the trash."""
        await self.trash.put(key, lock_timeout=self._lock_timeout)

    async def delete_for_good(self, key: SessionKey) -> None:
        """Remove a session at once, with its history in the archive."""
        info = await self.store.load(key)
        if info is not None and info.status == "archived":
            await self.archive.delete(key, self._lock_timeout)
            return
        async with exclusive_turn(self.store, key, self._lock_timeout):
            await self.store.delete(key)

    async def give_up(self, key: SessionKey) -> bool:
        """End a turn that awaits approval, or whose process died; False if there is none."""
        async with exclusive_turn(self.store, key, self._lock_timeout) as lock:
            info = await self.store.existing(key)
            if (turn := info.context.open_turn) is not None:
                await end_interrupted(self.store, lock, info, turn)
            elif awaits_approval(info):
                await give_up(self.store, lock, info, "given up")
            else:
                return False
            return True

    async def approvals(self, key: SessionKey) -> list[PendingApproval]:
        """Return the tool calls of a session that wait for a decision."""
        from agents_sessions.turns.approvals import load_awaiting

        awaiting = await load_awaiting(self.store, await self.store.existing(key))
        return [] if awaiting is None else awaiting.approvals
