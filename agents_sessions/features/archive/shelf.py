"""The files of an archive: each appears whole, is verified by reading it back, and is read as a stream.

    <folder>/<agent>/<session>.<8 hex digits>.jsonl.zst

A file holds the lossless document of one session as lines, see `transfer.document`. What it holds is never changed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agents_sessions.concurrency.settle import settle
from agents_sessions.concurrency.worker_threads import in_thread
from agents_sessions.features.archive.compression import best_kind, compressor, decompressor, failures
from agents_sessions.keys import SessionKey

CHUNK = 1 << 18
_NAME = re.compile(r"(?P<session>.+)\.[0-9a-f]{8}\.jsonl\.(?P<kind>zst|gz)")


class Filed(NamedTuple):
    """A file that was written."""

    name: str
    """Where it is, below the folder of the archive."""
    size: int
    digest: bytes
    """The SHA-256 of the document."""


class DamagedFile(Exception):
    """A file of the archive cannot be read back, or is not what was written."""


class Shelf:
    """The files of one archive.

    Args:
        folder: Where they are. It is made when the first one is written, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def write(self, key: SessionKey, pieces: AsyncIterator[bytes]) -> Filed:
        """Write a document to a new file, which appears when all of it is on the disk.

        Raises:
            OSError: The system refuses. Nothing is left.
        """
        return await self._write(partial(_Writing, self.folder, key), pieces)

    async def rewrite(self, name: str, key: SessionKey, pieces: AsyncIterator[bytes]) -> None:
        """Put another document in the place of one, whole or not at all, once it was read back.

        Raises:
            OSError: The system refuses. The old one is still there.
            DamagedFile: What was read back is not what was written. The old one is still there.
        """
        *_, kind = _parts(name)
        filed = await self._write(partial(_Writing, self.folder, key, kind), pieces)
        try:
            await self.verify(filed)
            await settle(in_thread(partial(_rename, self.folder, filed.name, name)))
        except BaseException:
            await self.remove(filed.name)
            raise

    async def _write(self, begin: Callable[[], _Writing], pieces: AsyncIterator[bytes]) -> Filed:
        writing = await settle(in_thread(begin))
        try:
            async for piece in pieces:
                await settle(in_thread(partial(writing.add, piece)))
            return await settle(in_thread(writing.publish))
        finally:
            await settle(in_thread(writing.close))

    async def verify(self, filed: Filed) -> None:
        """Read a file back.

        Raises:
            DamagedFile: It is not what was written.
        """
        if await in_thread(partial(_digest_of, self.folder, filed.name)) != filed.digest:
            raise DamagedFile("what was read back is not what was written")

    async def lines(self, name: str) -> AsyncIterator[list[bytes]]:
        """Yield the lines of a document, some at a time.

        Raises:
            FileNotFoundError: There is no such file.
            DamagedFile: It cannot be read back.
            MissingExtraError: It is in zstd, which is not installed.
        """
        reading = _read(self.folder, name)
        rest = b""
        while (data := await in_thread(partial(next, reading, None))) is not None:
            *lines, rest = (rest + data).split(b"\n")
            yield lines
        if rest:
            yield [rest]

    async def check(self, name: str) -> None:
        """Read a file to its end. Raises as `lines` does."""
        await in_thread(partial(_digest_of, self.folder, name))

    async def size(self, name: str) -> int | None:
        """Return the size of a file, or None if there is none."""
        return await in_thread(partial(_size, self.folder, name))

    async def names(self, key: SessionKey) -> list[str]:
        """Return the files of one session: none or one, or more where a process has died."""
        return await in_thread(partial(_names, self.folder, key))

    async def every(self) -> list[str]:
        """Return all files."""
        return await in_thread(partial(_every, self.folder))

    async def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        await settle(in_thread(partial(_remove, self.folder, name)))


class _Writing:
    """A file on its way. To be closed, whatever happens."""

    def __init__(self, folder: Path, key: SessionKey, kind: str | None = None) -> None:
        from agents_sessions.stores.file.disk import atomic
        from agents_sessions.stores.file.disk import syscalls as io

        agent, session = _place(key)
        kind = kind or best_kind()
        name = f"{session}.{secrets.token_hex(4)}.jsonl.{kind}"
        self._name = f"{agent}/{name}"
        self._folder = io.open_directory(str(folder), agent, create=True)
        self._close = partial(io.close, self._folder)
        try:
            atomic.sweep_once(self._folder)
            self._file = atomic.GrowingFile(self._folder, name)
        except BaseException:
            self._close()
            raise
        self._compressor = compressor(kind)
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._file.write(self._compressor.compress(piece))

    def publish(self) -> Filed:
        self._file.write(self._compressor.flush())
        self._file.publish(durable=True)
        return Filed(self._name, self._file.size, self._digest.digest())

    def close(self) -> None:
        self._file.close()
        self._close()


