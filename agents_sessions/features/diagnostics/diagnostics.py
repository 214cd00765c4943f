"""Look for what is not as it should be in a store and its histories, and repair it, with a copy of what is touched."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agents_sessions.errors import (
    InvalidValueError,
    SessionBusyError,
    SessionCorruptedError,
    SessionError,
    SessionNotFoundError,
)
from agents_sessions.features.archive.archive import document_of
from agents_sessions.features.archive.shelf import Shelf
from agents_sessions.features.diagnostics.histories import adds_up, findings_of, missing_outputs, without_orphans
from agents_sessions.features.diagnostics.report import Census, markdown
from agents_sessions.features.transfer.snapshot import take_snapshot
from agents_sessions.model.entries import now
from agents_sessions.model.findings import Finding
from agents_sessions.model.query import SessionQuery
from agents_sessions.turns.approvals import load_awaiting
from agents_sessions.turns.ends import awaits_approval, end_interrupted, give_up
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    import os

    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock

BACKUPS = ".backups"
"""The folder of what repairs have touched, below that of a store which has one."""

OF_HISTORIES = frozenset({"interrupted-turn", "lost-approval", "unanswered-call", "orphan-output", "wrong-totals"})
"""What is repaired here. The rest is for the store."""


@dataclass(frozen=True, slots=True)
class RepairOutcome:
    """What came of one finding."""

    finding: Finding
    status: Literal["would repair", "repaired", "left", "failed"]
    detail: str
    """What was done or would be, or why it was not."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What came of a repair."""

    outcomes: tuple[RepairOutcome, ...]
    backup: Path | None
    """Where the copies are of all that was touched; None if nothing was."""

    @property
    def repaired(self) -> int:
        """How many findings were repaired."""
        return sum(outcome.status == "repaired" for outcome in self.outcomes)


