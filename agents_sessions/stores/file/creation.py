"""A new session whose history arrives as a stream: numbered, counted and encoded a page at a time. Pure."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence

from agents_sessions.model.entries import Entry, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import fold
from agents_sessions.stores.base import Entries
from agents_sessions.stores.codec import SessionCodec
from agents_sessions.stores.file.format.copied import outlines
from agents_sessions.stores.file.format.document import NewFile
from agents_sessions.stores.transitions import check_new, new_session, numbered

PAGE = 500
"""How many entries are encoded at a time."""


async def pages(entries: Entries) -> AsyncIterator[list[Entry]]:
    """Yield entries some at a time, whether they are at hand or come as a stream."""
    page: list[Entry] = []
    if isinstance(entries, AsyncIterable):
        async for entry in entries:
            page.append(entry)
            if len(page) == PAGE:
                yield page
                page = []
    else:
        page = list(entries)
    yield page


class Creation:
    """The bytes of a new session, to be written one behind the other: `header`, pages, and the end.

    Args:
        info: Its facts.
        codec: Its codec.

    Raises:
        SessionIdError, InvalidValueError: See `transitions.new_session`.
    """

    def __init__(self, info: SessionInfo, codec: SessionCodec) -> None:
        self._info = new_session(info)
        self._at = timestamp()
        self._file = NewFile(self._info.header(), given=self._info.seq, codec=codec)
        self._newest = self._info.seq
        self._last = 0
        self.context = self._info.context
        self.header = self._file.header

    def page(self, entries: Sequence[Entry]) -> bytearray:
        """Return the lines of some more entries.

        Raises:
            InvalidItemError: One cannot be stored without loss.
        """
        check_new(entries)
        page = list(numbered(entries, self._at, self._newest, self._last))
        self._last = page[-1]["seq"] if page else self._last
        self._newest = max(self._newest, self._last)
        self.context = fold(self.context, page)
        return self._file.add(page, self._at)

    def copy(self, lines: bytearray, offset: int) -> bytes:
        """Return lines of another plain file, which stand there at an offset, as lines of this one.

        Raises:
            Damage: A line is none of ours.
        """
        entries = outlines(lines, offset)
        copied = self._file.add_lines(lines)
        self._last = entries[-1]["seq"] if entries else self._last
        self._newest = max(self._newest, self._last)
        self.context = fold(self.context, entries)
        return copied

    def end(self) -> tuple[SessionInfo, bytes]:
        """Return the session, and its last bytes."""
        info = self._info.model_copy(update={"seq": self._newest, "context": self.context})
        return info, self._file.close(info.seq, info.context, timestamp(info.updated_at))
