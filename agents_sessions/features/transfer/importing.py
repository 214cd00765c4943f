"""Sessions that come in: from a text, a file, an archive or a database."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agents_sessions.errors import ImportRefusedError, InvalidValueError
from agents_sessions.features.transfer.bundle import Bundle
from agents_sessions.features.transfer.incoming import Naming
from agents_sessions.features.transfer.recognise import kind_of, recognise
from agents_sessions.features.transfer.sources import FileSource, Source
from agents_sessions.features.transfer.values import Dropped, ImportFormat, ImportReport

if TYPE_CHECKING:
    from agents_sessions.features.transfer.incoming import Incoming
    from agents_sessions.features.transfer.placing import Placing


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What is imported, and as what."""

    format: ImportFormat | None = None
    naming: Naming = field(default_factory=Naming)
    only: Collection[str] | None = None
    """The ids of the sessions that are wanted; None for all."""


class Importer:
    """One import: all that it reads is placed, or nothing."""

    def __init__(self, placing: Placing, options: ImportOptions) -> None:
        self._placing = placing
        self._options = options
        self._dropped: list[Dropped] = []

    async def run(self, source: Source) -> ImportReport:
        """Import what a source holds.

        Raises:
            ImportRefusedError: It cannot be imported. Nothing was.
        """
        async with self._placing:
            found = await self._import(source)
            self._check_all_found(source)
            await self._placing.keep()
        return ImportReport(found, tuple(self._placing.placed), tuple(self._dropped))

    async def take(self, incoming: Incoming) -> ImportReport:
        """Import one session that is at hand.

        Raises:
            ImportRefusedError: It cannot be stored.
        """
        async with self._placing:
            await self._placing.place(incoming)
            await self._placing.keep()
        return ImportReport("responses", tuple(self._placing.placed), tuple(incoming.left_out))

    async def _import(self, source: Source) -> ImportFormat:
        if isinstance(source, FileSource):
            await source.check()
        if isinstance(source, FileSource) and kind_of(await source.head(16)) == "archive":
            return await self._import_archive(source)
        found = await recognise(source, self._options.format, self._options.naming, self._dropped.append)
        await self._place_all(found.sessions, source)
        return found.format

    async def _import_archive(self, source: FileSource) -> ImportFormat:
        if self._options.format not in (None, "archive"):
            raise ImportRefusedError(source.name, f"is 'archive', not {self._options.format!r}")
        with contextlib.closing(await asyncio.to_thread(Bundle, source)) as bundle:
            await self._place_all(self._sessions_of(bundle), source)
        return "archive"

    async def _sessions_of(self, bundle: Bundle) -> AsyncIterator[Incoming]:
        for member in bundle.members:
            found = await recognise(member, None, self._options.naming, self._dropped.append)
            async for incoming in found.sessions:
                yield incoming

    async def _place_all(self, sessions: AsyncIterator[Incoming], source: Source) -> None:
        renames = self._options.naming.session_id is not None
        only = self._options.only
        async for incoming in sessions:
            if only is not None and incoming.given_id not in only:
                continue
            if renames and self._placing.placed:
                reason = f"names one session, and {source.name} has several; choose one with only="
                raise InvalidValueError({"session_id": reason})
            await self._placing.place(incoming)
            self._dropped += incoming.left_out
        if not self._placing.placed and only is None:
            raise ImportRefusedError(source.name, "holds no session")

    def _check_all_found(self, source: Source) -> None:
        if self._options.only is None:
            return
        absent = set(self._options.only) - {session.source_id for session in self._placing.placed}
        if absent:
            named = ", ".join(repr(session_id)[:80] for session_id in sorted(absent)[:5])
            raise ImportRefusedError(source.name, f"does not hold {named}")


def source_of_text(text: str | bytes, source: Callable[[bytes], Source]) -> Source:
    """Return a text as a source.

    Raises:
        ImportRefusedError: It has half a character, as no file has.
    """
    if isinstance(text, bytes):
        return source(text)
    try:
        return source(text.encode())
    except UnicodeEncodeError:
        raise ImportRefusedError("the text", "is not UTF-8") from None