class Diagnostics:
    """The health of a store.

    Args:
        store: What is looked at.
        archive: Its archive.
    """

    def __init__(self, store: SessionStore, archive: Archive) -> None:
        self._store = store
        self._archive = archive

    # --- look ---

    async def check(self, *, thorough: bool = False) -> list[Finding]:
        """Return what is not as it should be. Nothing is changed, and no running turn is disturbed.

        Args:
            thorough: Read every history, compute every checksum and total, and read every archived history back.
        """
        return [finding async for finding in self._findings(thorough=thorough)]

    async def report(self, *, thorough: bool = False) -> str:
        """Return a look at the store as Markdown, for a bug report. It holds numbers, and neither ids nor content."""
        findings = await self.check(thorough=thorough)
        census = Census(type(self._store).__name__)
        keys = []
        async for info in self._store.every(SessionQuery()):
            census.count(info)
            keys.append(info.key)
        census.bytes = sum(size or 0 for size in await self._store.sizes(keys))
        census.trashed = len(await self._store.list_aside())
        return markdown(census, findings)

    async def _findings(self, *, thorough: bool) -> AsyncIterator[Finding]:
        async for finding in self._store.check(thorough=thorough):
            yield finding
        indexed = {info.key: info async for info in self._store.every(SessionQuery())} if thorough else {}
        async for info in self._store.scan():
            for finding in await self._of_session(info, thorough=thorough):
                yield finding
            if thorough and _differ(info, indexed.get(info.key)) and await self._has_drifted(info):
                yield Finding("catalog-drift", info.key)
        for finding in await self._archive.check(thorough=thorough):
            yield finding

    async def _of_session(self, info: SessionInfo, *, thorough: bool) -> list[Finding]:
        if info.context.open_turn is None and not awaits_approval(info) and adds_up(info) and not thorough:
            return []
        try:
            return await self._in_history(info)
        except SessionNotFoundError:  # it was deleted meanwhile
            return []
        except SessionError:  # the store has said what is wrong with it
            return []

    async def _has_drifted(self, info: SessionInfo) -> bool:
        """Tell whether an index still does not know a session as it is, asked once more: it may have been in use."""
        query = SessionQuery(agent_id=info.agent_id, id_prefix=info.id)
        indexed = [each async for each in self._store.every(query) if each.key == info.key]
        newest = await self._store.load(info.key)
        return newest is not None and not _differ(newest, info) and _differ(newest, indexed[0] if indexed else None)

    async def _in_history(self, info: SessionInfo) -> list[Finding]:
        if info.context.open_turn is not None:
            return [] if await self._store.is_running(info.key) else [Finding("interrupted-turn", info.key)]
        waits = awaits_approval(info)
        lost = waits and not await self._can_resume(info)
        entries = await self._store.entries(info.key)
        newest = await self._store.load(info.key)
        if newest is None or (newest.seq, newest.updated_at) != (info.seq, info.updated_at):
            return []  # someone uses it in this moment
        found = findings_of(info, entries, waits=waits)
        return [Finding("lost-approval", info.key), *found] if lost else found

    async def _can_resume(self, info: SessionInfo) -> bool:
        try:
            return await load_awaiting(self._store, info) is not None
        except SessionCorruptedError:
            return False

    # --- repair ---

    async def repair(
        self,
        findings: Iterable[Finding],
        *,
        dry_run: bool = True,
        backup: str | os.PathLike[str] | None = None,
    ) -> RepairReport:
        """Repair findings, each atomically, or say what would be done. What is not so any more is left alone.

        Args:
            findings: What `check` has returned, or some of it.
            dry_run: Only say what would be done.
            backup: The folder for copies of all that is touched; None takes one in the folder of the store.

        Raises:
            InvalidValueError: The store has no folder, and `backup` names none.
        """
        if dry_run:
            return RepairReport(tuple(_planned(finding) for finding in findings), None)
        folder = self._backup_folder(backup) / f"{now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
        outcomes: list[RepairOutcome] = []
        for finding in findings:
            outcomes.append(await self._outcome(finding, folder, outcomes))
        touched = any(outcome.status == "repaired" for outcome in outcomes)
        return RepairReport(tuple(outcomes), folder if touched else None)

    def _backup_folder(self, backup: str | os.PathLike[str] | None) -> Path:
        if backup is not None:
            return Path(backup).expanduser().absolute()
        if self._store.folder is None:
            raise InvalidValueError({"backup": "is needed: the folder for copies of what is touched"})
        return self._store.folder / BACKUPS

    async def _outcome(self, finding: Finding, folder: Path, before: list[RepairOutcome]) -> RepairOutcome:
        if finding.repair is None:
            return RepairOutcome(finding, "left", finding.means)
        same = (each for each in before if (each.finding.code, each.finding.key) == (finding.code, finding.key))
        if finding.code in OF_HISTORIES and any(each.status == "repaired" for each in same):
            return RepairOutcome(finding, "repaired", finding.repair)  # all of one kind in a history go at once
        try:
            done = await self._repair(finding, folder)
        except SessionBusyError:
            return RepairOutcome(finding, "left", "a turn runs on the session")
        except (SessionError, OSError) as error:
            return RepairOutcome(finding, "failed", str(error))
        return RepairOutcome(
            finding, "repaired" if done else "left", finding.repair if done else "it is not so any more"
        )

    async def _repair(self, finding: Finding, folder: Path) -> bool:
        if finding.key is None or finding.code == "orphan-sidecars":
            return await self._store.repair(finding, folder)
        async with exclusive_turn(self._store, finding.key, 0) as lock:
            if finding.code not in OF_HISTORIES:
                return await self._store.repair(finding, folder)
            return await self._repair_history(finding, folder, lock)

    async def _repair_history(self, finding: Finding, folder: Path, lock: TurnLock) -> bool:
        info = await self._store.load(lock.key)
        if info is None or finding.code not in await self._codes(info):
            return False
        snapshot = await take_snapshot(self._store, lock.key, lambda _: True)
        shelf = Shelf(folder)
        await shelf.verify(await shelf.write(lock.key, document_of(snapshot)))
        await self._put_right(finding.code, info, lock)
        return True

    async def _codes(self, info: SessionInfo) -> set[str]:
        """Return what is wrong with a session whose turn lock we hold, so that an open turn has died."""
        if info.context.open_turn is not None:
            return {"interrupted-turn"}
        return {finding.code for finding in await self._in_history(info)}

    async def _put_right(self, code: str, info: SessionInfo, lock: TurnLock) -> None:
        store, key = self._store, lock.key
        if code == "interrupted-turn" and info.context.open_turn is not None:
            await end_interrupted(store, lock, info, info.context.open_turn)
        elif code == "lost-approval":
            await give_up(store, lock, info, "given up by a repair")
        elif code == "unanswered-call":
            await store.append(key, missing_outputs(await store.entries(key)), turn=lock)
        elif code == "orphan-output":
            await store.rewrite(key, lambda history: history.with_entries(without_orphans(history.entries)), turn=lock)
        elif code == "wrong-totals":
            await store.rewrite(key, lambda history: history.with_entries(history.entries), turn=lock)


def _differ(info: SessionInfo, other: SessionInfo | None) -> bool:
    return other is None or (info.seq, info.updated_at) != (other.seq, other.updated_at)


def _planned(finding: Finding) -> RepairOutcome:
    if finding.repair is None:
        return RepairOutcome(finding, "left", finding.means)
    return RepairOutcome(finding, "would repair", finding.repair)
