"""Put histories away, compressed, and bring them back.

An archived session stays in its store with its facts and the status `archived`, so that every process knows where its
history is. Its entries and sidecars are in a file of the archive, written and read back before they go.
"""

from __future__ import annotations

import builtins
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agents_sessions.errors import (
    ArchiveError,
    ImportRefusedError,
    InvalidValueError,
    MissingExtraError,
    NotArchivedError,
    SessionArchivedError,
    SessionChangedError,
    SessionError,
    SessionExistsError,
    SessionNotFoundError,
    SessionStorageError,
    UnsupportedError,
)
from agents_sessions.features.archive.shelf import DamagedFile, Filed, Shelf, session_of
from agents_sessions.features.transfer.document import Header, JsonlReader, JsonlWriter
from agents_sessions.features.transfer.snapshot import Snapshot, take_snapshot
from agents_sessions.model.entries import now, timestamp
from agents_sessions.model.findings import Finding
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.redaction import FoundText
from agents_sessions.stores.base import History, redacted
from agents_sessions.stores.transitions import numbered
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.redaction import Redaction
    from agents_sessions.stores.base import SessionStore, TurnLock

FOLDER = ".archive"
"""The folder of the archive, below that of a store which has one."""


@dataclass(frozen=True, slots=True)
class ArchivedSession:
    """A session whose history is in the archive."""

    info: SessionInfo
    """Its facts. Its totals are with its history."""
    path: Path
    """The file."""
    size: int
    """The bytes of the file."""

    @property
    def session_id(self) -> str:
        """Its id."""
        return self.info.id

    @property
    def archived_at(self) -> datetime | None:
        """When it was archived."""
        return self.info.archived_at


class ArchiveOutcome(NamedTuple):
    """What came of one of many sessions."""

    session_id: str
    archived: ArchivedSession | None
    error: Exception | None
    """Why it was not archived; it was not touched."""


