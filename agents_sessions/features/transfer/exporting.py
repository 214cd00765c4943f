"""Sessions that go out: to a text, or to a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from agents_sessions.features.transfer import selection
from agents_sessions.features.transfer.files import new_file
from agents_sessions.features.transfer.masking import Masking, masking_of
from agents_sessions.features.transfer.snapshot import RUN_STATES, take_snapshot
from agents_sessions.features.transfer.values import (
    WITH_SIDECARS,
    Dropped,
    ExportFormat,
    ExportOptions,
    ExportReport,
    OnProgress,
    Progress,
)
from agents_sessions.features.transfer.writers import writer_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agents_sessions.features.transfer.document import Writer
    from agents_sessions.features.transfer.snapshot import Snapshot
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore


MoneyOf: TypeAlias = "Callable[[SessionKey], Awaitable[str]]"
"""Says for people what a session has cost; nothing where no model was asked."""


@dataclass(slots=True)
class Tally:
    """What has gone out so far."""

    on_progress: OnProgress | None = None
    of_sessions: int | None = None
    sessions: list[SessionKey] = field(default_factory=list)
    entries: int = 0
    size: int = 0
    dropped: list[Dropped] = field(default_factory=list)

    def tell(self, info: SessionInfo, entries: int) -> None:
        """Tell the caller how far a session is."""
        if self.on_progress is not None:
            self.on_progress(Progress(info.key, entries, info.seq, len(self.sessions), self.of_sessions))


class Outgoing:
    """Sessions on their way out of a store, under the options of one export."""

    def __init__(
        self, store: SessionStore, options: ExportOptions, tally: Tally, money_of: MoneyOf | None = None
    ) -> None:
        self.tally = tally
        self.masking: Masking | None = masking_of(options)
        self._store = store
        self._options = options
        self._money_of = money_of

    async def pieces(self, key: SessionKey, format_name: ExportFormat) -> AsyncIterator[bytes]:
        """Yield a session in a format, some bytes at a time.

        Raises:
            SessionNotFoundError: There is none.
            SessionChangedError: It was rewritten while it was read.
        """
        writer = writer_of(format_name)
        snapshot = await take_snapshot(
            self._store, key, lambda name: format_name in WITH_SIDECARS and self._wants(name)
        )
        if snapshot.info.status == "archived":
            self.tally.dropped.append(Dropped(key.session_id, "history, which is in the archive: restore it first", 1))
        async for piece in self._written(snapshot, writer):
            self.tally.size += len(piece)
            yield piece
        last = writer.end(await self._money(key, format_name))
        self.tally.size += len(last)
        yield last
        self.tally.sessions.append(key)

    async def _written(self, snapshot: Snapshot, writer: Writer) -> AsyncIterator[bytes]:
        info, entries = snapshot.info, 0
        has_run_state = not RUN_STATES.isdisjoint(await self._store.list_sidecars(info.key))
        left_out = selection.left_out(self._options, run_state=has_run_state)
        yield writer.begin(self._facts(info), self._sidecars(snapshot), left_out)
        async for page in snapshot.pages():
            # In a thread of the event loop's, which goes on meanwhile: the richer formats take a while.
            yield await asyncio.to_thread(self._page, writer, page)
            entries += len(page)
            self.tally.entries += len(page)
            self.tally.tell(info, entries)

    async def _money(self, key: SessionKey, format_name: ExportFormat) -> str:
        if self._money_of is None or format_name in WITH_SIDECARS or not self._options.include_usage:
            return ""
        return await self._money_of(key)

    def _wants(self, name: str) -> bool:
        return name not in RUN_STATES or (self._options.include_run_state and self._options.mask != "all")

    def _facts(self, info: SessionInfo) -> SessionInfo:
        selected = selection.select_facts(info, self._options)
        return selected if self.masking is None else self.masking.facts(selected)

    def _page(self, writer: Writer, page: list[Entry]) -> bytes:
        selected = selection.select(page, self._options)
        if self.masking is not None:
            selected = [self.masking.entry(entry) for entry in selected]
        return writer.page(selected) if selected else b""

    def _sidecars(self, snapshot: Snapshot) -> dict[str, bytes]:
        if self.masking is None:
            return dict(snapshot.sidecars)
        shown = {}
        for name, data in snapshot.sidecars.items():
            masked = self.masking.sidecar(data)
            if masked is None:
                self.tally.dropped.append(Dropped(snapshot.info.id, f"sidecar {name!r}, which is no text to mask", 1))
            else:
                shown[name] = masked
        return shown


async def export_text(outgoing: Outgoing, key: SessionKey, format_name: ExportFormat) -> str:
    """Return a session as a text."""
    pieces = [piece async for piece in outgoing.pieces(key, format_name)]
    return b"".join(pieces).decode()


async def export_file(
    outgoing: Outgoing, key: SessionKey, path: Path, format_name: ExportFormat, *, overwrite: bool
) -> ExportReport:
    """Write a session to a file, which appears whole or not at all."""
    async with new_file(path, overwrite=overwrite) as file:
        async for piece in outgoing.pieces(key, format_name):
            await file.write(piece)
    return report_of(outgoing, path)


def report_of(outgoing: Outgoing, path: Path, missing: tuple[str, ...] = ()) -> ExportReport:
    """Return what an export has done."""
    tally, masking = outgoing.tally, outgoing.masking
    masked = {} if masking is None else dict(sorted(masking.found.items()))
    return ExportReport(path, tally.size, tuple(tally.sessions), tally.entries, masked, tuple(tally.dropped), missing)
