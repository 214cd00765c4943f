"""Sessions as files: `<root>/<agent_id>/<session_id>.json`.

The work is synchronous code on file descriptors, run in a worker thread with one hop per operation. Waiting,
for a gate of this process or for the lock of another, happens in the event loop, so that waiters occupy no
threads.
"""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic
from typing import Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from agents_sessions.entries import Entry, Item, check_entries, now, timestamp
from agents_sessions.errors import (
    SessionBusyError,
    SessionConflictError,
    SessionCorruptedError,
    SessionError,
    SessionExistsError,
    SessionIdError,
    SessionIOError,
    SessionNotFoundError,
    SessionPathError,
    SessionStorageError,
    SessionVersionError,
)
from agents_sessions.gates import Gates, settled
from agents_sessions.info import SessionInfo, SessionKey
from agents_sessions.lossless_json import JsonObject, decode_json, encode_json
from agents_sessions.naming import decode_name, encode_name
from agents_sessions.stores import file_document as document
from agents_sessions.stores import file_io as io
from agents_sessions.stores.base import (
    FILE_TIMEOUT,
    Change,
    History,
    SessionStore,
    Totals,
    check_change,
    check_facts,
    invalid_fields,
    renumber,
)

logger = logging.getLogger("agents_sessions")

Durability = Literal["full", "process"]

_T = TypeVar("_T")
_SUFFIX = ".json"
_SCAN_BATCH = 64


_UNTOLD = (OSError, io.NotRegular, document.Damage, document.NewerFormat)


class _Holder(NamedTuple):
    """Who has the lock of a session's turns."""

    process: str
    held_for: timedelta | None


