"""What is imported, as bytes and as lines: from a text, a file, or a member of an archive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
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
    def chunks(self) -> AsyncIterator[bytes]:
        """Yield its bytes, some at a time."""

    async def head(self, size: int) -> bytes:
        """Return its first bytes: at least `size`, or all there are."""
        found = b""
        async for chunk in self.chunks():
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
        async for chunk in self.chunks():
            found += chunk
            if len(found) > self.limits.max_whole_bytes:
                raise ImportLimitError(
                    self.name, _above("it must be read as a whole, and", self.limits, "max_whole_bytes")
                )
        return bytes(found).removeprefix(_BOM)

    async def lines(self) -> AsyncIterator[tuple[int, list[bytes]]]:
        """Yield its lines, some at a time, with the number of the first of them.

        Raises:
            ImportLimitError: A line, or all of it, is larger than allowed.
        """
        number, size, rest = 1, 0, bytearray()
        async for chunk in self.chunks():
            size += len(chunk)
            if size > self.limits.max_bytes:
                raise ImportLimitError(self.name, _above("it", self.limits, "max_bytes"))
            rest += chunk
            self._check_line(len(rest), number, found=b"\n" in chunk)
            cut = rest.rfind(b"\n", len(rest) - len(chunk))
            if cut >= 0:
                lines = bytes(rest[:cut]).removeprefix(_BOM if number == 1 else b"").split(b"\n")
                del rest[: cut + 1]
                yield number, lines
                number += len(lines)
        if rest:
            yield number, [bytes(rest).removeprefix(_BOM if number == 1 else b"")]

    def _check_line(self, size: int, number: int, *, found: bool) -> None:
        # The first line is the header, with all sidecars in it.
        setting = "max_whole_bytes" if number == 1 else "max_line_bytes"
        if not found and size > getattr(self.limits, setting):
            raise ImportLimitError(self.name, _above("it", self.limits, setting), line=number)


class TextSource(Source):
    """A text at hand."""

    def __init__(self, data: bytes, limits: ImportLimits) -> None:
        super().__init__("the text", limits)
        self._data = data

    async def chunks(self) -> AsyncIterator[bytes]:  # noqa: D102
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

    async def chunks(self) -> AsyncIterator[bytes]:  # noqa: D102
        async for chunk in read_chunks(self.path):
            yield chunk


def _above(what: str, limits: ImportLimits, setting: str) -> str:
    return f"{what} has more than {getattr(limits, setting):,} bytes ({setting})"
