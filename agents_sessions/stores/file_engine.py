"""What is done to the session files below one root, step by step, in the thread that asks for it.

Everything here is tried once: a file that another process has locked is a `BlockingIOError`, to be tried again by
`file_store`, which does the waiting. All other errors come in terms of the session.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from agents_sessions.entries import Entry, now, timestamp
from agents_sessions.errors import (
    SessionConflictError,
    SessionError,
    SessionExistsError,
    SessionIdError,
    SessionLimitError,
    SessionNotFoundError,
    SessionStorageError,
    printable,
)
from agents_sessions.info import SessionInfo, SessionKey
from agents_sessions.lossless_json import decode_json, encode_json
from agents_sessions.naming import decode_name, encode_name
from agents_sessions.recent import Recent
from agents_sessions.stores import file_atomic as atomic
from agents_sessions.stores import file_document as document
from agents_sessions.stores import file_io as io
from agents_sessions.stores import file_locks as locks
from agents_sessions.stores import file_recovery as recovery
from agents_sessions.stores import file_sidecars as sidecars
from agents_sessions.stores.base import Change, History, Totals, check_change, renumber
from agents_sessions.stores.file_errors import UNTOLD, check_identity, told
from agents_sessions.stores.file_limits import Limits
from agents_sessions.stores.file_names import SUFFIX, beside, sidecar_of
from agents_sessions.stores.file_names import names_of as _names
from agents_sessions.stores.file_queries import INFO_QUERY, Query, info_of, totals_of

logger = logging.getLogger("agents_sessions")

_T = TypeVar("_T")
_HOLDER_BYTES = 4096
_HINT_BYTES = 1 << 16


class Holder(NamedTuple):
    """Who has the lock of a session's turns."""

    process: str
    held_for: timedelta | None


# Shared by all roots of the process, because two of them may be the same.
_tails: Recent[tuple[str, ...], document.Sealed] = Recent(1024)
_swept: Recent[tuple[int, int], bool] = Recent(4096)
_anchored: Recent[tuple[int, int], bool] = Recent(4096)