class _Seen:
    """What was last seen of some files: a hint that spares decoding a tail twice. The file has the last word."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._mutex = threading.Lock()
        self._known: dict[tuple[str, ...], document.Sealed] = {}

    def get(self, gate: tuple[str, ...]) -> document.Sealed | None:
        return self._known.get(gate)

    def put(self, gate: tuple[str, ...], sealed: document.Sealed) -> None:
        with self._mutex:
            self._known.pop(gate, None)
            self._known[gate] = sealed
            if len(self._known) > self._size:
                del self._known[next(iter(self._known))]

    def renew(self) -> None:
        """Forget who holds the mutex: in a forked child, no one does."""
        self._mutex = threading.Lock()


# Shared by all stores of the process, because two of them may be on one root.
_file_gates = Gates()
_turn_gates = Gates()
_seen = _Seen(1024)
os.register_at_fork(after_in_child=_seen.renew)
_swept: set[tuple[int, int]] = set()


def _in_thread(operation: Callable[[], _T]) -> "asyncio.Future[_T]":
    # The executor's own future and no coroutine around it: that would be a task, and the end of the event loop
    # cancels all tasks, also one that waits for a write that has begun.
    return asyncio.get_running_loop().run_in_executor(None, operation)


async def _plainly(begun: Awaitable[_T]) -> _T:
    return await begun


class FileStore(SessionStore):
    """Sessions in a folder of a local disk, for any number of processes of one machine.

    Args:
        root: The folder. It is made, with mode 0700, by the first session that is stored.
        durability: `full` syncs every acknowledged write, so that it survives a power cut; `process` leaves
            syncing to the kernel, so that it survives the death of the process only. A batch is all or nothing
            with both.
    """

    def __init__(self, root: str | os.PathLike[str] = "sessions", *, durability: Durability = "full") -> None:
        if durability not in ("full", "process"):
            raise ValueError(f"durability must be 'full' or 'process', not {durability!r}")
        self.root = Path(root).absolute()
        self.durability: Durability = durability
        self._durable = durability == "full"
        self._place = os.path.realpath(self.root)
        self._root = str(self.root)

    def __repr__(self) -> str:
        return f"FileStore({str(self.root)!r}, durability={self.durability!r})"

    def path(self, key: SessionKey) -> Path:
        """Return where a session's file is, or would be."""
        folder, name = _names(key)
        return self.root / folder / name

    # --- the contract ---

    async def create(self, info: SessionInfo, entries: Sequence[Entry] = ()) -> SessionInfo:
        check_entries(entries)
        check_facts(info)
        return await self._write(info.key, partial(self._create, info, entries))

    async def load(self, key: SessionKey) -> SessionInfo | None:
        try:
            return await self._read(key, _info_of_sealed, _info_of)
        except SessionNotFoundError:
            return None

    async def entries(self, key: SessionKey, *, last: int | None = None, after: int = 0) -> list[Entry]:
        def of_sealed(read: document.Read, sealed: document.Sealed) -> list[Entry]:
            if last is None and after <= 0:
                return document.read_entries(read, sealed.tail)
            count = sealed.tail.seq - after if last is None else last
            return document.read_newest(read, sealed.tail, count, items_only=False)

        found = await self._read(key, of_sealed, lambda whole: whole.entries)
        if after > 0:
            found = [entry for entry in found if entry["seq"] > after]
        return found if last is None else found[max(0, len(found) - last) :]

    async def items(self, key: SessionKey, *, last: int | None = None) -> list[Item]:
        def of_sealed(read: document.Read, sealed: document.Sealed) -> list[Item]:
            if last is None:
                return document.read_items(read, sealed.tail)
            return _items_of(document.read_newest(read, sealed.tail, last, items_only=True))

        found = await self._read(key, of_sealed, lambda whole: _items_of(whole.entries))
        return found if last is None else found[max(0, len(found) - last) :]

    async def append(self, key: SessionKey, entries: Sequence[Entry], *, expected_seq: int | None = None) -> Totals:
        check_entries(entries)
        at = timestamp()
        batch = [document.encode_entry(entry, at) for entry in entries]
        return await self._write(key, partial(self._append, key, entries, batch, at, expected_seq))

    async def rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        return await self._write(key, partial(self._rewrite, key, change))

    async def delete(self, key: SessionKey) -> None:
        await self._write(key, partial(self._delete, key))

    async def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        for agent in await _in_thread(self._agents) if agent_id is None else [agent_id]:
            key = SessionKey(agent, "*")
            folder = encode_name(agent, what="agent_id") if agent_id is not None else agent
            names = await _in_thread(partial(self._names_in, key, folder, suffix=_SUFFIX))
            for begin in range(0, len(names), _SCAN_BATCH):
                some = partial(self._scan, folder, names[begin : begin + _SCAN_BATCH])
                for info in await self._attempt(key, some, _plainly):
                    yield info

    async def find(self, session_id: str) -> list[SessionKey]:
        name = encode_name(session_id) + _SUFFIX
        return await self._attempt(SessionKey("*", session_id), partial(self._find, name), _plainly)

    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        return await _in_thread(partial(self._read_sidecar, key, name))

    async def write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        await self._write(key, partial(self._write_sidecar, key, name, data))

    async def list_sidecars(self, key: SessionKey) -> list[str]:
        return await _in_thread(partial(self._list_sidecars, key))

    async def delete_sidecar(self, key: SessionKey, name: str) -> bool:
        return await self._write(key, partial(self._delete_sidecar, key, name))

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[None]:
        begun = monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(_turn_gates.hold(self.place(key), timeout))
            except TimeoutError:
                raise SessionBusyError(key.session_id, key.agent_id, monotonic() - begun, _this_process()) from None
            stack.enter_context(await self._await_turn(key, begun, timeout))
            yield

    # --- crossing to the worker thread ---

    def place(self, key: SessionKey) -> tuple[str, ...]:
        return (self._place, *_names(key))

    async def _write(self, key: SessionKey, operation: Callable[[], _T]) -> _T:
        """Run a mutation in its turn, and await its outcome whatever happens to the caller."""
        begun = monotonic()
        gate = _file_gates.hold(self.place(key), FILE_TIMEOUT)
        try:
            await gate.__aenter__()
        except TimeoutError:
            raise SessionBusyError(key.session_id, key.agent_id, monotonic() - begun, _this_process()) from None
        try:
            return await self._attempt(key, operation, settled)
        finally:
            await gate.__aexit__()

    async def _read(
        self,
        key: SessionKey,
        of_sealed: Callable[[document.Read, document.Sealed], _T],
        of_whole: Callable[[document.Document], _T],
    ) -> _T:
        """Read a session: at once if the kernel has the bytes in memory, else in a worker thread.

        Decoding holds the GIL, so a thread would not free the event loop for it; it is there for the disk.
        """
        try:
            with self._errors(key):
                return self._view(key, io.read_range_at_once, of_sealed)
        except (io.WouldWait, SessionCorruptedError):
            return await self._attempt(key, partial(self._view_surely, key, of_sealed, of_whole), _plainly)

    async def _attempt(
        self, key: SessionKey, operation: Callable[[], _T], wait: Callable[[Awaitable[_T]], Awaitable[_T]]
    ) -> _T:
        """Run an operation in a worker thread, again and again while another process holds the file's lock."""
        begun = monotonic()
        pause = 0.0005
        while True:
            try:
                return await wait(_in_thread(operation))
            except BlockingIOError:
                waited = monotonic() - begun
                if waited > FILE_TIMEOUT:
                    raise SessionBusyError(key.session_id, key.agent_id, waited, "another process") from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)

    # --- in the worker thread ---

    def _folder(self, key: SessionKey, *, create: bool = False) -> contextlib.AbstractContextManager[int]:
        return io.directory(self._root, _names(key)[0], create=create, durable=self._durable)

    @contextlib.contextmanager
    def _locked(self, key: SessionKey) -> Iterator[tuple[int, int]]:
        """Open a session's folder and its file, locked exclusively; errors come in terms of the session."""
        folder_name, name = _names(key)
        folder = fd = -1
        try:
            folder = io.open_directory(self._root, folder_name)
            fd = io.open_locked(folder, name)
            yield folder, fd
        except _UNTOLD as error:
            if isinstance(error, (BlockingIOError, SessionError)):
                raise
            raise self._told(key, error) from error
        finally:
            if fd >= 0:
                io.close_locked(fd)
            if folder >= 0:
                io.close(folder)

    def _create(self, info: SessionInfo, entries: Sequence[Entry]) -> SessionInfo:
        key = info.key
        numbered, seq, context = renumber(History(info, list(entries)), 0)
        updated_at = timestamp(info.updated_at)
        data = document.encode_document(document.Document(info.header(), numbered, seq, context, updated_at))
        with self._errors(key), self._folder(key, create=True) as folder:
            _sweep_once(folder)
            try:
                name = _names(key)[1]
                io.create(folder, name, data, orphan=name.removesuffix(_SUFFIX), durable=self._durable)
            except FileExistsError:
                raise SessionExistsError(key.session_id, key.agent_id) from None
        return info.model_copy(update={"seq": seq, "context": context})

    def _append(
        self,
        key: SessionKey,
        entries: Sequence[Entry],
        batch: Sequence[document.EncodedEntry],
        at: str,
        expected_seq: int | None,
    ) -> Totals:
        name = _names(key)[1]
        while True:
            with self._locked(key) as (folder, fd):
                read = partial(io.read_range, fd)
                sealed = document.read_sealed(read, io.size_of(fd), _seen.get(self.place(key)))
                if sealed is None:  # edited or torn: brought back into shape by this write
                    return self._append_by_rewriting(key, folder, fd, entries, expected_seq)
                self._check_identity(key, sealed.header)
                _check_seq(key, sealed.tail.seq, expected_seq)
                if not batch:
                    return _totals_of(sealed.tail)
                plan = document.plan_append(sealed, batch, entries, at)
                old = sealed.tail.text
                if io.append(folder, name, fd, plan.offset, plan.data, old=old, durable=self._durable):
                    _seen.put(self.place(key), plan.after)
                    return _totals_of(plan.after.tail)
            # Someone who does not know the lock, an editor, replaced the file meanwhile: do it again there.

    def _append_by_rewriting(
        self, key: SessionKey, folder: int, fd: int, entries: Sequence[Entry], expected_seq: int | None
    ) -> Totals:
        def change(history: History) -> History:
            _check_seq(key, history.info.seq, expected_seq)
            return history.with_entries([*history.entries, *entries])

        info = self._rewrite_locked(key, folder, fd, change)
        return Totals(info.seq, info.updated_at, info.context)

    def _rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        with self._locked(key) as (folder, fd):
            return self._rewrite_locked(key, folder, fd, change)

    def _rewrite_locked(self, key: SessionKey, folder: int, fd: int, change: Change) -> SessionInfo:
        name = _names(key)[1]
        whole = document.decode_document(self._read_whole(fd))
        self._check_identity(key, whole.header)
        before = History(_info_of(whole), whole.entries)
        after = change(before)
        if after is before and whole.shape == "sealed":
            return before.info
        check_change(key, after)
        entries, seq, context = renumber(after, whole.seq)
        updated_at = max(now(), before.info.updated_at)
        new = document.Document(after.info.header(), entries, seq, context, timestamp(updated_at))
        data = document.encode_document(new)
        if whole.shape == "torn":
            aside = io.set_aside(folder, name)
            logger.warning(
                "session %r of agent %r had a torn last write; repaired, the damaged file is kept as %s",
                key.session_id,
                key.agent_id,
                aside,
            )
        io.replace(folder, name, data, durable=self._durable)
        return after.info.model_copy(update={"seq": seq, "context": context, "updated_at": updated_at})

    def _delete(self, key: SessionKey) -> None:
        name = _names(key)[1]
        with self._locked(key) as (folder, _):
            # The copies first: while the session is there, a deletion that was cut short can be called again.
            for aside in io.names(folder, prefix=f"{name}.torn-"):
                io.remove(folder, aside, durable=self._durable)
            io.remove(folder, name, durable=self._durable)
            # Now it is gone: what a crash leaves of the rest, no later session of this name will take for its own.
            io.remove_tree(folder, name.removesuffix(_SUFFIX), durable=self._durable)

    def _view(
        self,
        key: SessionKey,
        read_range: Callable[[int, int, int], bytearray],
        of_sealed: Callable[[document.Read, document.Sealed], _T],
    ) -> _T:
        """Read a file whose seal holds, without a lock.

        Raises:
            WouldWait: The seal does not hold, or `read_range` raised it.
        """
        folder_name, name = _names(key)
        folder = io.open_directory(self._root, folder_name)
        try:
            fd = io.open_file(folder, name)
        finally:
            io.close(folder)
        try:
            read = partial(read_range, fd)
            gate = self.place(key)
            sealed = document.read_sealed(read, io.size_of(fd), _seen.get(gate))
            if sealed is None:
                raise io.WouldWait
            self._check_identity(key, sealed.header)
            _seen.put(gate, sealed)
            return of_sealed(read, sealed)
        finally:
            io.close(fd)

    def _view_surely(
        self,
        key: SessionKey,
        of_sealed: Callable[[document.Read, document.Sealed], _T],
        of_whole: Callable[[document.Document], _T],
    ) -> _T:
        """Read a file without a lock or, if its seal does not hold, once more under a shared lock."""
        with self._errors(key):
            with contextlib.suppress(io.WouldWait, document.Damage):
                return self._view(key, io.read_range, of_sealed)
            folder_name, name = _names(key)
            with io.directory(self._root, folder_name) as folder:
                whole = self._decode_under_lock(folder, name)
            self._check_identity(key, whole.header)
            if whole.shape == "torn":
                logger.warning(
                    "session %r of agent %r has a torn last write; the next write will repair it",
                    key.session_id,
                    key.agent_id,
                )
            return of_whole(whole)

    def _decode_under_lock(self, folder: int, name: str) -> document.Document:
        fd = io.open_locked(folder, name, shared=True)
        try:
            return document.decode_document(self._read_whole(fd))
        finally:
            io.close_locked(fd)

    def _read_whole(self, fd: int) -> bytes:
        document.check_begin(io.read_range(fd, 0, document.BEGIN_BYTES))
        return bytes(io.read_whole(fd))

    def _agents(self) -> list[str]:
        with self._errors(SessionKey("*", "*")):
            return io.folders(self._root)

    def _names_in(self, key: SessionKey, *folders: str, suffix: str = "") -> list[str]:
        try:
            with self._errors(key), io.directory(self._root, *folders) as fd:
                _sweep_once(fd)
                return io.names(fd, suffix=suffix)
        except SessionNotFoundError:
            return []

    def _scan(self, folder: str, names: list[str]) -> list[SessionInfo]:
        found = (self._load_by_name(folder, name) for name in names)
        return [info for info in found if info is not None]

    def _find(self, name: str) -> list[SessionKey]:
        found = (self._load_by_name(folder, name) for folder in self._agents())
        return [info.key for info in found if info is not None]

    def _load_by_name(self, folder: str, name: str) -> SessionInfo | None:
        """Load a session whose ids are known only from its header. One broken file must not hide the others."""
        try:
            with io.directory(self._root, folder) as fd:
                info = self._info_in(fd, name)
            if _names(info.key) != (folder, name):
                raise document.Damage("it holds the session of another name")
        except BlockingIOError:
            raise
        except FileNotFoundError:
            return None
        except (document.Damage, document.NewerFormat, io.NotRegular, OSError, SessionError) as error:
            logger.warning("left out %s: %s", self.root / folder / name, error)
            return None
        return info

    def _info_in(self, folder: int, name: str) -> SessionInfo:
        fd = io.open_file(folder, name)
        try:
            read = partial(io.read_range, fd)
            sealed = document.read_sealed(read, io.size_of(fd))
            if sealed is not None:
                return _info_of_sealed(read, sealed)
        finally:
            io.close(fd)
        return _info_of(self._decode_under_lock(folder, name))

    # --- sidecars ---

    def _sidecar(self, key: SessionKey, name: str) -> tuple[tuple[str, ...], str]:
        parts = [encode_name(part, what="sidecar name", extension=True) for part in name.split("/")]
        if len(parts) > 2 or any("~" in part for part in parts):
            raise ValueError(f"a sidecar is a short file name or folder/file, not {name!r:.200}")
        folder, file = _names(key)
        return (folder, file.removesuffix(_SUFFIX), *parts[:-1]), parts[-1]

    def _read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        folders, file = self._sidecar(key, name)
        try:
            with self._errors(key), io.directory(self._root, *folders) as folder:
                return bytes(io.read_file(folder, file))
        except SessionNotFoundError:
            return None

    def _write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        folders, file = self._sidecar(key, name)
        with self._errors(key), self._folder(key) as agent, io.locked(agent, _names(key)[1]):
            with io.directory(self._root, *folders, create=True, durable=self._durable) as folder:
                io.sweep(folder)
                io.replace(folder, file, data, durable=self._durable)

    def _list_sidecars(self, key: SessionKey) -> list[str]:
        folder, file = _names(key)
        place = (folder, file.removesuffix(_SUFFIX))
        with self._errors(key):
            inner = io.folders(str(self.root.joinpath(*place)))
        found = [name for name in self._names_in(key, *place) if name not in inner]
        found += [f"{part}/{name}" for part in inner for name in self._names_in(key, *place, part)]
        return sorted(decode_name(name) for name in found if _is_name(name))

    def _delete_sidecar(self, key: SessionKey, name: str) -> bool:
        folders, file = self._sidecar(key, name)
        try:
            with self._errors(key), self._folder(key) as agent, io.locked(agent, _names(key)[1]):
                with io.directory(self._root, *folders) as folder:
                    io.remove(folder, file, durable=self._durable)
        except SessionNotFoundError:
            return False
        return True

    # --- the turn lock ---

    async def _await_turn(self, key: SessionKey, begun: float, timeout: float | None) -> contextlib.ExitStack:
        """Wait for other processes. Each try is made on the event loop: nothing of it is synced to the disk."""
        pause = 0.001
        while isinstance(taken := self._try_turn(key), _Holder):
            waited = monotonic() - begun
            if timeout is not None and waited >= timeout:
                raise SessionBusyError(key.session_id, key.agent_id, waited, *taken)
            await asyncio.sleep(pause if timeout is None else min(pause, max(0.0, timeout - waited)))
            pause = min(pause * 2, 0.01)
        return taken

    def _try_turn(self, key: SessionKey) -> "contextlib.ExitStack | _Holder":
        """Take the lock file of a session's turns, or say who has it and for how long."""
        name = f".{_names(key)[1]}.turn"
        holder = encode_json({"process": _this_process(), "since": timestamp()})
        with self._errors(key), contextlib.ExitStack() as stack:
            folder = stack.enter_context(self._folder(key))
            try:
                fd = io.open_lock_file(folder, name, holder)
            except BlockingIOError:
                return self._holder(folder, name)
            stack.callback(io.close_lock_file, folder, name, fd)
            return stack.pop_all()

    def _holder(self, folder: int, name: str) -> "_Holder":
        try:
            holder = decode_json(io.read_file(folder, name))
            return _Holder(str(holder["process"]), now() - datetime.fromisoformat(holder["since"]))
        except (OSError, io.NotRegular, ValueError, KeyError, TypeError):
            return _Holder("another process", None)

    # --- errors ---

    @contextlib.contextmanager
    def _errors(self, key: SessionKey) -> Iterator[None]:
        try:
            yield
        except _UNTOLD as error:
            if isinstance(error, (BlockingIOError, SessionError)):
                raise
            raise self._told(key, error) from error

    def _told(self, key: SessionKey, error: Exception) -> SessionError:
        """Return what happened in terms of the session."""
        if isinstance(error, FileNotFoundError):
            return SessionNotFoundError(key.session_id, key.agent_id)
        if isinstance(error, io.NotRegular):
            return self._storage(SessionPathError, key, str(error))
        if isinstance(error, document.NewerFormat):
            reason = f"the file is of format {error}, newer than this version reads; update agents-sessions"
            return self._storage(SessionVersionError, key, reason)
        if isinstance(error, document.Damage):
            return self._storage(SessionCorruptedError, key, f"the file cannot be used: {error}")
        reason = f"the operating system refused: {getattr(error, 'strerror', error)}"
        number = getattr(error, "errno", None)
        return SessionIOError(key.session_id, key.agent_id, str(self.path(key)), reason, number)

    def _storage(self, kind: type[SessionStorageError], key: SessionKey, reason: str) -> SessionStorageError:
        return kind(key.session_id, key.agent_id, str(self.path(key)), reason)

    def _check_identity(self, key: SessionKey, header: JsonObject) -> None:
        if (header.get("agent_id"), header.get("id")) != key:
            reason = "the file holds another session: it was renamed by hand, or the disk takes two names for one"
            raise self._storage(SessionPathError, key, reason)


