"""A session on its way in: its facts, and its history as a stream that can be begun again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from agents_sessions.errors import ImportLimitError, ImportRefusedError, InvalidItemError
from agents_sessions.features.transfer.values import Dropped
from agents_sessions.stores.transitions import check_new

if TYPE_CHECKING:
    from agents_sessions.features.transfer.document import Header, JsonlReader
    from agents_sessions.features.transfer.sources import Source
    from agents_sessions.features.transfer.values import ImportLimits
    from agents_sessions.model.entries import Entry, Item
    from agents_sessions.model.info import SessionInfo

PlacedEntries = AsyncGenerator[tuple[int, list["Entry"]], None]
"""Some entries at a time, with the line of the first of them, or its place where there are no lines."""


class Naming(NamedTuple):
    """What the caller wants a session to be called."""

    session_id: str | None = None
    agent_id: str | None = None

    def over(self, info: SessionInfo) -> SessionInfo:
        """Return a session with these names instead of its own."""
        given = {"id": self.session_id, "agent_id": self.agent_id}
        return info.model_copy(update={name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True)
class Incoming:
    """One session that comes in."""

    source: str
    """What an error calls the place it comes from."""
    given_id: str
    """The id that it has there, before any renaming."""
    info: SessionInfo
    pages: Callable[[], PlacedEntries]
    """Reads the history from its beginning."""
    limits: ImportLimits
    sidecars: dict[str, bytes] = field(default_factory=dict)
    left_out: list[Dropped] = field(default_factory=list)
    by_line: bool = True
    """Whether the numbers of `pages` are lines."""

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield the history.

        Raises:
            ImportRefusedError: Some of it is no history.
            ImportLimitError: There are more entries than allowed.
        """
        count = 0
        async with aclosing(self.pages()) as pages:
            async for _, page in pages:
                count += len(page)
                if count > self.limits.max_entries:
                    reason = f"it has more than {self.limits.max_entries:,} entries (max_entries)"
                    raise ImportLimitError(self.source, reason)
                for entry in page:
                    yield entry

    async def check(self) -> None:
        """Refuse a history that no store would take, and say where.

        Raises:
            ImportRefusedError: An entry cannot be stored.
        """
        async with aclosing(self.pages()) as pages:
            async for first, page in pages:
                for place, entry in enumerate(page, first):
                    self._check(entry, place)

    def _check(self, entry: Entry, place: int) -> None:
        try:
            check_new([entry])
        except InvalidItemError as error:
            who, line = ("", place) if self.by_line else (f"entry {place} ", None)
            raise ImportRefusedError(self.source, f"{who}{error.reason}", line=line) from None


def from_lines(source: Source, reader: Callable[[str], JsonlReader], header: Header, naming: Naming) -> Incoming:
    """Return the session of a document that is read line by line."""

    async def pages() -> PlacedEntries:
        reading = reader(source.name)
        async with aclosing(source.lines()) as batches:
            async for number, lines in batches:
                first = number
                page: list[Entry] = []
                for place, line in enumerate(lines, number):
                    if place == 1 or not line or line.isspace():
                        first += not page
                    elif (entry := reading.entry(line, place)) is not None:
                        page.append(entry)
                yield first, page
        reading.close()

    return _incoming(source, header, naming, pages)


def from_entries(source: Source, header: Header, entries: list[Entry], naming: Naming) -> Incoming:
    """Return the session of a document that was read as a whole."""

    async def pages() -> PlacedEntries:
        for begin in range(0, len(entries), 500):
            yield begin + 1, entries[begin : begin + 500]

    return _incoming(source, header, naming, pages, by_line=False)


def from_items(source: Source, items: list[Item], info: SessionInfo, dropped: list[Dropped] | None = None) -> Incoming:
    """Return a session of SDK items."""

    async def pages() -> PlacedEntries:
        for begin in range(0, len(items), 500):
            yield begin + 1, [{"item": item} for item in items[begin : begin + 500]]

    return Incoming(source.name, info.id, info, pages, source.limits, {}, dropped or [], by_line=False)


def _incoming(
    source: Source, header: Header, naming: Naming, pages: Callable[[], PlacedEntries], *, by_line: bool = True
) -> Incoming:
    info = naming.over(header.info)
    left_out = [Dropped(info.id, what, 1) for what in header.left_out]
    return Incoming(source.name, header.info.id, info, pages, source.limits, header.sidecars, left_out, by_line)
