"""Conversations of live sessions of the SDK, and all sessions of one store into another."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from agents_sessions.errors import ImportRefusedError, MigrationError, SessionExistsError, SessionStorageError
from agents_sessions.features.transfer.document import encode_lines, header_of
from agents_sessions.features.transfer.incoming import Incoming
from agents_sessions.features.transfer.snapshot import Snapshot, take_snapshot
from agents_sessions.features.transfer.values import Dropped, ImportLimits, OnProgress, Progress, StoreReport
from agents_sessions.model.lossless_json import encode_json

if TYPE_CHECKING:
    from agents.memory import Session

    from agents_sessions.features.transfer.incoming import PlacedEntries
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore

ALL = 2**31 - 1
"""A limit that asks an SDK session for all items: without one, its settings may hide the older ones."""


async def incoming_of(session: Session, info: SessionInfo, limits: ImportLimits) -> Incoming:
    """Return the conversation of a live session.

    One of ours comes with all that belongs to it; any other session of the SDK says no more than its items.

    Raises:
        ImportRefusedError: What it gives is no list of items.
    """
    from agents_sessions.session import StoredSession  # here: it brings the SDK, and a copy of a store needs none

    place = f"{type(session).__name__} {session.session_id!r:.80}"
    if isinstance(session, StoredSession):
        snapshot = await take_snapshot(session.store, session.key, lambda _: True)
        return incoming_of_snapshot(
            snapshot, snapshot.info.model_copy(update={"id": info.id, "agent_id": info.agent_id})
        )
    items = await session.get_items(limit=ALL)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ImportRefusedError(place, "gives items that are no dicts")
    page: list[Any] = [{"item": item} for item in items]

    async def pages() -> PlacedEntries:
        yield 1, page

    left_out = await _hidden(session, len(items), info.id)
    return Incoming(place, session.session_id, info, pages, limits, {}, left_out, by_line=False)


async def _hidden(session: Any, shown: int, session_id: str) -> list[Dropped]:
    """Return what a session is known to hold and does not show."""
    found = []
    inner = getattr(session, "underlying_session", None)
    if inner is not None and (hidden := len(await inner.get_items(limit=ALL)) - shown) > 0:
        found.append(
            Dropped(session_id, "item that the wrapping session does not show: expired, or of another key", hidden)
        )
    branches = getattr(session, "list_branches", None)
    if branches is not None and (others := len(await branches()) - 1) > 0:
        found.append(Dropped(session_id, "branch that is not the current one; import its database to have all", others))
    return found


def incoming_of_snapshot(snapshot: Snapshot, info: SessionInfo) -> Incoming:
    """Return a session of a store as one that comes in."""

    async def pages() -> PlacedEntries:
        place = 1
        async for page in snapshot.pages():
            yield place, page
            place += len(page)

    given_id, sidecars = snapshot.info.id, dict(snapshot.sidecars)
    return Incoming(f"session {given_id!r:.80}", given_id, info, pages, ImportLimits(), sidecars, by_line=False)


# --- whole stores --------------------------------------------------------------------------------------------------


async def migrate_store(
    source: SessionStore,
    target: SessionStore,
    *,
    on_progress: OnProgress | None = None,
    lock_timeout: float | None = 300.0,
) -> StoreReport:
    """Copy every session of one store to another, whole, and compare each by count and checksum.

    What is there already and equal is passed over: after an interruption, call it again. What is there and differs
    is reported and not touched. A turn that runs on a session is waited for.

    Args:
        source: The store to copy from. Nothing in it changes.
        target: The store to copy to.
        on_progress: Told of each page.
        lock_timeout: Seconds to wait for a turn; None for no limit.

    Raises:
        SessionBusyError: A turn did not end in time.
        MigrationError: A session came back changed from the target, and was removed there.
    """
    return await _Migration(source, target, on_progress, lock_timeout).run()


class _Migration:
    def __init__(
        self, source: SessionStore, target: SessionStore, on_progress: OnProgress | None, lock_timeout: float | None
    ) -> None:
        self._source = source
        self._target = target
        self._on_progress = on_progress
        self._lock_timeout = lock_timeout
        self._copied: list[SessionKey] = []
        self._present: list[SessionKey] = []
        self._different: list[SessionKey] = []
        self._unreadable: dict[SessionKey, str] = {}
        self._entries = 0

    async def run(self) -> StoreReport:
        async for info in self._source.scan():
            async with self._source.turn_lock(info.key, self._lock_timeout):
                await self._move(info.key)
        found = (tuple(self._copied), tuple(self._present), tuple(self._different))
        return StoreReport(*found, self._unreadable, self._entries)

    async def _move(self, key: SessionKey) -> None:
        try:
            snapshot = await take_snapshot(self._source, key, lambda _: True)
            if await self._target.load(key) is None:
                await self._copy(snapshot)
            else:
                equal = await checksum(snapshot) == await self._checksum_there(key)
                (self._present if equal else self._different).append(key)
        except SessionStorageError as error:
            self._unreadable[key] = str(error)
        except SessionExistsError:  # someone made it in just this moment
            self._different.append(key)

    async def _copy(self, snapshot: Snapshot) -> None:
        digest, key = Digest(snapshot), snapshot.info.key
        await self._target.create(snapshot.info, self._counted(snapshot, digest), sidecars=snapshot.sidecars)
        if await self._checksum_there(key) != digest.result():
            await self._target.delete(key)
            raise MigrationError(key)
        self._copied.append(key)
        self._entries += digest.entries

    async def _checksum_there(self, key: SessionKey) -> str:
        return await checksum(await take_snapshot(self._target, key, lambda _: True))

    async def _counted(self, snapshot: Snapshot, digest: Digest) -> AsyncIterator[Entry]:
        done = len(self._copied) + len(self._present) + len(self._different)
        async for page in snapshot.pages():
            digest.add(page)
            for entry in page:
                yield entry
            if self._on_progress is not None:
                self._on_progress(Progress(snapshot.info.key, digest.entries, snapshot.info.seq, done, None))


class Digest:
    """The checksum of a session: of its facts, its sidecars and each entry with its number and time."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.entries = 0
        self._digest = hashlib.sha256(encode_json(header_of(snapshot.info, dict(sorted(snapshot.sidecars.items())))))

    def add(self, page: list[Entry]) -> None:
        """Count some more entries."""
        self.entries += len(page)
        self._digest.update(encode_lines([_ordered(entry) for entry in page]))

    def result(self) -> str:
        """Return the checksum, with the number of entries."""
        return f"{self.entries}:{self._digest.hexdigest()}"


async def checksum(snapshot: Snapshot) -> str:
    """Return the checksum of a session."""
    digest = Digest(snapshot)
    async for page in snapshot.pages():
        digest.add(page)
    return digest.result()


def _ordered(entry: Entry) -> Entry:
    """Return an entry with its envelope in one order, which stores choose differently."""
    names = sorted(entry, key=lambda name: (name in ("item", "record"), name))
    return {name: entry[name] for name in names}  # type: ignore[literal-required, return-value]
