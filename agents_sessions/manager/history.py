"""Read what was said and done in sessions."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from agents_sessions.errors import InvalidValueError
from agents_sessions.manager.checks import check_choice, check_limit
from agents_sessions.model.entries import item_entry
from agents_sessions.model.history import HistoryEntry, Message, messages, typed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.turn import Turns


class HistoryFacade:
    """What a manager shows of histories, and adds to them."""

    store: SessionStore
    _lookup: SessionLookup
    _turns: Turns
    _lock_timeout: float | None

    async def add_message(
        self,
        session_id: str,
        text: str,
        *,
        role: Literal["user", "assistant"] = "user",
        agent_id: str | None = None,
    ) -> Message:
        """Add a message to the history without asking any model, and return it. Waits for a turn that runs.

        The next turn shows it to the model: a note of a colleague, or an answer that a person wrote.

        Raises:
            SessionNotFoundError, SessionPausedError, SessionClosedError: The session takes no messages.
            SessionBusyError: A turn runs on it and did not end in time.
            ApprovalPendingError: Tool calls of the last turn wait for approval; a message must not come between.
            InvalidValueError: The text is empty or none, or the role is neither `user` nor `assistant`.
        """
        check_choice("role", role, ("user", "assistant"))
        if not isinstance(text, str) or not text.strip():
            raise InvalidValueError({"text": "must be a text that is not empty"})
        key = await self._lookup.key(session_id, agent_id)
        added = await self._turns.add(key, item_entry({"role": role, "content": text}), self._lock_timeout)
        return messages(added.entries)[0]

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