@lru_cache(maxsize=4096)
def _names(key: SessionKey) -> tuple[str, str]:
    """Return the names of a session's folder and file."""
    return encode_name(key.agent_id, what="agent_id"), encode_name(key.session_id) + _SUFFIX


def _is_name(name: str) -> bool:
    """Tell whether a sidecar can have this file name, which someone else may have put there."""
    try:
        return all(encode_name(decode_name(part), extension=True) == part for part in name.split("/"))
    except (UnicodeError, SessionIdError):
        return False


def _check_seq(key: SessionKey, actual: int, expected: int | None) -> None:
    if expected is not None and expected != actual:
        raise SessionConflictError(key.session_id, key.agent_id, expected, actual)


def _items_of(entries: list[Entry]) -> list[Item]:
    return [entry["item"] for entry in entries if "item" in entry]


def _totals_of(tail: document.Tail) -> Totals:
    return Totals(tail.seq, datetime.fromisoformat(tail.updated_at), tail.context)


def _info_of_sealed(_read: document.Read, sealed: document.Sealed) -> SessionInfo:
    # Decoded anew, because the header that was seen is shared, and what a caller gets is its own.
    return _make_info(document.facts_of(document.parse_header(sealed.line)), _totals_of(sealed.tail))


def _info_of(whole: document.Document) -> SessionInfo:
    totals = Totals(whole.seq, datetime.fromisoformat(whole.updated_at), whole.context)
    return _make_info(whole.header, totals)


def _make_info(facts: JsonObject, totals: Totals) -> SessionInfo:
    try:
        return SessionInfo.model_validate(
            {**facts, "seq": totals.seq, "updated_at": totals.updated_at, "context": totals.context}
        )
    except ValidationError as error:
        raise document.Damage(f"its header has an invalid value: {invalid_fields(error)}") from None


def _sweep_once(folder: int) -> None:
    """Sweep a folder the first time that this process meets it."""
    place = io.identity_of(folder)
    if place not in _swept:
        _swept.add(place)
        io.sweep(folder)


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
