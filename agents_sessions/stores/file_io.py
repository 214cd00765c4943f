"""The system calls. The only module that touches files; it knows bytes and names, not sessions.

Dangers that shaped it, each seen to lose data somewhere:

* A file is locked only if its path still names the inode that was locked: a writer may have replaced it between
  `open` and `flock`.
* A failed `fsync` must not be tried again: the kernel has dropped the dirty pages, so the second call succeeds
  while the disk holds the old bytes.
* `write` may write less than it was given, and a signal may end it at a page's edge.
* A lock is released by `LOCK_UN`, not by `close` alone: a process forked in between shares the open file and
  would keep the lock alive.
* Waiting happens outside: every lock here is tried once and raises `BlockingIOError`, so that no worker thread
  is ever occupied by a waiter.
"""

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("agents_sessions")

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
STALE_SECONDS = 600
"""Age from which an unlocked temporary is what a dead process left."""

AT_ONCE_BYTES = 1 << 20
"""Longest read at once: decoding it takes about a millisecond, and holds the GIL in whichever thread."""

_locks: set[int] = set()
"""Open files that are locked, or about to be."""

_RWF_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TEMPORARY_SUFFIX = ".tmp"


class NotRegular(Exception):
    """The path is a symbolic link, a folder, a FIFO or a device."""


class WouldWait(Exception):
    """A read cannot be served from memory at once."""


def sync(fd: int, *, durable: bool = True) -> None:
    """Bring a file's data, and its size, to the disk."""
    if not durable:
        return
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync of macOS stops at the drive's cache
    else:
        os.fdatasync(fd)


