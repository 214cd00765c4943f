"""What is imported, as bytes and as lines: from a text, a file, or a member of an archive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from agents_sessions.errors import ImportLimitError
from agents_sessions.features.transfer.files import check_regular, read_chunks

if TYPE_CHECKING:
    from pathlib import Path

    from agents_sessions.features.transfer.values import ImportLimits

_BOM = b"\xef\xbb\xbf"


class Source(ABC):
    """Something that can be read from its beginning, as often as needed."""

    def __init__(self, name: str, limits: ImportLimits) -> None:
        self.name = name
        """What an error calls it."""
        self.limits = limits

    @abstractmethod
    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield its bytes, some at a time. To be closed by whoever stops before the end, as all that follows."""

    async def head(self, size: int) -> bytes:
        """Return its first bytes: at least `size`, or all there are."""
        found = b""
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                found += chunk
                if len(found) >= size:
                    break
        return found.removeprefix(_BOM)

    async def whole(self) -> bytes:
        """Return all of it.

        Raises:
            ImportLimitError: It is larger than what may be read as a whole.
        """
        found = bytearray()
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                found += chunk
                self._check_whole(len(found))
        return bytes(found).removeprefix(_BOM)

    async def lines(self) -> AsyncGenerator[tuple[int, list[bytes]], None]:
        """Yield its lines, some at a time, with the number of the first of them.

        Raises:
            ImportLimitError: A line, or all of it, is larger than allowed.
        """
        number, size, rest = 1, 0, bytearray()
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                rest += chunk
                self._check_size(size, len(rest), number, ends=b"\n" in chunk)
                cut = rest.rfind(b"\n", len(rest) - len(chunk))
                if cut >= 0:
                    lines = _without_bom(bytes(rest[:cut]), number).split(b"\n")
                    del rest[: cut + 1]
                    yield number, lines
                    number += len(lines)
        if rest:
            yield number, [_without_bom(bytes(rest), number)]

    def _check_whole(self, size: int) -> None:
        if size > self.limits.max_whole_bytes:
            reason = _above("it must be read as a whole, and", self.limits, "max_whole_bytes")
            raise ImportLimitError(self.name, reason)

    def _check_size(self, size: int, line: int, number: int, *, ends: bool) -> None:
        if size > self.limits.max_bytes:
            raise ImportLimitError(self.name, _above("it", self.limits, "max_bytes"))
        # The first line is the header, with all sidecars in it.
        setting = "max_whole_bytes" if number == 1 else "max_line_bytes"
        if not ends and line > getattr(self.limits, setting):
            raise ImportLimitError(self.name, _above("it", self.limits, setting), line=number)


class TextSource(Source):
    """A text at hand."""

    def __init__(self, data: bytes, limits: ImportLimits) -> None:
        super().__init__("the text", limits)
        self._data = data

    async def chunks(self) -> AsyncGenerator[bytes, None]:  # noqa: D102
        step = 1 << 20
        for begin in range(0, len(self._data), step):
            yield self._data[begin : begin + step]


class FileSource(Source):
    """A file."""

    def __init__(self, path: Path, limits: ImportLimits) -> None:
        super().__init__(str(path), limits)
        self.path = path

    async def check(self) -> None:
        """Refuse what is no regular file.

        Raises:
            ImportRefusedError: It is none, or too large.
            OSError: There is none.
        """
        if await check_regular(self.path) > self.limits.max_bytes:
            raise ImportLimitError(self.name, _above("it", self.limits, "max_bytes"))

    def chunks(self) -> AsyncGenerator[bytes, None]:  # noqa: D102
        return read_chunks(self.path)


def _without_bom(data: bytes, line: int) -> bytes:
    return data.removeprefix(_BOM) if line == 1 else data


def _above(what: str, limits: ImportLimits, setting: str) -> str:
    return f"{what} has more than {getattr(limits, setting):,} bytes ({setting})"
