"""Locks that the kernel frees when their holder dies: of session files, of temporaries, of turns.

Dangers that shaped it:

* A file is locked only if its path still names the inode that was locked: a writer may have replaced it between
  `open` and `flock`.
* A lock is released by `LOCK_UN`, not by `close` alone: a process forked in between shares the open file and
  would keep the lock alive.
* Waiting happens outside: every lock that is held for long is tried once and raises `BlockingIOError`, so that no
  worker thread is ever occupied by a waiter.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from agents_sessions.concurrency import process
from agents_sessions.concurrency.forks import run_in_child
from agents_sessions.stores.file.disk.syscalls import (
    FILE_MODE,
    OPEN,
    close,
    leads_to,
    open_status,
    size_at,
    write_all,
)

FOLDER_SECONDS = 1.0
"""How long the lock of a folder is waited for, in the thread that needs it."""


def open_locked(dir_fd: int, name: str, *, shared: bool = False, create: bool = False) -> int:
    """Open and lock a file, as `open_locked_file`."""
    return open_locked_file(dir_fd, name, shared=shared, create=create)[0]


def open_locked_file(dir_fd: int, name: str, *, shared: bool = False, create: bool = False) -> tuple[int, int]:
    """Open and lock a file, exclusively or shared with other readers, and return it with its size.

    It is to be closed with `close_locked`.

    Raises:
        BlockingIOError: Someone else holds the lock at this moment.
        FileNotFoundError: There is no such file and `create` is false.
        NotRegular: It is something else than a regular file.
    """
    flags = (os.O_RDONLY if shared else os.O_RDWR) | OPEN | (os.O_CREAT if create else 0)
    while True:
        fd, status = open_status(dir_fd, name, flags)
        try:
            lock(fd, shared=shared)
            # Asked after the lock was taken: the name may lead elsewhere by then, and a writer may have made it longer.
            size = size_at(dir_fd, name, status)
            if size is not None:
                return fd, size
        except BaseException:
            close_locked(fd)
            raise
        close_locked(fd)


def close_locked(fd: int) -> None:
    """Release the lock and close the file. In a forked child, which does not have the lock, do nothing."""
    if fd in process.locked_files:
        _unlock(fd)
        close(fd)


def _unlock(fd: int) -> None:
    process.locked_files.discard(fd)
    try:  # noqa: SIM105 -- `suppress` is three calls more, for every write
        fcntl.flock(fd, fcntl.LOCK_UN)
    except OSError:  # close() releases it all the same, if no child was forked meanwhile
        pass


def lock(fd: int, *, shared: bool = False) -> None:
    """Lock an open file or folder. To be closed with `close_locked`, also if this fails.

    Raises:
        BlockingIOError: Someone else holds the lock at this moment.
    """
    process.locked_files.add(fd)  # before the lock is taken: a child that is forked in between must not keep it
    fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def _close_in_child() -> None:
    # A copy of the descriptor keeps the parent's lock alive after the parent's death; unlocking would free it before.
    for fd in process.locked_files:
        close(fd)
    process.locked_files.clear()


run_in_child(_close_in_child)


@contextlib.contextmanager
def locked(dir_fd: int, name: str, *, create: bool = False) -> Iterator[int]:
    """Hold a file open and locked exclusively, as `open_locked`."""
    fd = open_locked(dir_fd, name, create=create)
    try:
        yield fd
    finally:
        close_locked(fd)


@contextlib.contextmanager
def held(fd: int) -> Iterator[None]:
    """Lock a folder that is open. The only lock that is waited for: it is held for a few calls, never for a sync.

    Raises:
        BlockingIOError: Someone else has it for a second, who is none of ours.
    """
    until = time.monotonic() + FOLDER_SECONDS
    try:
        while not _try_lock(fd):
            if time.monotonic() > until:
                raise BlockingIOError
            time.sleep(0.001)
        yield
    finally:
        _unlock(fd)


def _try_lock(fd: int) -> bool:
    try:
        lock(fd)
    except BlockingIOError:
        return False
    return True


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
            _say_who_holds(fd, holder)
        else:  # a second name of some other file, which must not be written to
            os.unlink(name, dir_fd=dir_fd)
    except BaseException:
        close_lock_file(dir_fd, name, fd)
        raise
    if ours:
        return fd
    close_locked(fd)
    return open_lock_file(dir_fd, name, holder)


def _say_who_holds(fd: int, holder: bytes) -> None:
    try:
        write_all(fd, holder, 0)
        # Not emptied before: ext4 takes that for the replacement of a file, and its close waits for the disk.
        os.ftruncate(fd, len(holder))
    except OSError as error:
        # The lock holds without its text. Who frees a full disk needs it, and a file cut to nothing takes no room.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        os.ftruncate(fd, 0)


def close_lock_file(dir_fd: int, name: str, fd: int) -> None:
    """Release a lock file. In a forked child, which does not have the lock, do nothing."""
    if fd not in process.locked_files:
        return
    try:
        # Gone before it is unlocked: whoever waits on this inode sees that its name is gone, and starts anew.
        with contextlib.suppress(OSError):  # one that stays is taken over by the next
            if leads_to(dir_fd, name, fd):
                os.unlink(name, dir_fd=dir_fd)
    finally:
        close_locked(fd)
