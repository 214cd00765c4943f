"""Which agent a session belongs to, for callers that know its id alone, and whether it may still be used."""

import contextlib
import logging
from datetime import timedelta

from agents_sessions.concurrency.fair_locks import FairLocks
from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import (
    SessionAmbiguousError,
    SessionArchivedError,
    SessionExpiredError,
    SessionNotFoundError,
    SessionStorageError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.ids import check_id
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import has_expired
from agents_sessions.stores.base import SessionStore

logger = logging.getLogger("agents_sessions")

_REMEMBERED = 10_000


class SessionLookup:
    """Finds the keys of sessions, and remembers the newest ones.

    Args:
        store: Where the sessions are.
        ttl: Seconds until a session expires that has no time of its own; None for never.
    """

    def __init__(self, store: SessionStore, ttl: float | None = None) -> None:
        self._store = store
        self.ttl = ttl
        self._known: Recent[str, SessionKey] = Recent(_REMEMBERED)
        self._locks = FairLocks()

    async def key(self, session_id: str, agent_id: str | None = None, *, whatever: bool = False) -> SessionKey:
        """Return the key of a session. Callers that ask for one id are answered in the order in which they came.

        Args:
            session_id: Its id.
            agent_id: Needed only if several agents have a session of this id.
            whatever: Take one that is expired or archived too, as those do who refresh, restore or remove it.

        Raises:
            SessionIdError: An id is invalid.
            SessionNotFoundError: There is none.
            SessionAmbiguousError: Several agents have one of this id, and `agent_id` does not say which.
            SessionExpiredError, SessionArchivedError: It is, and `whatever` is not set.
        """
        check_id(session_id)
        if agent_id is not None:
            check_id(agent_id, what="agent_id")
            key = SessionKey(agent_id, session_id)
            return key if whatever else await self._checked(key)
        # A search may take long, and a message must not overtake the one before it: one search per id at a time.
        async with self._locks.hold(session_id):
            known = self._known.get(session_id)
            if known is not None and await self._is_there(known, whatever=whatever):
                return known
            found = self.remember(await self._search(session_id))
            return found if whatever else await self._checked(found)

    def remember(self, key: SessionKey) -> SessionKey:
        """Remember the key of a session that was found or made, and return it."""
        self._known.put(key.session_id, key)
        return key

    def effective(self, info: SessionInfo) -> SessionInfo:
        """Return a session with the time to live that counts for it here: its own or the default."""
        if self.ttl is None or info.ttl is not None:
            return info
        return info.model_copy(update={"ttl": self.ttl})

    def check(self, info: SessionInfo) -> None:
        """Refuse a session that is expired or archived.

        Raises:
            SessionExpiredError, SessionArchivedError: It is.
        """
        if info.status == "archived":
            raise SessionArchivedError(info.key)
        self.check_expiry(info)

    def check_expiry(self, info: SessionInfo) -> None:
        """Refuse a session that is expired.

        Raises:
            SessionExpiredError: It is.
        """
        ttl = self.ttl if info.ttl is None else info.ttl
        if ttl is not None and has_expired(info, ttl):
            raise SessionExpiredError(info.key, info.last_used_at + timedelta(seconds=ttl))

    async def _checked(self, key: SessionKey) -> SessionKey:
        await self._is_there(key, whatever=False)
        return key

    async def _is_there(self, key: SessionKey, *, whatever: bool) -> bool:
        try:
            info = await self._store.load(key)
        except SessionStorageError:  # what cannot be read is not missing: it may be cleared, deleted or set aside
            return True
        if info is not None and not whatever:
            self.check(info)
        return info is not None

    async def _search(self, session_id: str) -> SessionKey:
        found = await self._store.find(session_id)
        if not found:
            raise SessionNotFoundError(session_id)
        if len(found) > 1:
            found = await self._without_left_behind(found)
        if len(found) > 1:
            raise SessionAmbiguousError(session_id, tuple(key.agent_id for key in found))
        return found[0]

    async def _without_left_behind(self, found: list[SessionKey]) -> list[SessionKey]:
        """Remove a session that was moved to another agent by a process that died before it had removed it."""
        infos = [info for key in found if (info := await self._store.load(key)) is not None]
        for info in infos:
            if any(info.is_left_behind(other) for other in infos):
                logger.warning(
                    "session %r was moved from agent %r; what was left there is removed", *reversed(info.key)
                )
                with contextlib.suppress(SessionNotFoundError):
                    await self._store.delete(info.key)
                found = [key for key in found if key != info.key]
        return found
