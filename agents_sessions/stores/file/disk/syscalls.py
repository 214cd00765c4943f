"""The system calls that read and write: bytes of files, folders and their names. It knows nothing of sessions.

Dangers that shaped it, each seen to lose data somewhere:

* A failed `fsync` must not be tried again: the kernel has dropped the dirty pages, so the second call succeeds
  while the disk holds the old bytes.
* `write` may write less than it was given, and a signal may end it at a page's edge.
* A link in the way leads out of the root: no name below it is followed.
"""

import contextlib
import errno
import fcntl
import os
import resource
import stat
import sys
from collections.abc import Iterator
from os import stat_result
from pathlib import Path
from typing import NamedTuple

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
AT_ONCE_BYTES = 1 << 20
"""Longest read at once: decoding it takes about a millisecond, and holds the GIL in whichever thread."""

RESERVED_DESCRIPTORS = 32
"""How many of the descriptors of this process no turn may hold, so that those that run can store what they did."""

_RWF_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
CAN_READ_AT_ONCE = _RWF_NOWAIT is not None
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Flags of every file that is opened: follow no link, wait for no FIFO, leak into no program."""


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


def write_all(fd: int, data: bytes | bytearray, offset: int) -> None:
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


def is_scarce(fd: int) -> bool:
    """Tell whether a descriptor is one of the last that this process may have: the lowest free one is given first."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit != resource.RLIM_INFINITY and fd >= limit - min(RESERVED_DESCRIPTORS, limit // 4)


# --- folders ---------------------------------------------------------------------------------------------------


def close(fd: int) -> None:
    """Close a file. What it holds was synced before, or nobody promised it: an error here says nothing of it."""
    try:  # noqa: SIM105 -- `suppress` is three calls more, for every operation
        os.close(fd)
    except OSError:
        pass


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
    make_directory(root, *parts, durable=durable)
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


@contextlib.contextmanager
def opened_folder(dir_fd: int, name: str) -> Iterator[int]:
    """Open a folder in an open one, for as long as it is needed; never by a link."""
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        close(fd)


def make_directory(root: str, *parts: str, durable: bool) -> None:
    """Make a folder and those above it, as far as there are none."""
    missing = [Path(root, *parts)]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for made in reversed(missing):
        with contextlib.suppress(FileExistsError):
            made.mkdir(mode=DIRECTORY_MODE)
            made.chmod(DIRECTORY_MODE)  # a umask may have taken the owner's own rights
        if made is missing[-1]:
            sync_names(made.parent.parent, durable=durable)
        _sync_path(made.parent, durable=durable)