class Archive:
    """The archive of a store.

    Args:
        store: Where the sessions are.
        lookup: Finds them by their ids.
        folder: Where the files are; None takes the store's own place for it.
        lock_timeout: Seconds to wait for a turn that runs on a session.
    """

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        folder: str | os.PathLike[str] | None = None,
        lock_timeout: float | None = None,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._lock_timeout = lock_timeout
        own = None if store.folder is None else store.folder / FOLDER
        self.folder = own if folder is None else Path(folder).expanduser().absolute()
        """Where the files are; None if no one has said it."""

    # --- away ---

    async def archive(self, session_id: str, *, agent_id: str | None = None) -> ArchivedSession:
        """Put the history of a session away, with all that lies beside it. Waits for a turn that runs on it.

        Raises:
            SessionNotFoundError: There is none.
            SessionArchivedError: It is archived already.
            SessionBusyError: A turn runs on it and did not end in time.
            ArchiveError: What was written could not be read back, or the system refuses. Nothing was changed.
            InvalidValueError: The manager has no `archive` folder, and its store has none either.
        """
        return await self._archive(await self._lookup.key(session_id, agent_id, whatever=True), self._lock_timeout)

    async def archive_many(
        self, session_ids: Iterable[str] | None = None, **filters: Any
    ) -> builtins.list[ArchiveOutcome]:
        """Put many histories away, those of some ids or all that filters choose, and return what came of each.

        The filters are those of `SessionQuery`. Sessions that are archived or pinned, or on which a turn runs, are not
        chosen by filters.

        Raises:
            InvalidValueError: Both ids and filters were given, or neither, or a filter is none.
        """
        if (session_ids is None) == (not filters):
            raise InvalidValueError({"session_ids": "or filters: give one of the two"})
        if session_ids is not None:
            return [await self._outcome(session_id) for session_id in session_ids]
        infos = [info async for info in self._store.every(_query(filters)) if info.status != "archived"]
        return [await self._outcome(info.id, info.key) for info in infos if not info.pinned]

    async def put_held(self, lock: TurnLock) -> ArchivedSession:
        """Put the history of a session away whose turn lock the caller holds."""
        key, shelf = lock.key, self._shelf()
        info = await self._store.existing(key)
        if info.status == "archived":
            raise SessionArchivedError(key)
        snapshot = await take_snapshot(self._store, key, lambda _: True)
        filed = await self._file(shelf, snapshot)
        try:
            stub = await self._store.rewrite(key, lambda history: _stub(history, snapshot, filed), turn=lock)
        except BaseException:
            await self._remove_unless_named(shelf, key, filed.name)
            raise
        for name in snapshot.sidecars:
            await self._store.delete_sidecar(key, name, turn=lock)
        return ArchivedSession(stub, shelf.folder / filed.name, filed.size)

    # --- back ---

    async def restore(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Bring the history of a session back, whole, with what lay beside it. Its time to live begins anew.

        Facts that were changed meanwhile stay changed.

        Raises:
            NotArchivedError: It is not archived.
            SessionExistsError: The archive has it, and so has the store: it was made anew. Neither was touched.
            ArchiveError: The file is gone or damaged. Nothing was changed.
            MissingExtraError: It is in zstd, which is not installed here.
            SessionBusyError: Someone else restores it and did not end in time.
        """
        try:
            key = await self._lookup.key(session_id, agent_id, whatever=True)
        except SessionNotFoundError:
            raise NotArchivedError(session_id) from None
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            return self._lookup.effective(await self._restore(lock))

    async def _restore(self, lock: TurnLock) -> SessionInfo:
        key, shelf = lock.key, self._shelf()
        info = await self._store.load(key)
        if info is None or info.status != "archived" or info.archive is None:
            filed = info is not None and await shelf.names(key)
            raise SessionExistsError(key) if filed else NotArchivedError(key)
        header, entries = await self._read(shelf, key, info.archive)
        for name, data in header.sidecars.items():
            await self._store.write_sidecar(key, name, data, turn=lock)
        restored = await self._store.rewrite(key, lambda history: _whole(history, header, entries), turn=lock)
        await shelf.remove(info.archive)
        return restored

    # --- to look at ---

    async def list(self) -> builtins.list[ArchivedSession]:
        """Return all archived sessions, the one that was archived last first."""
        return await self.search()

    async def search(self, **filters: Any) -> builtins.list[ArchivedSession]:
        """Return the archived sessions that filters choose, the one that was archived last first.

        The filters are those of `SessionQuery`: facts such as `user_id`, `tags`, `metadata`, `name`, `created_after`.

        Raises:
            InvalidValueError: A filter is none, or has a value that no session can have.
        """
        query = _query({**filters, "status": "archived"})
        infos = [info async for info in self._store.every(query)]
        infos.sort(key=lambda info: (info.archived_at or info.created_at, info.key), reverse=True)
        return [await self._listed(info) for info in infos]

    async def check(self, *, thorough: bool = False) -> builtins.list[Finding]:
        """Return what is wrong: files that are gone, that no session names or, if `thorough`, that cannot be read."""
        if self.folder is None:
            return []
        shelf, found = Shelf(self.folder), []
        stubs = await self._stubs()
        files = set(await shelf.every())
        for name, key in stubs.items():
            if name not in files:
                found.append(Finding("missing-archive", key, name))
            elif thorough:
                found += await self._check_file(shelf, key, name)
        # Who sees the sessions of one user only cannot tell what of the others is theirs.
        orphans = sorted(files - stubs.keys()) if self._store.is_whole else []
        return found + [Finding("orphan-archive", session_of(name), name) for name in orphans]

    async def orphans(self) -> builtins.list[tuple[str, SessionInfo | None]]:
        """Return the files that no session names, with the session that each holds; None where it cannot be read."""
        if self.folder is None or not self._store.is_whole:
            return []
        shelf, named = Shelf(self.folder), await self._stubs()
        return [(name, await self._held(shelf, name)) for name in await shelf.every() if name not in named]

    async def _held(self, shelf: Shelf, name: str) -> SessionInfo | None:
        try:
            async for lines in shelf.lines(name):
                return JsonlReader(name).header(lines[0]).info
        except (OSError, DamagedFile, ImportRefusedError, MissingExtraError):
            pass
        return None

    async def _check_file(self, shelf: Shelf, key: SessionKey, name: str) -> builtins.list[Finding]:
        try:
            await self._read(shelf, key, name)
        except ArchiveError as error:
            return [Finding("damaged-archive", key, name, error.reason)]
        except MissingExtraError as error:
            return [Finding("damaged-archive", key, name, str(error))]
        return []

    async def _stubs(self) -> dict[str, SessionKey]:
        """Return all files that sessions name, also those in the trash."""
        query = SessionQuery(status="archived")
        infos = [info async for info in self._store.every(query)]
        for aside in await self._store.list_aside():
            with contextlib.suppress(SessionStorageError, LookupError):
                infos.append(await self._store.load_aside(aside.token))
        return {info.archive: info.key for info in infos if info.archive is not None}

    # --- for good ---

    async def redact(self, key: SessionKey, redaction: Redaction, *, dry_run: bool) -> builtins.list[FoundText]:
        """Take text of a session out of all files that are or were its own, and return where it was found.

        Raises:
            ArchiveError: A file cannot be read, or written anew. It was not touched.
        """
        if self.folder is None:
            return []
        shelf, found = Shelf(self.folder), []
        for name in await shelf.names(key):
            found += await self._redact_file(shelf, key, name, redaction, dry_run=dry_run)
        return found

    async def _redact_file(
        self, shelf: Shelf, key: SessionKey, name: str, redaction: Redaction, *, dry_run: bool
    ) -> builtins.list[FoundText]:
        header, entries = await self._read(shelf, key, name)
        history, inside = redacted(History(header.info, entries), redaction)
        sidecars = {beside: redaction.data(data) for beside, data in header.sidecars.items()}
        times = sum(each.times for each in inside) + sum(count for _, count in sidecars.values())
        if times and not dry_run:
            document = _document_anew(history, {beside: data for beside, (data, _) in sidecars.items()})
            try:
                await shelf.rewrite(name, key, document)
            except (OSError, DamagedFile) as error:
                raise ArchiveError(key, str(shelf.folder / name), _reason(error)) from error
        return [FoundText("archive", name, times)] if times else []

    async def delete(self, key: SessionKey, lock_timeout: float | None) -> None:
        """Remove an archived session for good, its history first: a deletion that is cut short can be called again."""
        async with exclusive_turn(self._store, key, lock_timeout):
            info = await self._store.existing(key)
            if info.archive is not None:
                await self.discard(info.archive)
            await self._store.delete(key)

    async def discard(self, name: str) -> None:
        """Remove a file of the archive.

        Raises:
            InvalidValueError: This manager does not know where the archive is.
        """
        await self._shelf().remove(name)

    # --- steps ---

    def _shelf(self) -> Shelf:
        if self.folder is None:
            raise InvalidValueError({"archive": "is needed: SessionManager(…, archive=folder) names where files go"})
        return Shelf(self.folder)

    async def _archive(self, key: SessionKey, lock_timeout: float | None) -> ArchivedSession:
        self._shelf()
        async with exclusive_turn(self._store, key, lock_timeout) as lock:
            return await self.put_held(lock)

    async def _outcome(self, session_id: str, key: SessionKey | None = None) -> ArchiveOutcome:
        try:
            found = key or await self._lookup.key(session_id, whatever=True)
            return ArchiveOutcome(session_id, await self._archive(found, 0 if key else self._lock_timeout), None)
        except SessionError as error:
            return ArchiveOutcome(session_id, None, error)

    async def _file(self, shelf: Shelf, snapshot: Snapshot) -> Filed:
        """Write a session to a file, and read it back."""
        key, filed = snapshot.info.key, None
        if self._store.encrypted:  # the file would be plain
            raise UnsupportedError("the archive", "take encrypted sessions, because its files are plain")
        try:
            filed = await shelf.write(key, document_of(snapshot))
            await shelf.verify(filed)
        except BaseException as error:
            if filed is not None:
                await shelf.remove(filed.name)
            if isinstance(error, SessionError) or not isinstance(error, OSError | DamagedFile):
                raise
            where = shelf.folder if filed is None else shelf.folder / filed.name
            raise ArchiveError(key, str(where), _reason(error)) from error
        return filed

    async def _read(self, shelf: Shelf, key: SessionKey, name: str) -> tuple[Header, builtins.list[Entry]]:
        """Return what a file holds, all of it.

        Raises:
            ArchiveError: It is gone or damaged, or holds another session.
        """
        path = str(shelf.folder / name)
        reader, entries, header, number = JsonlReader(path), [], None, 0
        try:
            async for lines in shelf.lines(name):
                for line in lines:
                    number += 1
                    if header is None:
                        header = reader.header(line)
                    elif line and (entry := reader.entry(line, number)) is not None:
                        entries.append(entry)
            reader.close()
        except (OSError, DamagedFile, ImportRefusedError) as error:
            raise ArchiveError(key, path, _reason(error)) from error
        if header is None or header.info.id != key.session_id:  # its agent may be another one by now
            raise ArchiveError(key, path, "it holds another session")
        return header, entries

    async def _listed(self, info: SessionInfo) -> ArchivedSession:
        shelf, name = self._shelf(), info.archive or ""
        return ArchivedSession(info, shelf.folder / name, await shelf.size(name) or 0)

    async def _remove_unless_named(self, shelf: Shelf, key: SessionKey, name: str) -> None:
        """Remove a file, unless its session says after all that its history is there."""
        with contextlib.suppress(Exception):  # what stays is found by diagnostics, and by the next archiving
            info = await self._store.load(key)
            if info is None or info.archive != name:
                await shelf.remove(name)


async def document_of(snapshot: Snapshot) -> AsyncIterator[bytes]:
    """Yield the lossless document of a session, some bytes at a time."""
    writer = JsonlWriter()
    yield writer.begin(snapshot.info, snapshot.sidecars)
    async for page in snapshot.pages():
        yield writer.page(page)
    yield writer.end()


async def _document_anew(history: History, sidecars: dict[str, bytes]) -> AsyncIterator[bytes]:
    """Yield the document of a history that was changed: its new entries get their numbers and their time."""
    entries = list(numbered(history.entries, timestamp(), history.info.seq))
    info = history.info.model_copy(update={"seq": max([history.info.seq, *(entry["seq"] for entry in entries[-1:])])})
    writer = JsonlWriter()
    yield writer.begin(info, sidecars)
    yield writer.page(entries)
    yield writer.end()


def _stub(history: History, snapshot: Snapshot, filed: Filed) -> History:
    """Return a session without its history, if it is still the one that was filed."""
    before, after = snapshot.info, history.info
    if (before.seq, before.updated_at) != (after.seq, after.updated_at):
        raise SessionChangedError(after.key, before.seq, after.seq)
    return history.with_entries([]).with_facts(status="archived", archived_at=now(), archive=filed.name)


def _whole(history: History, header: Header, entries: builtins.list[Entry]) -> History:
    """Return a session with its history, in front of what was stored meanwhile by someone who does not know of it."""
    facts = {"status": header.info.status, "archived_at": None, "archive": None, "refreshed_at": now()}
    return history.with_entries([*entries, *history.entries]).with_facts(**facts)


def _query(filters: dict[str, Any]) -> SessionQuery:
    try:
        return SessionQuery(**filters)
    except TypeError:
        known = ", ".join(sorted(SessionQuery.__dataclass_fields__))
        raise InvalidValueError({"filters": f"must be among {known}"}) from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"the operating system refused: {error.strerror}"
    return str(error)
