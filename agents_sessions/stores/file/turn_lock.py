"""The lock of a session's turns: a file beside the session's own, which says who holds it."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

from agents_sessions.concurrency.process import this_process as this_process
from agents_sessions.errors import SessionBusyError, SessionIOError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import now, timestamp
from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.stores.file.disk.locks import close_lock_file, close_locked, open_lock_file, open_locked
from agents_sessions.stores.file.disk.syscalls import NotRegular, exists, opened, read_range

_HOLDER_BYTES = 4096


class Holder(NamedTuple):
    """Who has the lock of a session's turns."""

    process: str
    held_for: timedelta | None


NO_DESCRIPTOR = Holder("other turns: no more files can be open in this process (see ulimit -n)", None)


class Turn(NamedTuple):
    """The lock of a session's turns, held."""

    folder: int
    name: str
    fd: int
    process: int

    def release(self) -> None:
        """Let the next one have it. In a forked child, which does not have it, do nothing."""
        if self.process == os.getpid():  # in a child, the number may be that of a lock of its own
            close_lock_file(self.folder, self.name, self.fd)

    def abandon(self) -> None:
        """Let the next one have it, and leave the file."""
        if self.process == os.getpid():
            close_locked(self.fd)


def try_turn(folder: int, file: str) -> Turn | Holder:
    """Take the lock of the turns of the session in a file, or say who has it and for how long."""
    name = _lock_of(file)
    holder = encode_json({"process": this_process(), "since": timestamp()})
    try:
        return Turn(folder, name, open_lock_file(folder, name, holder), os.getpid())
    except BlockingIOError:
        return _holder(folder, name)


async def await_lock(
    take: Callable[[], contextlib.ExitStack | Holder], key: SessionKey, begun: float, timeout: float | None
) -> contextlib.ExitStack:
    """Wait for other processes. Each try is made on the event loop: nothing of it is synced to the disk.

    Raises:
        SessionBusyError: It did not come free within `timeout` seconds, counted from `begun`.
    """
    pause = 0.001
    while True:
        waited = monotonic() - begun
        over = timeout is not None and waited >= timeout
        try:
            taken = take()
        except SessionIOError as error:
            if over or error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        else:
            if not isinstance(taken, Holder):
                return taken
            if over:
                raise SessionBusyError(key, waited, *taken)
        await asyncio.sleep(pause if timeout is None else min(pause, max(0.0, timeout - waited)))
        pause = min(pause * 2, 0.01)


def forget_turn(folder: int, file: str) -> None:
    """Remove the lock that a turn has left which was killed, if it did: it names the session, which is gone."""
    with contextlib.suppress(OSError, NotRegular):  # one that stays does no harm
        if exists(folder, _lock_of(file)) and isinstance(taken := try_turn(folder, file), Turn):
            taken.release()


def is_turn_held(folder: int, file: str) -> bool:
    """Tell whether someone has the lock of the turns of the session in a file.

    A lock file that no one holds was left by a process that was killed. Only such a one is locked here for a moment,
    and shared: others who look are not in each other's way, and who comes to take it tries again.
    """
    try:
        close_locked(open_locked(folder, _lock_of(file), shared=True))
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotRegular):
        pass
    return False


def _lock_of(file: str) -> str:
    return f".{file}.turn"


def _holder(folder: int, name: str) -> Holder:
    try:
        with opened(folder, name) as fd:
            holder = decode_json(read_range(fd, 0, _HOLDER_BYTES))
        held_for = now() - datetime.fromisoformat(holder["since"])
        return Holder(str(holder["process"]), max(held_for, timedelta(0)))  # a clock may have been set back meanwhile
    except (OSError, NotRegular, ValueError, KeyError, TypeError):
        return Holder("another process", None)