def remove_empty_folder(dir_fd: int, name: str) -> bool:
    """Remove a folder if nothing is in it; tells whether it is gone."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except OSError:  # something is in it, or someone may not
        return False
    return True


def sync_names(folder: Path, *, durable: bool) -> None:
    """Bring the names in a folder to the disk, one of which a process may have made that was killed before its sync."""
    try:
        _sync_path(folder, durable=durable)
    except OSError as error:
        # Where this process may not look, or the disk takes no sync, none was made by us.
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL):
            raise


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


def folders(root: str | int) -> list[str]:
    """Return the names of the folders of a root or an open folder, links left out; none if there is no root."""
    try:
        with os.scandir(root) as found:
            return sorted(item.name for item in found if item.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def names(dir_fd: int, *, prefix: str = "", suffix: str = "") -> list[str]:
    """Return the names in a folder, sorted; those that begin with a dot are temporaries and locks."""
    found = (name for name in os.listdir(dir_fd) if name[0] != ".")
    return sorted(name for name in found if name.startswith(prefix) and name.endswith(suffix))


def hidden_names(dir_fd: int, *, prefix: str = ".", suffix: str = "") -> list[str]:
    """Return the names in a folder that begin with a dot, sorted."""
    return sorted(name for name in os.listdir(dir_fd) if name.startswith(prefix) and name.endswith(suffix))


def statuses(dir_fd: int) -> list[tuple[str, stat_result]]:
    """Return what is in a folder, hidden or not, sorted by name; a link as the link that it is."""
    found = []
    with os.scandir(dir_fd) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # it was removed in just this moment
                found.append((entry.name, entry.stat(follow_symlinks=False)))
    return sorted(found, key=lambda each: each[0])


def free_bytes(dir_fd: int) -> int:
    """Return how many bytes the disk of a folder has left for this user."""
    status = os.fstatvfs(dir_fd)
    return status.f_bavail * status.f_frsize


def make_private(dir_fd: int, name: str) -> None:
    """Take the rights of all others from a file or a folder, never by a link."""
    fd = os.open(name, os.O_RDONLY | OPEN, dir_fd=dir_fd)
    try:
        mode = os.fstat(fd).st_mode
        os.fchmod(fd, DIRECTORY_MODE if stat.S_ISDIR(mode) else FILE_MODE)
    finally:
        close(fd)


# --- files -----------------------------------------------------------------------------------------------------


def open_file(dir_fd: int, name: str) -> int:
    """Open a regular file for reading, without following, waiting for, or creating anything.

    Raises:
        FileNotFoundError: There is none.
        NotRegular: It is something else than a regular file.
    """
    return open_sized_file(dir_fd, name)[0]


def open_sized_file(dir_fd: int, name: str) -> tuple[int, int]:
    """Open a regular file, as `open_file`, and return it with the size that it had then."""
    fd, status = open_status(dir_fd, name, os.O_RDONLY | OPEN)
    return fd, status.st_size


@contextlib.contextmanager
def opened(dir_fd: int, name: str) -> Iterator[int]:
    """Open a file, as `open_file`, for as long as it is needed."""
    fd = open_file(dir_fd, name)
    try:
        yield fd
    finally:
        close(fd)


def exists(dir_fd: int, name: str) -> bool:
    """Tell whether a name stands for anything, also for a link that leads nowhere."""
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def is_folder(dir_fd: int, name: str) -> bool:
    """Tell whether a name stands for a folder, and not for a link to one."""
    return stat.S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)


def size_of(fd: int) -> int:
    """Return the size of an open file."""
    return os.fstat(fd).st_size


def mode_of(fd: int) -> int:
    """Return who may do what with an open file or folder."""
    return stat.S_IMODE(os.fstat(fd).st_mode)


def size_of_name(dir_fd: int, name: str) -> int:
    """Return the size of what a name in an open folder stands for, a link for itself."""
    return os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_size


def size_of_tree(dir_fd: int, name: str) -> int:
    """Return the bytes of all files in a folder and below it; zero if there is no such folder."""
    try:
        if not is_folder(dir_fd, name):
            return 0
        with opened_folder(dir_fd, name) as folder:
            found = statuses(folder)
            inner = [size_of_tree(folder, each) for each, status in found if stat.S_ISDIR(status.st_mode)]
            return sum(inner) + sum(status.st_size for _, status in found if not stat.S_ISDIR(status.st_mode))
    except FileNotFoundError:  # someone removes it in just this moment
        return 0


def identity_of(fd: int) -> tuple[int, int]:
    """Return what tells an open file or folder from every other one that exists at this time."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def open_regular(dir_fd: int, name: str, flags: int) -> int:
    """Open a regular file as `flags` say, never by a link; one that is made by it is the owner's alone."""
    return open_status(dir_fd, name, flags)[0]


def open_status(dir_fd: int, name: str, flags: int) -> tuple[int, stat_result]:
    """Open a regular file, as `open_regular`, and return what it was found to be."""
    try:
        fd = os.open(name, flags, FILE_MODE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise NotRegular("not a regular file: a link, a folder or a device") from error
        raise
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            return fd, status
        raise NotRegular("not a regular file: a link, a folder or a device")
    except BaseException:
        close(fd)
        raise


class Seen(NamedTuple):
    """What tells a file from another one, and from itself after someone has written to it."""

    device: int
    inode: int
    size: int
    changed: int


def seen(fd: int, name: str | None = None) -> Seen:
    """Return what an open file is at this time, or a name in an open folder."""
    status = os.fstat(fd) if name is None else os.stat(name, dir_fd=fd, follow_symlinks=False)
    return Seen(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def stands_as(dir_fd: int, name: str, before: Seen) -> bool:
    """Tell whether a name leads to the file that was seen, and no one has written to it since."""
    try:
        return seen(dir_fd, name) == before
    except FileNotFoundError:
        return False


def leads_to(dir_fd: int, name: str, fd: int) -> bool:
    """Tell whether a name still leads to the file that was opened."""
    return size_at(dir_fd, name, os.fstat(fd)) is not None


def size_at(dir_fd: int, name: str, opened: stat_result) -> int | None:
    """Return the size of a file that was opened, or None if a name does not lead to it any more."""
    try:
        there = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return there.st_size if (there.st_dev, there.st_ino) == (opened.st_dev, opened.st_ino) else None
