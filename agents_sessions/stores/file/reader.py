"""What is read of the session files below one root, in the thread that asks for it.

A reader takes no lock while the seal of a file holds. Everything is tried once: a file whose lock another process has
is a `BlockingIOError`, to be tried again by `store`, which does the waiting. All other errors come
in terms of the session.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from agents_sessions.concurrency import process
from agents_sessions.errors import (
    MissingKeyError,
    SessionCorruptedError,
    SessionError,
    SessionIdError,
    SessionLimitError,
    SessionNotFoundError,
    SessionStorageError,
    WrongKeyError,
    printable,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.codec import PLAIN, PLAIN_SESSION, Codec, SessionCodec
from agents_sessions.stores.file import sidecars
from agents_sessions.stores.file.aside import beside_any
from agents_sessions.stores.file.disk import atomic, locks
from agents_sessions.stores.file.disk import syscalls as io
from agents_sessions.stores.file.errors import UNTOLD, check_identity, told
from agents_sessions.stores.file.format.document import Document
from agents_sessions.stores.file.format.header import Damage, NewerFormat, codec_of
from agents_sessions.stores.file.format.reading import BEGIN_BYTES, check_begin, decode_document
from agents_sessions.stores.file.format.sealed import Sealed, read_sealed
from agents_sessions.stores.file.layout import SUFFIX, SessionNames, beside, names_of, sidecar_of
from agents_sessions.stores.file.limits import Limits
from agents_sessions.stores.file.names import decode_name, encode_name
from agents_sessions.stores.file.queries import INFO_QUERY, Query, info_of

logger = logging.getLogger("agents_sessions")

_T = TypeVar("_T")
ReadRange = Callable[[int, int, int], bytearray]
"""`read_range(fd, offset, length)`: waiting for the disk, or not."""

_HINT_BYTES = 1 << 16


class FileReader:
    """The sessions below a root, as they are read.

    Args:
        root: The folder, absolute.
        limits: How large a file may be that is read whole.
        codec: How bodies, facts and sidecars become bytes.
    """

    def __init__(self, root: Path, *, limits: Limits, codec: Codec = PLAIN) -> None:
        self.root = root
        self.limits = limits
        self.codec = codec
        self._root = self.root_name = str(root)
        self._place = os.path.realpath(root)

    def path(self, key: SessionKey) -> Path:
        """Return where a session's file is, or would be."""
        return self.root.joinpath(*names_of(key))

    def place(self, key: SessionKey) -> tuple[str, ...]:
        """Return what names a session's file in this process, whatever way leads to the root."""
        return (self._place, *names_of(key))

    # --- one session ---

    def read_at_once(self, key: SessionKey, query: Query[_T]) -> _T:
        """Answer from what the kernel has in memory.

        Raises:
            WouldWait: It has not, or the seal does not hold.
        """
        try:  # written out: a context manager is seven calls more, for every read
            return self._view(key, io.read_range_at_once, query)
        except (BlockingIOError, SessionError):
            raise
        except UNTOLD as error:
            raise self._told(key, error) from error

    def read(self, key: SessionKey, query: Query[_T]) -> _T:
        """Answer without a lock or, if the seal does not hold, once more under a shared lock."""
        with self._errors(key):
            with contextlib.suppress(io.WouldWait, Damage):
                return self._view(key, io.read_range, query)
            whole = self.read_whole(key, *names_of(key))
            check_identity(key, self.path, whole.header)
            if whole.shape == "torn":
                logger.warning(
                    "session %r of agent %r has a torn last write; the next write will repair it",
                    key.session_id,
                    key.agent_id,
                )
            return query.of_whole(whole)

    def _view(self, key: SessionKey, read_range: ReadRange, query: Query[_T]) -> _T:
        folder_name, name = names_of(key)
        folder = io.open_directory(self._root, folder_name)
        try:
            fd, size = io.open_sized_file(folder, name)
        finally:
            io.close(folder)
        try:
            read = partial(read_range, fd)
            place = self.place(key)
            sealed = read_sealed(read, size, recall(place))
            if sealed is None:
                raise io.WouldWait
            check_identity(key, self.path, sealed.header)
            remember(place, sealed)
            return query.of_sealed(read, sealed, codec_of(sealed.header, self.codec))
        finally:
            io.close(fd)

    def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        """Return what is stored beside a session under a name, or None."""
        folders, file = sidecar_of(key, name)
        try:
            with self._errors(key):
                codec = self._check_is_there(key, to_use=True)
                with io.directory(self._root, *folders) as folder, io.opened(folder, file) as fd:
                    size = io.size_of(fd)
                    self.limits.check_file(key, "a sidecar", size)
                    return codec.decode_sidecar(name, bytes(io.read_range(fd, 0, size)))
        except SessionNotFoundError:
            return None

    def list_sidecars(self, key: SessionKey) -> list[str]:
        """Return the names of what is stored beside a session."""
        folder, file = names_of(key)
        try:
            with self._errors(key):
                self._check_is_there(key)
                return sidecars.listed(self._root, (folder, beside(file)))
        except SessionNotFoundError:
            return []

    # --- many sessions ---

    def agents(self) -> list[str]:
        """Return the names of the folders of agents below the root."""
        with self._errors(SessionKey("*", "*"), path=self.root):
            # No agent has a name that begins with a dot: what does is ours, such as the catalog, or a stranger's.
            return [name for name in io.folders(self._root) if name[0] != "."]

    def files(self, folder: str, *, among_others: bool) -> list[str]:
        """Return the names of the session files in a folder.

        One that cannot be opened is left out if it is `among_others`: on many disks `lost+found` is.
        """
        path = self.root / folder
        try:
            with self._errors(SessionKey(folder, "*"), path=path), io.directory(self._root, folder) as fd:
                atomic.sweep_once(fd)
                return io.names(fd, suffix=SUFFIX)
        except SessionNotFoundError:
            return []
        except SessionStorageError as error:
            if not (among_others and isinstance(error.__cause__, (PermissionError, io.NotRegular))):
                raise
            logger.warning("left out the folder %s: %s", printable(str(path)), error.reason)
            return []

    def sizes(self, places: Sequence[SessionNames]) -> list[int | None]:
        """Return the bytes of session files with all that lies beside them; None for one that is gone."""
        with contextlib.ExitStack() as stack:
            opened: dict[str, int | None] = {}
            return [self._size(self._opened(place.folder, opened, stack), place.file) for place in places]

    def _opened(self, name: str, opened: dict[str, int | None], stack: contextlib.ExitStack) -> int | None:
        """Return the open folder of an agent, which is opened once for many sessions."""
        if name not in opened:
            try:
                opened[name] = stack.enter_context(io.directory(self._root, name))
            except (FileNotFoundError, io.NotRegular):
                opened[name] = None
        return opened[name]

    def _size(self, folder: int | None, file: str) -> int | None:
        if folder is None:
            return None
        try:
            return io.size_of_name(folder, file) + io.size_of_tree(folder, beside_any(file))
        except FileNotFoundError:
            return None

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
                    return key if names_of(key) == (folder, name) and io.exists(fd, name) else None
        return None

    def _load_by_name(self, folder: str, name: str) -> SessionInfo | None:
        """Load a session whose ids are known only from its header."""
        try:
            with io.directory(self._root, folder) as fd:
                info = self._info_in(fd, folder, name)
            if names_of(info.key) != (folder, name):
                raise Damage("it holds the session of another name")
        except (BlockingIOError, MissingKeyError, WrongKeyError):
            raise  # a list without all that a wrong key cannot open would look like an empty store
        except FileNotFoundError:
            return None
        except (*UNTOLD, SessionError) as error:
            logger.warning("left out %s: %s", printable(str(self.root / folder / name)), error)
            return None
        return info

    def _info_in(self, dir_fd: int, folder: str, name: str) -> SessionInfo:
        with io.opened(dir_fd, name) as fd:
            read = partial(io.read_range, fd)
            sealed = read_sealed(read, io.size_of(fd))
            if sealed is not None:
                return INFO_QUERY.of_sealed(read, sealed, codec_of(sealed.header, self.codec))
        return info_of(self.read_whole(SessionKey(folder, name), folder, name))

    # --- whole files ---

    def read_whole(self, key: SessionKey, folder: str, name: str) -> Document:
        """Return all that a file holds, read under a shared lock: it need not be sealed."""
        return _decoded(self._read_under_lock(key, folder, name), self.codec)

    def _read_under_lock(self, key: SessionKey, folder_name: str, name: str) -> bytes:
        """Return all bytes of a file. Decoding is for after the lock: readers that hold it in turn shut out writers."""
        with io.directory(self._root, folder_name) as folder:
            fd = locks.open_locked(folder, name, shared=True)
            try:
                return self._read_whole(key, fd)
            finally:
                locks.close_locked(fd)

    def _decode(self, key: SessionKey, fd: int) -> Document:
        return _decoded(self._read_whole(key, fd), self.codec)

    def _read_whole(self, key: SessionKey, fd: int) -> bytes:
        """Return all bytes of a file, if they may be those of a session and are not too many to be decoded."""
        check_begin(io.read_range(fd, 0, BEGIN_BYTES))
        size = io.size_of(fd)
        if not self.limits.allow(size) and read_sealed(partial(io.read_range, fd), size) is None:
            # A file that was pretty-printed, or that an append made too long, may still be mended.
            self.limits.check_file(key, "its file, edited or torn,", size, times=2)
        return bytes(io.read_range(fd, 0, size))

    # --- errors ---

    @contextlib.contextmanager
    def _errors(self, key: SessionKey, *, creating: bool = False, path: Path | None = None) -> Iterator[None]:
        try:
            yield
        except UNTOLD as error:
            if isinstance(error, (BlockingIOError, SessionError)):
                raise
            raise told(key, path or self.path(key), error, creating=creating) from error

    def _told(self, key: SessionKey, error: Exception) -> SessionError:
        return told(key, self.path(key), error)

    def _check_is_there(self, key: SessionKey, *, to_use: bool = False) -> SessionCodec:
        """Return the codec of a session. Raise if it is gone: an interrupted delete may have left its sidecars."""
        with io.directory(self._root, names_of(key).folder) as folder, io.opened(folder, names_of(key).file) as fd:
            return self._check_holds(key, fd, to_use=to_use)

    def _check_holds(self, key: SessionKey, fd: int, *, to_use: bool = False) -> SessionCodec:
        """Return the codec of a session, and refuse a file that holds another one.

        A file that no session can be read from passes: it may still be removed. It does not if its codec is to be used
        and the store has one: what would be written is to be hidden, and what would be read was.
        """
        try:
            sealed = read_sealed(partial(io.read_range, fd), io.size_of(fd), recall(self.place(key)))
            if sealed is None:
                whole = self._decode(key, fd)
                check_identity(key, self.path, whole.header)
                return whole.codec
        except (Damage, NewerFormat, SessionLimitError, SessionCorruptedError):
            if to_use and self.codec is not PLAIN:
                raise
            return PLAIN_SESSION
        check_identity(key, self.path, sealed.header)
        return codec_of(sealed.header, self.codec)


# --- small steps ---------------------------------------------------------------------------------------------


def _decoded(data: bytes, codec: Codec) -> Document:
    try:
        return decode_document(data, codec)
    except (Damage, NewerFormat) as error:
        # Without the frames below and this one's argument: whoever holds the error would hold the whole file.
        del data
        raise error.with_traceback(None) from None


def recall(place: tuple[str, ...]) -> Sealed | None:
    """Return what was last seen of a file's end: it spares decoding it again, and proves nothing."""
    known: Sealed | None = process.file_ends.get(place)
    return known


def remember(place: tuple[str, ...], sealed: Sealed) -> None:
    """Keep what was seen of a file's end, unless its header is long."""
    if len(sealed.line) <= _HINT_BYTES:
        process.file_ends.put(place, sealed)
