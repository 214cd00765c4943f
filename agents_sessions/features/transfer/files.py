"""Files outside the store: one that is written appears whole or not at all, and one that is read is a regular file.

`aiofiles` does the calls in the threads of the event loop. That is right here and would be wrong in a store: whoever is
cancelled in the middle of a write leaves a temporary file that nobody has seen, and it is removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiofiles
import aiofiles.os

from agents_sessions.errors import FileInTheWayError, ImportRefusedError

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase

CHUNK = 256 << 10


@contextlib.asynccontextmanager
async def new_file(path: Path, *, overwrite: bool) -> AsyncIterator[AsyncBufferedIOBase]:
    """Write a file that appears under its name when all of it is on the disk, readable by its owner alone.

    Raises:
        FileInTheWayError: There is one already, and it is not to be overwritten.
        OSError: The system refuses.
    """
    if not overwrite:
        _check_free(path)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        async with aiofiles.open(temporary, "xb", opener=_private) as file:
            yield file
            await file.flush()
            await aiofiles.os.wrap(os.fsync)(file.fileno())
        _publish(temporary, path, overwrite=overwrite)
    finally:
        # At once: a cancelled caller would not wait for a thread, and what is published has this name no more.
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def place_of(path: str | os.PathLike[str]) -> Path:
    """Return a path that a user has written; `~` is the user's own folder."""
    return Path(path).expanduser()


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileInTheWayError(str(path))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _publish(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Give a file its name: one step for whoever looks, without a wait in which a cancellation could come."""
    if overwrite:
        temporary.replace(path)
        return
    try:
        path.hardlink_to(temporary)  # unlike a rename, it refuses where another file has come in the meantime
    except FileExistsError:
        raise FileInTheWayError(str(path)) from None
    except OSError:  # a file system without hard links
        _check_free(path)
        temporary.rename(path)


async def check_regular(path: Path) -> int:
    """Return the size of a file.

    Raises:
        ImportRefusedError: It is a folder, a pipe or a device, which could be waited on for ever.
        OSError: There is none, or the system refuses.
    """
    found = await aiofiles.os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise ImportRefusedError(str(path), "is not a regular file")
    return found.st_size


async def read_chunks(path: Path) -> AsyncGenerator[bytes, None]:
    """Yield a file, some bytes at a time."""
    async with aiofiles.open(path, "rb") as file:
        while chunk := await file.read(CHUNK):
            yield chunk