def _place(key: SessionKey) -> tuple[str, str]:
    """Return the names of the folder and of the files of a session."""
    from agents_sessions.stores.file.names import encode_name

    return encode_name(key.agent_id, what="agent_id"), encode_name(key.session_id)


def session_of(name: str) -> SessionKey | None:
    """Return the session that a file is of, as far as its name tells; None if it is none of ours."""
    from agents_sessions.stores.file.names import decode_name

    agent, _, file = name.partition("/")
    found = _NAME.fullmatch(file)
    return None if found is None else SessionKey(decode_name(agent), decode_name(found["session"]))


def _parts(name: str) -> tuple[str, str, str]:
    """Return the folder, the file and the kind of compression in the name of a file. It cannot lead elsewhere.

    Raises:
        FileNotFoundError: It is no such name: someone has edited the session.
    """
    agent, _, file = name.partition("/")
    found = _NAME.fullmatch(file)
    if found is None or "/" in file or not agent or agent.startswith("."):
        raise FileNotFoundError(name)
    return agent, file, found["kind"]


def _read(folder: Path, name: str) -> Iterator[bytes]:
    """Yield a document, some bytes at a time."""
    from agents_sessions.stores.file.disk import syscalls as io

    agent, file, kind = _parts(name)
    with io.directory(str(folder), agent) as opened, io.opened(opened, file) as fd:
        reading, offset = decompressor(kind), 0
        try:
            while data := io.read_range(fd, offset, CHUNK):
                offset += len(data)
                yield reading.decompress(bytes(data))
        except failures() as error:
            raise DamagedFile(f"it is damaged before byte {offset}") from error
        if not reading.eof:
            raise DamagedFile("its end is missing")


def _digest_of(folder: Path, name: str) -> bytes:
    digest = hashlib.sha256()
    for data in _read(folder, name):
        digest.update(data)
    return digest.digest()


def _size(folder: Path, name: str) -> int | None:
    from agents_sessions.stores.file.disk import syscalls as io

    try:
        agent, file, _ = _parts(name)
        with io.directory(str(folder), agent) as opened:
            return io.size_of_name(opened, file)
    except FileNotFoundError:
        return None


def _names(folder: Path, key: SessionKey) -> list[str]:
    agent, session = _place(key)
    return [f"{agent}/{file}" for file in _files(folder, agent) if session_in(file) == session]


def session_in(file: str) -> str | None:
    """Return the name of the session that a file is of; None if it is no file of an archive."""
    found = _NAME.fullmatch(file)
    return None if found is None else found["session"]


def _every(folder: Path) -> list[str]:
    from agents_sessions.stores.file.disk import syscalls as io

    agents = [agent for agent in io.folders(str(folder)) if agent[0] != "."]
    return [f"{agent}/{file}" for agent in agents for file in _files(folder, agent) if session_in(file) is not None]


def _files(folder: Path, agent: str) -> list[str]:
    from agents_sessions.stores.file.disk import atomic
    from agents_sessions.stores.file.disk import syscalls as io

    try:
        with io.directory(str(folder), agent) as opened:
            atomic.sweep_once(opened)
            return io.names(opened)
    except FileNotFoundError:
        return []


def _rename(folder: Path, name: str, to: str) -> None:
    from agents_sessions.stores.file.disk import atomic
    from agents_sessions.stores.file.disk import syscalls as io

    agent, file, _ = _parts(name)
    with io.directory(str(folder), agent) as opened:
        atomic.rename(opened, file, _parts(to)[1], durable=True)


def _remove(folder: Path, name: str) -> None:
    from agents_sessions.stores.file.disk import atomic
    from agents_sessions.stores.file.disk import syscalls as io

    try:
        agent, file, _ = _parts(name)
        with io.directory(str(folder), agent) as opened:
            atomic.remove(opened, file, durable=True)
    except FileNotFoundError:
        return
