"""How many sessions may be open at once."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import AsyncIterator, Mapping
from heapq import nsmallest
from typing import TYPE_CHECKING

from agents_sessions.errors import InvalidValueError, TooManySessionsError
from agents_sessions.model.query import MAX_LIMIT, SessionQuery

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import SessionInfo, SessionStatus
    from agents_sessions.stores.base import SessionStore

CANDIDATES = 3
"""How many sessions an error names."""

_OPEN: tuple[SessionStatus, ...] = ("active", "paused")
_NOT_OPEN: tuple[SessionStatus, ...] = ("closed", "archived")
_DOOR = "\x01max_sessions"
"""What is reserved while someone counts and makes. No one gives a session this id."""


class SessionQuota:
    """The limits of a manager. A session counts until it is closed, archived or removed.

    Whoever would add one counts and makes it under one lock of the store, so that no two processes take the last place.
    Managers with other limits, or none, do not know of it.

    Args:
        store: The sessions.
        most: How many may be open in the whole store; None for no limit.
        most_per_user: How many may be open of each user; None for no limit.

    Raises:
        InvalidValueError: A limit is no whole number from 1 on.
    """

    def __init__(self, store: SessionStore, most: int | None = None, most_per_user: int | None = None) -> None:
        limits = {"max_sessions": most, "max_sessions_per_user": most_per_user}
        wrong = {name for name, limit in limits.items() if limit is not None and (type(limit) is not int or limit < 1)}
        if wrong:
            raise InvalidValueError(dict.fromkeys(sorted(wrong), "must be a whole number from 1 on, or None"))
        self._store = store
        self._most = most
        self._most_per_user = most_per_user
        self._viewer: str | None = None

    def seen_by(self, user_id: str) -> SessionQuota:
        """Return the same limits for a user, who is told of no session of another one."""
        seen = copy.copy(self)
        seen._viewer = user_id
        return seen

    @contextlib.asynccontextmanager
    async def room(self, user_id: str | None) -> AsyncIterator[None]:
        """Hold the right to make one session of a user.

        Raises:
            TooManySessionsError: There is no room for one more.
        """
        async with self._counting():
            await self._check_all()
            await self._check_user(user_id)
            yield

    @contextlib.asynccontextmanager
    async def room_after(
        self, store: SessionStore, key: SessionKey, facts: Mapping[str, object]
    ) -> AsyncIterator[None]:
        """Hold the right to change facts of a session, which may open it again or give it to another user.

        It is looked up in the store of whoever asks, who may not see all sessions.

        Raises:
            TooManySessionsError: There is no room for one more.
        """
        if not {"status", "user_id"} & facts.keys():
            yield
            return
        async with self._counting():
            if self._is_limited:
                await self._check_change(await store.existing(key), facts)
            yield

    @property
    def _is_limited(self) -> bool:
        return self._most is not None or self._most_per_user is not None

    @contextlib.asynccontextmanager
    async def _counting(self) -> AsyncIterator[None]:
        if not self._is_limited:
            yield
            return
        async with self._store.reserve(_DOOR):
            yield

    async def _check_change(self, info: SessionInfo, facts: Mapping[str, object]) -> None:
        after = info.model_copy(update=dict(facts))
        if after.status not in _OPEN:
            return
        opens = info.status not in _OPEN
        if opens:
            await self._check_all()
        if opens or after.user_id != info.user_id:
            await self._check_user(after.user_id)

    async def _check_all(self) -> None:
        if self._most is not None:
            await self._check("max_sessions", self._most, None)

    async def _check_user(self, user_id: str | None) -> None:
        if self._most_per_user is not None and user_id is not None:
            await self._check("max_sessions_per_user", self._most_per_user, user_id)

    async def _check(self, setting: str, limit: int, user_id: str | None) -> None:
        count = await self._store.count(SessionQuery(user_id=user_id))
        if count >= limit:  # only then it matters how many of them are closed or archived
            for status in _NOT_OPEN:
                count -= await self._store.count(SessionQuery(user_id=user_id, status=status))
        if count >= limit:
            raise TooManySessionsError(setting, limit, user_id, await self._oldest(user_id or self._viewer))

    async def _oldest(self, user_id: str | None) -> tuple[SessionKey, ...]:
        found: list[SessionInfo] = []
        for status in _OPEN:
            cursor = None
            while True:
                query = SessionQuery(user_id=user_id, status=status, pinned=False, limit=MAX_LIMIT, cursor=cursor)
                page = await self._store.query(query)
                found = nsmallest(CANDIDATES, [*found, *page], key=lambda info: info.last_active_at)
                if (cursor := page.next_cursor) is None:
                    break
        return tuple(info.key for info in found)