class FileEngine:
    """The sessions below a root.

    Args:
        root: The folder, absolute.
        durable: Whether what is written is synced before it is acknowledged.
        limits: How large items and sessions may become.
    """

    def __init__(self, root: Path, *, durable: bool, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        self._root = str(root)
        self._place = os.path.realpath(root)
        self._durable = durable

    def path(self, key: SessionKey) -> Path:
        """Return where a session's file is, or would be."""
        return self.root.joinpath(*_names(key))

    def place(self, key: SessionKey) -> tuple[str, ...]:
        """Return what names a session's file in this process, whatever way leads to the root."""
        return (self._place, *_names(key))

    # --- one session ---

    def encode(self, info: SessionInfo, entries: Sequence[Entry]) -> tuple[SessionInfo, bytearray]:
        """Return a new session as it will be stored, and its file. Neither shares an object with the caller."""
        numbered, seq, context = renumber(History(info, list(entries)), 0)
        updated_at = timestamp(info.updated_at)
        data = document.encode_document(document.Document(info.header(), numbered, seq, context, updated_at))
        self.limits.check_header(info, len(data))
        self.limits.check_document(info.key, len(data), entries)
        return info.model_copy(update={"seq": seq, "context": context}, deep=True), data

    def create(self, key: SessionKey, data: bytearray) -> None:
        """Make the file of a new session, which `encode` has made."""
        name = _names(key)[1]
        with self._errors(key, creating=True), self._folder(key, create=True) as folder:
            _sweep_once(folder)
            self._anchor_once(folder)
            sidecars.remove_all(folder, name, durable=self._durable, only_ours=True)
            try:
                atomic.create(folder, name, data, durable=self._durable)
            except FileExistsError:
                raise SessionExistsError(key.session_id, key.agent_id) from None

    def _anchor_once(self, folder: int) -> None:
        """Bring the name of an agent's folder to the disk, which a process that was killed may have made."""
        place = io.identity_of(folder)
        if self._durable and _anchored.get(place) is None:
            io.sync_root(self._root, durable=True)
            _anchored.put(place, True)

    def append(
        self, key: SessionKey, batch: Sequence[document.EncodedEntry], at: str, expected_seq: int | None
    ) -> Totals:
        """Add entries. Of what the caller has, only this encoded form counts: all else may have changed meanwhile."""
        self.limits.check_items(key, batch)
        entries = document.decode_batch(batch)
        name = _names(key)[1]
        while True:
            with self._locked(key) as (folder, fd):
                read = partial(io.read_range, fd)
                sealed = document.read_sealed(read, io.size_of(fd), _tails.get(self.place(key)))
                plan = None
                if sealed is not None:
                    check_identity(key, self.path(key), sealed.header)
                    _check_seq(key, sealed.tail.seq, expected_seq)
                    if not batch:
                        return totals_of(sealed.tail)
                    plan = document.plan_append(sealed, batch, entries, at)
                if sealed is None or plan is None:  # edited or torn: brought back into shape; or see `plan_append`
                    totals = self._append_by_rewriting(key, folder, fd, entries, expected_seq)
                    if totals is None:
                        continue
                    return totals
                self.limits.check_added(key, plan.offset + len(plan.data), entries)
                old = sealed.tail.text
                if atomic.append(folder, name, fd, plan.offset, plan.data, old=old, durable=self._durable):
                    _remember(self.place(key), plan.after)
                    return totals_of(plan.after.tail)
            # Someone who does not know the lock, an editor, replaced the file meanwhile: do it again there.

    def _append_by_rewriting(
        self, key: SessionKey, folder: int, fd: int, entries: Sequence[Entry], expected_seq: int | None
    ) -> Totals | None:
        def change(history: History) -> History:
            _check_seq(key, history.info.seq, expected_seq)
            return history.with_entries([*history.entries, *entries])

        info = self._rewrite_locked(key, folder, fd, change)
        return None if info is None else Totals(info.seq, info.updated_at, info.context)

    def rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        """Put a changed session in the place of the old one."""
        while True:
            with self._locked(key) as (folder, fd):
                info = self._rewrite_locked(key, folder, fd, change)
            if info is not None:
                return info

    def _rewrite_locked(self, key: SessionKey, folder: int, fd: int, change: Change) -> SessionInfo | None:
        """Return None if someone who does not know the lock has replaced the file meanwhile."""
        name = _names(key)[1]
        whole = self._decode(key, fd)
        check_identity(key, self.path(key), whole.header)
        before = History(info_of(whole), whole.entries)
        after = change(before)
        if after is before and whole.shape == "sealed":
            return before.info
        check_change(key, after)
        entries, seq, context = renumber(after, whole.seq)
        updated_at = max(now(), before.info.updated_at)
        new = document.Document(after.info.header(), entries, seq, context, timestamp(updated_at))
        data = document.encode_document(new)
        old_size = io.size_of(fd)
        self.limits.check_header(after.info, len(data), before.info, old_size)
        self.limits.check_document(key, len(data), [e for e in after.entries if "seq" not in e], old_size)
        if not io.leads_to(folder, name, fd):
            return None
        if whole.shape == "torn":
            self._replace_torn(key, folder, data)
        else:
            atomic.replace(folder, name, data, durable=self._durable)
        return after.info.model_copy(update={"seq": seq, "context": context, "updated_at": updated_at})

    def _replace_torn(self, key: SessionKey, folder: int, data: bytearray) -> None:
        name = _names(key)[1]
        with atomic.set_aside(folder, name) as aside:
            atomic.replace(folder, name, data, durable=self._durable)
        logger.warning(
            "session %r of agent %r had a torn last write; repaired, the damaged file is kept as %s",
            key.session_id,
            key.agent_id,
            aside,
        )

    def delete(self, key: SessionKey) -> None:
        """Remove a session and all that belongs to it."""
        name = _names(key)[1]
        with self._errors(key), self._folder(key) as folder:
            try:
                with locks.locked(folder, name) as fd:
                    self._check_holds(key, fd)
                    # The copies first: while the session is there, a deletion that was cut short can be called again.
                    for aside in io.names(folder, prefix=f"{name}.torn-"):
                        atomic.remove(folder, aside, durable=self._durable)
                    atomic.remove(folder, name, durable=self._durable)
            except FileNotFoundError:
                with contextlib.suppress(io.NotRegular):  # what a deletion has left that died on the way
                    sidecars.remove_all(folder, name, durable=self._durable, only_ours=True)
                raise
            sidecars.remove_all(folder, name, durable=self._durable)

    # --- reading ---

    def read_at_once(self, key: SessionKey, query: Query[_T]) -> _T:
        """Answer from what the kernel has in memory.

        Raises:
            WouldWait: It has not, or the seal does not hold.
        """
        with self._errors(key):
            return self._view(key, io.read_range_at_once, query)

    def read(self, key: SessionKey, query: Query[_T]) -> _T:
        """Answer without a lock or, if the seal does not hold, once more under a shared lock."""
        with self._errors(key):
            with contextlib.suppress(io.WouldWait, document.Damage):
                return self._view(key, io.read_range, query)
            whole = _decoded(self._read_under_lock(key, *_names(key)))
            check_identity(key, self.path(key), whole.header)
            if whole.shape == "torn":
                logger.warning(
                    "session %r of agent %r has a torn last write; the next write will repair it",
                    key.session_id,
                    key.agent_id,
                )
            return query.of_whole(whole)

    def _view(self, key: SessionKey, read_range: Callable[[int, int, int], bytearray], query: Query[_T]) -> _T:
        folder_name, name = _names(key)
        folder = io.open_directory(self._root, folder_name)
        try:
            fd = io.open_file(folder, name)
        finally:
            io.close(folder)
        try:
            read = partial(read_range, fd)
            place = self.place(key)
            sealed = document.read_sealed(read, io.size_of(fd), _tails.get(place))
            if sealed is None:
                raise io.WouldWait
            check_identity(key, self.path(key), sealed.header)
            _remember(place, sealed)
            return query.of_sealed(read, sealed)
        finally:
            io.close(fd)

    # --- many sessions ---

    def agents(self) -> list[str]:
        """Return the names of the folders below the root."""
        with self._errors(SessionKey("*", "*"), path=self.root):
            return io.folders(self._root)

    def files(self, folder: str, *, among_others: bool) -> list[str]:
        """Return the names of the session files in a folder.

        One that cannot be opened is left out if it is `among_others`: on many disks `lost+found` is.
        """
        path = self.root / folder
        try:
            with self._errors(SessionKey(folder, "*"), path=path), io.directory(self._root, folder) as fd:
                _sweep_once(fd)
                return io.names(fd, suffix=SUFFIX)
        except SessionNotFoundError:
            return []
        except SessionStorageError as error:
            if not (among_others and isinstance(error.__cause__, (PermissionError, io.NotRegular))):
                raise
            logger.warning("left out the folder %s: %s", printable(str(path)), error.reason)
            return []

    def load_some(self, folder: str, names: Sequence[str]) -> list[SessionInfo]:
        """Return the sessions of some files; one that is gone or broken is left out, so as not to hide the others."""
        found = (self._load_by_name(folder, name) for name in names)
        return [info for info in found if info is not None]

    def find(self, session_id: str) -> list[SessionKey]:
        """Return the sessions of that id, whichever agent's they are. One that cannot be read is not missing."""
        name = encode_name(session_id) + SUFFIX
        found = (self._find_in(folder, name, session_id) for folder in self.agents())
        return [key for key in found if key is not None]

    def _find_in(self, folder: str, name: str, session_id: str) -> SessionKey | None:
        info = self._load_by_name(folder, name)
        if info is not None:
            return info.key
        with contextlib.suppress(UnicodeError, SessionIdError):
            key = SessionKey(decode_name(folder), session_id)
            with self._errors(key), contextlib.suppress(FileNotFoundError, PermissionError):
                with io.directory(self._root, folder) as fd:
                    return key if _names(key) == (folder, name) and io.exists(fd, name) else None
        return None

    def _load_by_name(self, folder: str, name: str) -> SessionInfo | None:
        """Load a session whose ids are known only from its header."""
        try:
            with io.directory(self._root, folder) as fd:
                info = self._info_in(fd, folder, name)
            if _names(info.key) != (folder, name):
                raise document.Damage("it holds the session of another name")
        except BlockingIOError:
            raise
        except FileNotFoundError:
            return None
        except (*UNTOLD, SessionError) as error:
            logger.warning("left out %s: %s", printable(str(self.root / folder / name)), error)
            return None
        return info

    def _info_in(self, dir_fd: int, folder: str, name: str) -> SessionInfo:
        with io.opened(dir_fd, name) as fd:
            read = partial(io.read_range, fd)
            sealed = document.read_sealed(read, io.size_of(fd))
            if sealed is not None:
                return INFO_QUERY.of_sealed(read, sealed)
        return info_of(_decoded(self._read_under_lock(SessionKey(folder, name), folder, name)))

    # --- whole files ---

    def _read_under_lock(self, key: SessionKey, folder_name: str, name: str) -> bytes:
        """Return all bytes of a file. Decoding is for after the lock: readers that hold it in turn shut out writers."""
        with io.directory(self._root, folder_name) as folder:
            fd = locks.open_locked(folder, name, shared=True)
            try:
                return self._read_whole(key, fd)
            finally:
                locks.close_locked(fd)

    def _decode(self, key: SessionKey, fd: int) -> document.Document:
        return _decoded(self._read_whole(key, fd))

    def _read_whole(self, key: SessionKey, fd: int) -> bytes:
        """Return all bytes of a file, if they may be those of a session and are not too many to be decoded."""
        recovery.check_begin(io.read_range(fd, 0, recovery.BEGIN_BYTES))
        size = io.size_of(fd)
        if not self.limits.allow(size) and document.read_sealed(partial(io.read_range, fd), size) is None:
            # A file that was pretty-printed, or that an append made too long, may still be mended.
            self.limits.check_file(key, "its file, edited or torn,", size, times=2)
        return bytes(io.read_range(fd, 0, size))

    # --- sidecars ---

    def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        """Return what is stored beside a session under a name, or None."""
        folders, file = sidecar_of(key, name)
        try:
            with self._errors(key):
                self._check_is_there(key)
                with io.directory(self._root, *folders) as folder, io.opened(folder, file) as fd:
                    size = io.size_of(fd)
                    self.limits.check_file(key, "a sidecar", size)
                    return bytes(io.read_range(fd, 0, size))
        except SessionNotFoundError:
            return None

    def write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        """Store something beside a session."""
        folders, file = sidecar_of(key, name)
        self.limits.check_file(key, "a sidecar", len(data))
        with self._errors(key), self._folder(key) as agent, locks.locked(agent, _names(key)[1]) as fd:
            self._check_holds(key, fd)
            sidecars.write(self._root, agent, folders, file, data, durable=self._durable)

    def list_sidecars(self, key: SessionKey) -> list[str]:
        """Return the names of what is stored beside a session."""
        folder, file = _names(key)
        try:
            with self._errors(key):
                self._check_is_there(key)
                return sidecars.listed(self._root, (folder, beside(file)))
        except SessionNotFoundError:
            return []

    def delete_sidecar(self, key: SessionKey, name: str) -> bool:
        """Remove what is stored beside a session under a name; returns whether there was something."""
        folders, file = sidecar_of(key, name)
        try:
            with self._errors(key), self._folder(key) as agent, locks.locked(agent, _names(key)[1]) as fd:
                self._check_holds(key, fd)
                with io.directory(self._root, *folders) as folder:
                    atomic.remove(folder, file, durable=self._durable)
        except SessionNotFoundError:
            return False
        return True

    # --- the turn lock ---

    def try_turn(self, key: SessionKey) -> contextlib.ExitStack | Holder:
        """Take the lock file of a session's turns, or say who has it and for how long."""
        name = f".{_names(key)[1]}.turn"
        holder = encode_json({"process": this_process(), "since": timestamp()})
        with self._errors(key), contextlib.ExitStack() as stack:
            folder = stack.enter_context(self._folder(key))
            try:
                fd = locks.open_lock_file(folder, name, holder)
            except BlockingIOError:
                return _holder(folder, name)
            stack.callback(locks.close_lock_file, folder, name, fd)
            return stack.pop_all()

    # --- folders and errors ---

    def _folder(self, key: SessionKey, *, create: bool = False) -> contextlib.AbstractContextManager[int]:
        return io.directory(self._root, _names(key)[0], create=create, durable=self._durable)

    @contextlib.contextmanager
    def _locked(self, key: SessionKey) -> Iterator[tuple[int, int]]:
        """Open a session's folder and its file, locked exclusively. Written out: it is in the way of every append."""
        folder_name, name = _names(key)
        folder = fd = -1
        try:
            folder = io.open_directory(self._root, folder_name)
            fd = locks.open_locked(folder, name)
            yield folder, fd
        except UNTOLD as error:
            if isinstance(error, (BlockingIOError, SessionError)):
                raise
            raise told(key, self.path(key), error) from error
        finally:
            if fd >= 0:
                locks.close_locked(fd)
            if folder >= 0:
                io.close(folder)

    @contextlib.contextmanager
    def _errors(self, key: SessionKey, *, creating: bool = False, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except UNTOLD as error:
            if isinstance(error, (BlockingIOError, SessionError)):
                raise
            raise told(key, path or self.path(key), error, creating=creating) from error

    def _check_is_there(self, key: SessionKey) -> None:
        """Refuse a session that is not there: a deletion that died may have left its sidecars, which are no one's."""
        with self._folder(key) as folder, io.opened(folder, _names(key)[1]) as fd:
            self._check_holds(key, fd)

    def _check_holds(self, key: SessionKey, fd: int) -> None:
        """Refuse a file that holds another session. One that no session can be read from may still be removed."""
        with contextlib.suppress(document.Damage, document.NewerFormat, SessionLimitError):
            sealed = document.read_sealed(partial(io.read_range, fd), io.size_of(fd), _tails.get(self.place(key)))
            header = self._decode(key, fd).header if sealed is None else sealed.header
            check_identity(key, self.path(key), header)


# --- small steps ---------------------------------------------------------------------------------------------


def _decoded(data: bytes) -> document.Document:
    try:
        return recovery.decode_document(data)
    except (document.Damage, document.NewerFormat) as error:
        # Without the frames below and this one's argument: whoever holds the error would hold the whole file.
        del data
        raise error.with_traceback(None) from None


def _holder(folder: int, name: str) -> Holder:
    try:
        with io.opened(folder, name) as fd:
            holder = decode_json(io.read_range(fd, 0, _HOLDER_BYTES))
        return Holder(str(holder["process"]), now() - datetime.fromisoformat(holder["since"]))
    except (OSError, io.NotRegular, ValueError, KeyError, TypeError):
        return Holder("another process", None)


def this_process() -> str:
    """Return how this process is named to those who wait for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _check_seq(key: SessionKey, actual: int, expected: int | None) -> None:
    if expected is not None and expected != actual:
        raise SessionConflictError(key.session_id, key.agent_id, expected, actual)


def _remember(place: tuple[str, ...], sealed: document.Sealed) -> None:
    if len(sealed.line) <= _HINT_BYTES:
        _tails.put(place, sealed)


def _sweep_once(folder: int) -> None:
    """Sweep a folder the first time that this process meets it."""
    place = io.identity_of(folder)
    if _swept.get(place) is None:
        _swept.put(place, True)
        atomic.sweep(folder)
