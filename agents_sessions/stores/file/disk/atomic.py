"""Changes that happen whole or not at all, whatever fails on the way: an append, a new file, one in another's place.

A name is changed by `link` or `rename` of a file that was written and synced before; what it led to is kept until
the folder is synced too. Temporaries are locked for as long as someone works on them, so that a sweep tells what
a dead process left.
"""

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator

from agents_sessions.concurrency import process
from agents_sessions.stores.file.disk.locks import close_locked, lock, locked
from agents_sessions.stores.file.disk.syscalls import (
    DIRECTORY_MODE,
    FILE_MODE,
    OPEN,
    NotRegular,
    Seen,
    identity_of,
    is_folder,
    leads_to,
    opened,
    opened_folder,
    read_range,
    stands_as,
    statuses,
    sync,
    sync_directory,
    write_all,
)

logger = logging.getLogger("agents_sessions")

STALE_SECONDS = 600
"""Age from which an unlocked temporary is what a dead process left."""

_COPY_BYTES = 1 << 20

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""What `temporary_name` makes. Whatever else is hidden below a root is someone else's."""


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
    except OSError as error:
        _warn_of_end(error)
        # A disk may be full, but a cut takes no room. Else the new lines could stand there whole: stored, and told as
        # not stored. What is left is a torn append.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, offset)
    try:
        # Not a second try for the new bytes: it is the old ones that should reach the disk.
        sync(fd, durable=durable)
    except OSError as error:
        _warn_of_end(error)


def _warn_of_end(error: OSError) -> None:
    logger.warning("could not put the old end back (%s); the next write repairs the file", error.strerror)


def create(dir_fd: int, name: str, data: bytes | bytearray, *, durable: bool) -> None:
    """Make a new file, whole or not at all.

    Raises:
        FileExistsError: The name is taken; what it names was not touched.
    """
    with _temporary(dir_fd, name, data, durable=durable) as temporary:
        _publish(dir_fd, temporary, name, durable=durable)


def _publish(dir_fd: int, temporary: str, name: str, *, durable: bool) -> None:
    """Give a temporary its name, or leave both as they were."""
    _link(dir_fd, temporary, name)
    try:
        os.unlink(temporary, dir_fd=dir_fd)
        sync_directory(dir_fd, durable=durable)
    except BaseException:
        os.unlink(name, dir_fd=dir_fd)
        raise


class GrowingFile:
    """A new file that is written in parts, hidden until it is whole. To be closed, whatever happens.

    Args:
        dir_fd: Its folder, open for as long as this lives.
        name: The name that it will get.
    """

    def __init__(self, dir_fd: int, name: str) -> None:
        self._dir_fd = dir_fd
        self._name = name
        self._temporary = temporary_name(name)
        self._fd = _open_temporary(dir_fd, self._temporary)
        self.size = 0

    def write(self, data: bytes | bytearray) -> None:
        """Add bytes to the end."""
        write_all(self._fd, data, self.size)
        self.size += len(data)

    def publish(self, *, durable: bool) -> None:
        """Give the file its name.

        Raises:
            FileExistsError: The name is taken; what it names was not touched.
        """
        sync(self._fd, durable=durable)
        _publish(self._dir_fd, self._temporary, self._name, durable=durable)

    def try_link(self) -> None:
        """Give the file a second name for a moment.

        Raises:
            OSError: The file system takes none.
        """
        second = temporary_name(self._name)
        _link(self._dir_fd, self._temporary, second)
        os.unlink(second, dir_fd=self._dir_fd)

    def close(self) -> None:
        """Release the file and, if it was not published, remove it."""
        with contextlib.suppress(OSError):
            os.unlink(self._temporary, dir_fd=self._dir_fd)
        close_locked(self._fd)


class Replaced(Exception):
    """Someone who does not know the lock has replaced a file or written to it, before something took its place."""


