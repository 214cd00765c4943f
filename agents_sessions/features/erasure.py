"""Remove all sessions of a user or of an agent, and on request every trace that they have left."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agents_sessions.errors import SessionError, SessionNotFoundError, SessionStorageError
from agents_sessions.features.diagnostics import backups
from agents_sessions.features.diagnostics.diagnostics import BACKUPS
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.features.retention.retention import Retention
    from agents_sessions.features.trash import Trash
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.findings import Finding
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.query import SessionQuery
    from agents_sessions.stores.base import SessionStore


@dataclass(frozen=True, slots=True)
class DeletionOutcome:
    """What came of one session."""

    key: SessionKey
    error: Exception | None
    """Why it is still there; None if it is gone."""


@dataclass(frozen=True, slots=True)
class DeletionReport:
    """What came of the sessions of a user or an agent."""

    outcomes: tuple[DeletionOutcome, ...]
    erased: dict[str, int]
    """With `erase=True`: every place that was visited, and how much was removed there."""
    unread: tuple[str, ...]
    """With `erase=True`: what could not be read, so that no one can say whose it is."""

    @property
    def sessions(self) -> int:
        """How many sessions are gone."""
        return sum(outcome.error is None for outcome in self.outcomes)

    @property
    def is_complete(self) -> bool:
        """Whether all are gone, and nothing was left that may be theirs."""
        return not self.unread and all(outcome.error is None for outcome in self.outcomes)


@dataclass(slots=True)
class _Erased:
    """What was removed so far."""

    outcomes: list[DeletionOutcome] = field(default_factory=list)
    places: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    keys: set[SessionKey] = field(default_factory=set)


class Erasure:
    """Removes all that belongs to someone.

    Args:
        store: Where the sessions are.
        trash: Where they go without `erase`, if the manager has one.
        archive: Has the histories of some.
        retention: Has a log of those that went.
        lock_timeout: Seconds to wait for a turn that runs on a session.
    """

    def __init__(
        self, store: SessionStore, trash: Trash, archive: Archive, retention: Retention, lock_timeout: float | None
    ) -> None:
        self._store = store
        self._trash = trash
        self._archive = archive
        self._retention = retention
        self._lock_timeout = lock_timeout

    async def delete(self, query: SessionQuery, *, erase: bool) -> DeletionReport:
        """Remove the sessions that a query asks for, which is one of a user or of an agent, with an outcome each."""
        done = _Erased()
        for info in [info async for info in self._store.every(query)]:
            await self._delete_one(info, done, erase=erase)
        if erase:
            await self._erase(query, done)
        # What was visited counts too where nothing was found: so that it can be shown that someone has looked.
        return DeletionReport(tuple(done.outcomes), dict(done.places), tuple(done.unread))

    async def _delete_one(self, info: SessionInfo, done: _Erased, *, erase: bool) -> None:
        key = info.key
        try:
            if not erase and self._trash.keeps is not None:
                await self._trash.put(key, lock_timeout=self._lock_timeout)
            else:
                await self._remove(info, done)
        except SessionNotFoundError:  # someone else was faster
            done.outcomes.append(DeletionOutcome(key, None))
        except SessionError as error:
            done.outcomes.append(DeletionOutcome(key, error))
        else:
            done.outcomes.append(DeletionOutcome(key, None))
            done.keys.add(key)

    async def _remove(self, info: SessionInfo, done: _Erased) -> None:
        sidecars = len(await self._store.list_sidecars(info.key))
        done.places["repaired copies"] += await self._store.clear_copies(info.key)
        if info.status == "archived":
            await self._archive.delete(info.key, self._lock_timeout)
        else:
            async with exclusive_turn(self._store, info.key, self._lock_timeout):
                await self._store.delete(info.key)
        done.places["sessions"] += 1
        done.places["sidecars"] += sidecars
        done.places["archive"] += info.status == "archived"

    # --- traces ---

    async def _erase(self, query: SessionQuery, done: _Erased) -> None:
        for place in ("sessions", "sidecars", "trash", "archive", "repaired copies", "backups", "log of retention"):
            done.places[place] += 0
        await self._erase_trash(query, done)
        await self._erase_archive(query, done)
        seen = [finding async for finding in self._store.check()]
        await self._erase_unread(query, done, [finding for finding in seen if finding.code in _UNREAD])
        await self._erase_left(done, {finding.key for finding in seen if finding.code == "torn-copy"})
        await self._erase_backups(query, done)
        done.places["log of retention"] += await self._retention.forget(done.keys)
        done.places["indexes"] += 0
        await self._store.purge()

    async def _erase_trash(self, query: SessionQuery, done: _Erased) -> None:
        """Remove what was set aside, by the trash or by whomever."""
        for aside in await self._store.list_aside():
            try:
                info = await self._store.load_aside(aside.token)
            except LookupError:
                continue
            except SessionStorageError:
                if aside.key.agent_id != query.agent_id:
                    done.unread.append(f"in the trash: {aside.key.session_id}")
                    continue
                info = None
            if info is not None and not query.matches(info):
                continue
            file = None if info is None else info.archive
            if file is not None and self._archive.folder is None:
                done.unread.append(f"in an archive that this manager does not know: {file}")
                continue
            try:
                await self._store.discard(aside.token)
            except LookupError:
                done.unread.append(f"restored from the trash or purged meanwhile: {aside.key.session_id}")
                continue
            done.places["trash"] += 1
            done.keys.add(aside.key)
            if file is not None:
                await self._archive.discard(file)
                done.places["archive"] += 1

    async def _erase_archive(self, query: SessionQuery, done: _Erased) -> None:
        """Remove files of the archive that no session names any more."""
        for name, info in await self._archive.orphans():
            if info is None:
                done.unread.append(f"in the archive: {name}")
            elif query.matches(info):
                await self._archive.discard(name)
                done.places["archive"] += 1
                done.keys.add(info.key)

    async def _erase_unread(self, query: SessionQuery, done: _Erased, unread: Sequence[Finding]) -> None:
        """Remove damaged sessions of an agent, whose folder tells; of those of a user, no one can tell."""
        for finding in unread:
            if finding.key is None or finding.key.agent_id != query.agent_id:
                done.unread.append(finding.place)
                continue
            try:
                done.places["repaired copies"] += await self._store.clear_copies(finding.key)
                await self._store.delete(finding.key)
            except SessionError as error:
                done.outcomes.append(DeletionOutcome(finding.key, error))
            else:
                done.outcomes.append(DeletionOutcome(finding.key, None))
                done.places["sessions"] += 1
                done.keys.add(finding.key)

    async def _erase_left(self, done: _Erased, copied: set[SessionKey | None]) -> None:
        """Remove what repairs have kept of sessions that are gone, and sidecars of which a death has left some."""
        for key in done.keys:
            if await self._is_there(key):
                if key in copied:
                    done.unread.append(f"repaired copies of {key.session_id}: another session has this id by now")
                continue
            done.places["repaired copies"] += await self._store.clear_copies(key)
            with contextlib.suppress(SessionNotFoundError):
                await self._store.delete(key)  # of one that is not there, this clears what is left

    async def _is_there(self, key: SessionKey) -> bool:
        try:
            return await self._store.load(key) is not None
        except SessionStorageError:
            return True

    async def _erase_backups(self, query: SessionQuery, done: _Erased) -> None:
        if self._store.folder is None:
            return
        folder: Path = self._store.folder / BACKUPS
        done.places["backups"] += await backups.forget(folder, done.keys, agent_id=query.agent_id)


_UNREAD = frozenset({"damaged-file", "newer-file", "unreadable-file", "misnamed-file"})
