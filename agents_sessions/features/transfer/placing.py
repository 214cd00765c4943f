"""What comes in gets its place in the store: all of it, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, get_args

from agents_sessions.concurrency.settle import settle
from agents_sessions.errors import (
    InvalidItemError,
    InvalidValueError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedError,
)
from agents_sessions.features.transfer.values import ImportedSession, OnConflict, OnProgress, Progress
from agents_sessions.stores.base import PAGE

if TYPE_CHECKING:
    from agents_sessions.features.transfer.incoming import Incoming
    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore


_logger = logging.getLogger("agents_sessions")


def check_on_conflict(on_conflict: str) -> None:
    """Refuse what is no way to deal with an id that is taken."""
    if on_conflict not in get_args(OnConflict):
        known = ", ".join(map(repr, get_args(OnConflict)))
        raise InvalidValueError({"on_conflict": f"must be one of {known}, not {on_conflict!r:.80}"})


class Placing:
    """Puts sessions into a store. Leaving it without `keep` takes back all that it did.

    Args:
        store: Where they go.
        lookup: Learns of their keys.
        on_conflict: What to do with an id that is taken.
        lock_timeout: Seconds to wait for a turn on a session that is replaced.
        on_progress: Told of each page.
    """

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        on_conflict: OnConflict,
        lock_timeout: float | None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.placed: list[ImportedSession] = []
        self._store = store
        self._lookup = lookup
        self._on_conflict = on_conflict
        self._lock_timeout = lock_timeout
        self._on_progress = on_progress
        self._undo: list[Callable[[], Awaitable[object]]] = []
        self._finish: list[Callable[[], Awaitable[object]]] = []

    async def __aenter__(self) -> Placing:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._undo:
            await settle(self._take_back())

    async def keep(self) -> None:
        """Keep all that was placed."""
        self._undo.clear()
        await settle(self._clean_up())

    async def place(self, incoming: Incoming) -> None:
        """Put one session into the store.

        Raises:
            SessionExistsError: Its id is taken, and that is to be an error.
            ImportRefusedError: It cannot be stored. Nothing of it was.
        """
        wanted = incoming.info.id
        if self._on_conflict == "replace":
            await incoming.check()  # before anything gives way to it
        async with self._free_id(wanted) as (session_id, there):
            replaced = [key for key in there if await self._give_way(key)]
            info = incoming.info.model_copy(update={"id": session_id})
            stored, entries = await self._create(info, incoming)
            self._lookup.remember(stored.key)
        self.placed.append(ImportedSession(stored.key, entries, incoming.given_id, bool(replaced)))

    @contextlib.asynccontextmanager
    async def _free_id(self, wanted: str) -> AsyncIterator[tuple[str, list[SessionKey]]]:
        """Hold an id that may be used, with the sessions that are to give way to it."""
        candidate, number = wanted, 1
        while True:
            async with self._store.reserve(candidate):
                there = await self._store.find(candidate)
                if not there or self._on_conflict == "replace":
                    yield candidate, there
                    return
            if self._on_conflict == "error":
                raise SessionExistsError(there[0])
            number += 1
            candidate = f"{wanted}-{number}"

    async def _create(self, info: SessionInfo, incoming: Incoming) -> tuple[SessionInfo, int]:
        counted = _Counted(incoming, self._tell)
        try:
            async with contextlib.aclosing(counted.entries()) as entries:
                stored = await self._store.create(info, entries, sidecars=incoming.sidecars)
        except InvalidItemError:
            await incoming.check()  # says in which line
            raise
        except asyncio.CancelledError:  # raised, maybe, when all was stored
            self._undo.append(lambda: self._remove_if_ours(info))
            raise
        self._undo.append(lambda: self._remove(stored.key))
        return stored, counted.count

    async def _give_way(self, key: SessionKey) -> bool:
        """Put a session out of the way, so that it can be brought back; tell whether there was one."""
        async with self._store.turn_lock(key, self._lock_timeout):
            try:
                await settle(self._set_aside(key))
            except SessionNotFoundError:  # deleted in just this moment
                return False
            except UnsupportedError:
                raise UnsupportedError(type(self._store).__name__, "replace a session by an import") from None
        return True

    async def _set_aside(self, key: SessionKey) -> None:
        """Set a session aside. One who is cancelled here must still learn the token, or it would never come back."""
        aside = await self._store.set_aside(key, "import")
        self._undo.append(lambda: self._store.bring_back(aside.token))
        self._finish.append(lambda: self._store.discard(aside.token))

    async def _remove(self, key: SessionKey) -> None:
        with contextlib.suppress(SessionNotFoundError):
            await self._store.delete(key)

    async def _remove_if_ours(self, info: SessionInfo) -> None:
        found = await self._store.load(info.key)
        if found is not None and (found.created_at, found.updated_at) == (info.created_at, info.updated_at):
            await self._remove(info.key)

    async def _clean_up(self) -> None:
        """Remove what was replaced. If that fails, the import stands, and the old session lies aside."""
        for finish in self._finish:
            try:
                await finish()
            except SessionError as error:
                _logger.warning("a session that an import has replaced could not be removed: %s", error)

    async def _take_back(self) -> None:
        """Undo the newest first, and each of them whatever becomes of another."""
        failed: Exception | None = None
        while self._undo:
            try:
                await self._undo.pop()()
            except Exception as error:  # noqa: BLE001 -- it is raised below
                failed = failed or error
        if failed is not None:
            raise failed

    def _tell(self, info: SessionInfo, entries: int) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(info.key, entries, info.seq or None, len(self.placed), None))


class _Counted:
    """Counts the entries of a session on their way."""

    def __init__(self, incoming: Incoming, tell: Callable[[SessionInfo, int], None]) -> None:
        self.count = 0
        self._incoming = incoming
        self._tell = tell

    async def entries(self) -> AsyncGenerator[Entry, None]:
        async with contextlib.aclosing(self._incoming.entries()) as entries:
            async for entry in entries:
                yield entry
                self.count += 1
                if self.count % PAGE == 0:
                    self._tell(self._incoming.info, self.count)
        self._tell(self._incoming.info, self.count)