def replace(dir_fd: int, name: str, data: bytes | bytearray, *, durable: bool, over: Seen | None = None) -> None:
    """Put a new file in the place of a name, whole or not at all. The caller holds the old one's lock.

    Raises:
        Replaced: What stands there is not the file that was seen, `over`, any more. It was not touched.
    """
    with _temporary(dir_fd, name, data, durable=durable) as temporary:
        # Now, and not before the new file was written and synced: an editor has all that time to save.
        if over is not None and not stands_as(dir_fd, name, over):
            raise Replaced
        with _kept(dir_fd, name, durable=durable):
            os.replace(temporary, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            sync_directory(dir_fd, durable=durable)


@contextlib.contextmanager
def _kept(dir_fd: int, name: str, *, durable: bool, removed: bool = False) -> Iterator[None]:
    """Keep a file, if there is one, under a second name until a change of its name is on the disk.

    `removed` says that the name will be free, so that it is not taken back from who has it by then. Where nothing is
    synced, only the change itself can fail, and that leaves things as they were.
    """
    if not durable:
        yield
        return
    before = temporary_name(name)
    existed = _linked(dir_fd, name, before)
    try:
        yield
    except BaseException:
        try:
            if existed and removed:
                with contextlib.suppress(FileExistsError):
                    _link(dir_fd, before, name)
            elif existed:
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
    try:
        os.link(name, second, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The first link is made for the first session below a root. Nothing is there yet that could be lost.
        raise OSError(error.errno, f"{error.strerror}: {NEEDS_LINKS}") from None


_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What disks say that have no hard links: vfat and exfat, some network disks, some of FUSE."""

NEEDS_LINKS = "session files need a disk with hard links; put the root on another one"
"""A hard link gives a new file its name without replacing another, and keeps what stood there until that is safe."""


def temporary_name(name: str) -> str:
    """Return a name for what is not finished: hidden, and swept some day if its maker dies."""
    return f".{name}.{secrets.token_hex(4)}.tmp"


@contextlib.contextmanager
def _temporary(dir_fd: int, name: str, data: bytes | bytearray, *, durable: bool) -> Iterator[str]:
    """Write data to a new file that is locked before it becomes visible and until the caller is done."""
    temporary = temporary_name(name)
    fd = _open_temporary(dir_fd, temporary)
    try:
        write_all(fd, data, 0)
        sync(fd, durable=durable)
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise
    finally:
        close_locked(fd)


def _open_temporary(dir_fd: int, temporary: str) -> int:
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN, FILE_MODE, dir_fd=dir_fd)
    try:
        lock(fd)
        os.fchmod(fd, FILE_MODE)  # a umask may have taken the owner's own rights
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=dir_fd)
        close_locked(fd)
        raise
    return fd


@contextlib.contextmanager
def keep_copy(dir_fd: int, name: str) -> Iterator[str]:
    """Keep a damaged file under a second name, unless what replaces it fails; gives that name."""
    aside = f"{name}.torn-{secrets.token_hex(4)}"
    _link(dir_fd, name, aside)
    try:
        yield aside
    except BaseException:
        with contextlib.suppress(OSError):  # one copy too many does no harm
            os.unlink(aside, dir_fd=dir_fd)
        raise


def remove(dir_fd: int, name: str, *, durable: bool) -> None:
    """Remove a file, for good or not at all."""
    with _kept(dir_fd, name, durable=durable, removed=True):
        os.unlink(name, dir_fd=dir_fd)
        sync_directory(dir_fd, durable=durable)


def move(dir_fd: int, name: str, to: str, *, durable: bool) -> None:
    """Give a file another name in its folder.

    Raises:
        FileExistsError: The new name is taken; neither file was touched.
    """
    _link(dir_fd, name, to)
    try:
        os.unlink(name, dir_fd=dir_fd)
        sync_directory(dir_fd, durable=durable)
    except BaseException:
        with contextlib.suppress(OSError):
            _link(dir_fd, to, name)
        with contextlib.suppress(OSError):
            os.unlink(to, dir_fd=dir_fd)
        raise


def rename(dir_fd: int, name: str, to: str, *, durable: bool) -> None:
    """Give a file a name that no other file can have, in one step, or leave it as it was. Takes no room on the disk."""
    os.rename(name, to, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    try:
        sync_directory(dir_fd, durable=durable)
    except BaseException:
        os.rename(to, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        raise


def move_folder(dir_fd: int, name: str, to: str) -> None:
    """Give a folder another name beside it; nothing if there is no such folder."""
    with contextlib.suppress(FileNotFoundError):
        os.rename(name, to, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def hide(dir_fd: int, name: str) -> str | None:
    """Give a folder the name of a temporary, and return that name; None if there is no such folder."""
    hidden = temporary_name(name)
    try:
        os.rename(name, hidden, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    return hidden


def is_private_tree(dir_fd: int, name: str) -> bool:
    """Tell whether a folder and all in it have the modes that everything has that is made here."""
    if os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode != stat.S_IFDIR | DIRECTORY_MODE:
        return False
    for _, folders, files, fd in os.fwalk(name, dir_fd=dir_fd):
        modes = [os.stat(file, dir_fd=fd, follow_symlinks=False).st_mode for file in [*files, *folders]]
        ours = [stat.S_IFREG | FILE_MODE] * len(files) + [stat.S_IFDIR | DIRECTORY_MODE] * len(folders)
        if modes != ours:
            return False
    return True


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


def copy(dir_fd: int, name: str, to_fd: int, *, durable: bool) -> None:
    """Copy a file, or a folder and all in it, to another folder. Links and devices are left out.

    Raises:
        FileExistsError: There is one of that name; it was not touched.
    """
    if is_folder(dir_fd, name):
        os.mkdir(name, DIRECTORY_MODE, dir_fd=to_fd)
        with opened_folder(dir_fd, name) as source, opened_folder(to_fd, name) as target:
            for inner, status in statuses(source):
                if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                    copy(source, inner, target, durable=durable)
        return
    file = GrowingFile(to_fd, name)
    try:
        with opened(dir_fd, name) as fd:
            while data := read_range(fd, file.size, _COPY_BYTES):
                file.write(data)
        file.publish(durable=durable)
    finally:
        file.close()


def sweep_once(dir_fd: int) -> None:
    """Sweep a folder the first time that this process meets it."""
    place = identity_of(dir_fd)
    if process.swept_folders.get(place) is None:
        process.swept_folders.put(place, True)
        sweep(dir_fd)


def sweep(dir_fd: int) -> None:
    """Remove the temporaries that processes left when they died. What cannot be removed now is left."""
    oldest = time.time() - STALE_SECONDS
    for name in os.listdir(dir_fd):
        if _TEMPORARY.fullmatch(name):
            with contextlib.suppress(OSError, NotRegular):
                _sweep_one(dir_fd, name, oldest)


def is_temporary(name: str) -> bool:
    """Tell whether a name is that of a temporary of ours."""
    return _TEMPORARY.fullmatch(name) is not None


def is_left(dir_fd: int, name: str, status: os.stat_result) -> bool:
    """Tell whether a temporary is what a dead process has left: it is old, and no one works on it."""
    if status.st_mtime > time.time() - STALE_SECONDS:
        return False
    if stat.S_ISDIR(status.st_mode):
        return is_private_tree(dir_fd, name)
    try:
        with locked(dir_fd, name):
            return True
    except (OSError, NotRegular):
        return False


def sweep_one(dir_fd: int, name: str) -> None:
    """Remove a temporary that a process left when it died. One that is not old, or that someone works on, is left."""
    with contextlib.suppress(BlockingIOError, FileNotFoundError, NotRegular):
        _sweep_one(dir_fd, name, time.time() - STALE_SECONDS)


def _sweep_one(dir_fd: int, name: str, oldest: float) -> None:
    found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if found.st_mtime > oldest:
        return
    if stat.S_ISDIR(found.st_mode):
        if not is_private_tree(dir_fd, name):
            return
        shutil.rmtree(name, dir_fd=dir_fd)
    else:
        with locked(dir_fd, name):
            os.unlink(name, dir_fd=dir_fd)
    logger.info("removed the stale temporary %s", name)