def write_all(fd: int, data: bytes, offset: int) -> None:
    """Write every byte, however often the kernel stops short."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        if written == 0:
            raise OSError(errno.EIO, "the file takes no more bytes")
        view = view[written:]
        offset += written


def read_range(fd: int, offset: int, length: int) -> bytearray:
    """Read a range, up to the end of the file."""
    buffer = bytearray(length)
    view = memoryview(buffer)
    got = 0
    while got < length and (more := os.preadv(fd, [view[got:]], offset + got)):
        got += more
    view.release()
    del buffer[got:]
    return buffer


def read_range_at_once(fd: int, offset: int, length: int) -> bytearray:
    """Read a range that the kernel has in memory, without ever waiting for the disk.

    Raises:
        WouldWait: It has not, or cannot tell (not Linux, some file systems); or it is not all there.
    """
    if length > AT_ONCE_BYTES or _RWF_NOWAIT is None:
        raise WouldWait
    buffer = bytearray(length)
    try:
        got = os.preadv(fd, [buffer], offset, _RWF_NOWAIT)
    except OSError as error:
        raise WouldWait from error
    if got < length:
        raise WouldWait
    return buffer


# --- folders ---------------------------------------------------------------------------------------------------


def close(fd: int) -> None:
    """Close a file. What it holds was synced before, or nobody promised it: an error here says nothing of it."""
    with contextlib.suppress(OSError):
        os.close(fd)


def open_directory(root: str, *parts: str, create: bool = False, durable: bool = True) -> int:
    """Open a folder below a root. The root may be a link; nothing below it may.

    Raises:
        FileNotFoundError: There is none and `create` is false.
        NotRegular: It is a link or a file.
    """
    try:
        return _open_directory(root, parts)
    except FileNotFoundError:
        if not create:
            raise
    _make_directory(Path(root, *parts), durable=durable)
    return _open_directory(root, parts)


def _open_directory(root: str, parts: tuple[str, ...]) -> int:
    try:
        fd = os.open(f"{root}/{parts[0]}", _OPEN_DIRECTORY)
        for part in parts[1:]:
            parent = fd
            try:
                fd = os.open(part, _OPEN_DIRECTORY, dir_fd=parent)
            finally:
                close(parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise NotRegular("its folder is a link or a file") from error
        raise
    return fd


@contextlib.contextmanager
def directory(root: str, *parts: str, create: bool = False, durable: bool = True) -> Iterator[int]:
    """Open a folder, as `open_directory`, for as long as it is needed."""
    fd = open_directory(root, *parts, create=create, durable=durable)
    try:
        yield fd
    finally:
        close(fd)


def _make_directory(folder: Path, *, durable: bool) -> None:
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for made in reversed(missing):
        with contextlib.suppress(FileExistsError):
            made.mkdir(mode=DIRECTORY_MODE)
            made.chmod(DIRECTORY_MODE)  # a umask may have taken the owner's own rights
        _sync_path(made.parent, durable=durable)


def _sync_path(folder: Path, *, durable: bool) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_directory(fd, durable=durable)
    finally:
        close(fd)


def sync_directory(dir_fd: int, *, durable: bool) -> None:
    """Bring the names of a folder to the disk."""
    if durable:
        os.fsync(dir_fd)


def folders(root: str) -> list[str]:
    """Return the names of the folders of a root, links left out; none if there is no root."""
    try:
        with os.scandir(root) as found:
            return sorted(item.name for item in found if item.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def names(dir_fd: int, *, prefix: str = "", suffix: str = "") -> list[str]:
    """Return the names in a folder, sorted; those that begin with a dot are temporaries and locks."""
    found = (name for name in os.listdir(dir_fd) if name[0] != ".")
    return sorted(name for name in found if name.startswith(prefix) and name.endswith(suffix))


def sweep(dir_fd: int) -> None:
    """Remove the temporaries that processes left when they died. What cannot be removed now is left."""
    oldest = time.time() - STALE_SECONDS
    for name in os.listdir(dir_fd):
        if name.startswith(".") and name.endswith(_TEMPORARY_SUFFIX):
            with contextlib.suppress(OSError, NotRegular):
                _sweep_one(dir_fd, name, oldest)


def _sweep_one(dir_fd: int, name: str, oldest: float) -> None:
    if os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mtime > oldest:
        return
    with locked(dir_fd, name):
        os.unlink(name, dir_fd=dir_fd)
    logger.info("removed the stale temporary %s", name)


# --- files -----------------------------------------------------------------------------------------------------


def open_file(dir_fd: int, name: str) -> int:
    """Open a regular file for reading, without following, waiting for, or creating anything.

    Raises:
        FileNotFoundError: There is none.
        NotRegular: It is something else than a regular file.
    """
    return _open(dir_fd, name, os.O_RDONLY | _OPEN)


def read_file(dir_fd: int, name: str) -> bytearray:
    """Read a whole small file, opened as by `open_file`."""
    fd = open_file(dir_fd, name)
    try:
        return read_whole(fd)
    finally:
        close(fd)


def read_whole(fd: int) -> bytearray:
    """Read an open file from its begin to its end."""
    return read_range(fd, 0, size_of(fd))


def size_of(fd: int) -> int:
    """Return the size of an open file."""
    return os.fstat(fd).st_size


def identity_of(fd: int) -> tuple[int, int]:
    """Return what tells an open file or folder from every other one that exists at this time."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _open(dir_fd: int, name: str, flags: int) -> int:
    try:
        fd = os.open(name, flags, FILE_MODE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise NotRegular("not a regular file: a link, a folder or a device") from error
        raise
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        raise NotRegular("not a regular file: a link, a folder or a device")
    except BaseException:
        close(fd)
        raise


def open_locked(dir_fd: int, name: str, *, shared: bool = False, create: bool = False) -> int:
    """Open and lock a file, exclusively or shared with other readers. To be closed with `close_locked`.

    Raises:
        BlockingIOError: Someone else holds the lock at this moment.
        FileNotFoundError: There is no such file and `create` is false.
        NotRegular: It is something else than a regular file.
    """
    flags = (os.O_RDONLY if shared else os.O_RDWR) | _OPEN | (os.O_CREAT if create else 0)
    while True:
        fd = _open(dir_fd, name, flags)
        try:
            _lock(fd, shared=shared)
            if leads_to(dir_fd, name, fd):
                return fd
        except BaseException:
            close_locked(fd)
            raise
        close_locked(fd)


def close_locked(fd: int) -> None:
    """Release the lock and close the file. In a forked child, which does not have the lock, do nothing."""
    if fd in _locks:
        _locks.discard(fd)
        with contextlib.suppress(OSError):  # close() releases it all the same, if no child was forked meanwhile
            fcntl.flock(fd, fcntl.LOCK_UN)
        close(fd)


def _lock(fd: int, *, shared: bool = False) -> None:
    _locks.add(fd)  # before the lock is taken: a child that is forked in between must not keep it
    fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _close_in_child() -> None:
    # A copy of the descriptor keeps the parent's lock alive after the parent's death; unlocking would free it before.
    for fd in _locks:
        close(fd)
    _locks.clear()


os.register_at_fork(after_in_child=_close_in_child)


@contextlib.contextmanager
def locked(dir_fd: int, name: str, *, create: bool = False) -> Iterator[int]:
    """Hold a file open and locked exclusively, as `open_locked`."""
    fd = open_locked(dir_fd, name, create=create)
    try:
        yield fd
    finally:
        close_locked(fd)


def leads_to(dir_fd: int, name: str, fd: int) -> bool:
    """Tell whether a name still leads to the file that was opened."""
    try:
        there = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == identity_of(fd)


def append(dir_fd: int, name: str, fd: int, offset: int, data: bytes, *, old: bytes, durable: bool) -> bool:
    """Write data over the end of a locked file, from an offset on, so that all of it is stored or none.

    `old` is what stands there now. If any step fails, it is put back before the error leaves. Returns whether the
    name still leads to this file; if not, someone who does not know the lock has replaced it meanwhile.
    """
    try:
        write_all(fd, data, offset)
        sync(fd, durable=durable)
        return leads_to(dir_fd, name, fd)
    except BaseException:
        _put_back(fd, offset, old, durable=durable)
        raise


def _put_back(fd: int, offset: int, old: bytes, *, durable: bool) -> None:
    try:
        write_all(fd, old, offset)
        os.ftruncate(fd, offset + len(old))
        # Not a second try for the new bytes: it is the old ones that should reach the disk.
        sync(fd, durable=durable)
    except OSError as error:
        logger.warning("could not put the old end back (%s); the next write repairs the file", error.strerror)


def create(dir_fd: int, name: str, data: bytes, *, orphan: str, durable: bool) -> None:
    """Make a new file, whole or not at all.

    `orphan` is a folder that a file of this name may have left, if its removal was cut short: it is removed.

    Raises:
        FileExistsError: The name is taken; what it names was not touched.
    """
    with _temporary(dir_fd, name, data, durable=durable) as temporary:
        _link(dir_fd, temporary, name)
        try:
            os.unlink(temporary, dir_fd=dir_fd)
            remove_tree(dir_fd, orphan, durable=False)
            sync_directory(dir_fd, durable=durable)
        except BaseException:
            os.unlink(name, dir_fd=dir_fd)
            raise


def replace(dir_fd: int, name: str, data: bytes, *, durable: bool) -> None:
    """Put a new file in the place of a name, whole or not at all. The caller holds the old one's lock."""
    with _temporary(dir_fd, name, data, durable=durable) as temporary:
        with _kept(dir_fd, name, durable=durable):
            os.replace(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            sync_directory(dir_fd, durable=durable)


@contextlib.contextmanager
def _kept(dir_fd: int, name: str, *, durable: bool) -> Iterator[None]:
    """Keep a file, if there is one, under a second name until a change of its name is on the disk.

    Where nothing is synced, only the change itself can fail, and that leaves things as they were.
    """
    if not durable:
        yield
        return
    before = _temporary_name(name)
    existed = _linked(dir_fd, name, before)
    try:
        yield
    except BaseException:
        try:
            if existed:
                os.replace(before, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            else:
                with contextlib.suppress(FileNotFoundError):  # there was nothing, and there is nothing
                    os.unlink(name, dir_fd=dir_fd)
        except OSError as error:
            logger.warning("could not take back the change of %s (%s)", name, error.strerror)
        raise
    finally:
        with contextlib.suppress(OSError):  # a second name does no harm, and is swept some day
            os.unlink(before, dir_fd=dir_fd)


def _linked(dir_fd: int, name: str, second: str) -> bool:
    try:
        _link(dir_fd, name, second)
    except FileNotFoundError:
        return False
    return True


def _link(dir_fd: int, name: str, second: str) -> None:
    os.link(name, second, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)


def _temporary_name(name: str) -> str:
    return f".{name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}"


@contextlib.contextmanager
def _temporary(dir_fd: int, name: str, data: bytes, *, durable: bool) -> Iterator[str]:
    """Write data to a new file that is locked before it becomes visible and until the caller is done."""
    temporary = _temporary_name(name)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, FILE_MODE, dir_fd=dir_fd)
    try:
        _lock(fd)
        os.fchmod(fd, FILE_MODE)  # a umask may have taken the owner's own rights
        write_all(fd, data, 0)
        sync(fd, durable=durable)
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise
    finally:
        close_locked(fd)


def set_aside(dir_fd: int, name: str) -> str:
    """Keep a damaged file under a second name, and return that name."""
    aside = f"{name}.torn-{secrets.token_hex(4)}"
    _link(dir_fd, name, aside)
    return aside


def remove(dir_fd: int, name: str, *, durable: bool) -> None:
    """Remove a file, for good or not at all."""
    with _kept(dir_fd, name, durable=durable):
        os.unlink(name, dir_fd=dir_fd)
        sync_directory(dir_fd, durable=durable)


def remove_tree(dir_fd: int, name: str, *, durable: bool) -> None:
    """Remove a folder and all in it, without following links; nothing if there is none."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=dir_fd)
        else:
            os.unlink(name, dir_fd=dir_fd)  # a link or a file that someone put there
    except FileNotFoundError:
        return
    sync_directory(dir_fd, durable=durable)


# --- lock files ------------------------------------------------------------------------------------------------


def open_lock_file(dir_fd: int, name: str, holder: bytes) -> int:
    """Make and lock a file that says who holds it. To be closed with `close_lock_file`.

    Raises:
        BlockingIOError: Someone else holds it.
    """
    fd = open_locked(dir_fd, name, create=True)
    try:
        ours = os.fstat(fd).st_nlink == 1
        if ours:
            os.fchmod(fd, FILE_MODE)
            write_all(fd, holder, 0)
            # Not emptied before: ext4 takes that for the replacement of a file, and its close waits for the disk.
            os.ftruncate(fd, len(holder))
        else:  # a second name of some other file, which must not be written to
            os.unlink(name, dir_fd=dir_fd)
    except BaseException:
        close_lock_file(dir_fd, name, fd)
        raise
    if ours:
        return fd
    close_locked(fd)
    return open_lock_file(dir_fd, name, holder)


def close_lock_file(dir_fd: int, name: str, fd: int) -> None:
    """Release a lock file. In a forked child, which does not have the lock, do nothing."""
    if fd not in _locks:
        return
    try:
        # Gone before it is unlocked: whoever waits on this inode sees that its name is gone, and starts anew.
        with contextlib.suppress(OSError):  # one that stays is taken over by the next
            if leads_to(dir_fd, name, fd):
                os.unlink(name, dir_fd=dir_fd)
    finally:
        close_locked(fd)
