"""Read what was said and done in sessions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from agents_sessions.manager.checks import check_limit
from agents_sessions.model.history import HistoryEntry, Message, typed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.stores.base import SessionStore


class HistoryFacade:
    """What a manager shows of histories."""

    store: SessionStore
    _lookup: SessionLookup

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

        With a `limit`, the oldest entries beyond `after`, so that a poller misses none; without `after`, the newest
        ones.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            after: Only entries with a `seq` above this one.
            before: Only entries with a `seq` below this one.
            limit: At most so many entries.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The limit is negative.
        """
        check_limit(limit)
        key = await self._lookup.key(session_id, agent_id)
        return [typed(entry) for entry in await self.store.entries(key, after=after, before=before, limit=limit)]

    async def follow(
        self, session_id: str, *, agent_id: str | None = None, after: int | None = None
    ) -> AsyncIterator[HistoryEntry]:
        """Yield entries as they are stored, whoever stores them, until you stop: for a second window, or a log.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            after: Begin behind the entry with this `seq`; without it, with what is new.

        Raises:
            SessionNotFoundError: There is none, or no longer.
        """
        key = await self._lookup.key(session_id, agent_id)
        async with contextlib.aclosing(self.store.follow(key, after=after)) as entries:
            async for entry in entries:
                yield typed(entry)

    async def get_recent_messages(
        self, session_id: str, *, agent_id: str | None = None, limit: int = 50
    ) -> list[Message]:
        """Return the newest messages of user and assistant, oldest first. The cost grows with `limit` alone.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The limit is negative.
        """
        check_limit(limit)
        key = await self._lookup.key(session_id, agent_id)
        return await self.store.messages(key, limit=limit)
