"""Remove old sessions: what a policy chooses, what has expired, or all before a moment; by hand or on a schedule."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from agents_sessions.errors import (
    ArchiveError,
    InvalidValueError,
    SessionBusyError,
    SessionNotFoundError,
    SessionStorageError,
)
from agents_sessions.features.removal import RemovalReport, Tally
from agents_sessions.features.retention.journal import Journal, LogEntry
from agents_sessions.features.retention.policy import (
    RESUMED,
    Measured,
    Plan,
    PlannedRemoval,
    Policy,
    Reason,
    make_plan,
    protection,
)
from agents_sessions.model.durations import Duration, seconds_of, shown
from agents_sessions.model.entries import now
from agents_sessions.model.query import SessionQuery, has_expired
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.features.trash import Trash
    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock

logger = logging.getLogger("agents_sessions")

Destination = Literal["trash", "archive", "deleted"]
"""Where a session goes: to the trash, to the archive, or it is deleted for good."""

IDLE = timedelta(days=30)
"""How long a session may be idle that has no time to live, in a manager that has none, before `cleanup_expired`."""

_ReasonOf: TypeAlias = "Callable[[SessionInfo], Reason | None]"

_ROUND = "retention round of agents-sessions"
"""What a scheduled round reserves in the store, so that there is one at a time."""


class Retention:
    """The retention of a store. Nothing is removed unless someone asks.

    Args:
        store: Where the sessions are.
        lookup: Knows the manager's time to live.
        trash: Where sessions go if the manager has one.
        archive: Where they may go too.
        schedules: Where those are noted that run, for who has to stop them.
    """

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        trash: Trash,
        archive: Archive,
        schedules: set[Schedule] | None = None,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._trash = trash
        self._archive = archive
        self._journal = Journal(store.folder)
        self._schedules: set[Schedule] = set() if schedules is None else schedules

    async def preview(self, policy: Policy) -> Plan:
        """Return exactly what a policy would remove, with the reason and the size of each. Nothing is touched."""
        infos = [info async for info in self._store.every(SessionQuery())]
        if policy.max_bytes is not None:
            return make_plan(await self._measured(infos), policy, await self._busy(infos), now())
        plan = make_plan(map(Measured.of, infos), policy, await self._busy(infos), now())
        return plan.with_sizes(await self._store.sizes([removal.key for removal in plan.removals]))

    async def apply(self, plan: Plan, *, to: Destination | None = None) -> RemovalReport:
        """Remove what a plan says, but for what was used, pinned or removed since it was made.

        Args:
            plan: What `preview` has returned.
            to: Where the sessions go; by default to the trash if the manager has one, else they are deleted.

        Raises:
            InvalidValueError: `to` is none of these.
        """
        tally = Tally()
        await self._remove(plan.removals, to, tally)
        return tally.report()

    async def cleanup_expired(self, *, to: Destination | None = None) -> RemovalReport:
        """Remove sessions past their time to live, and from the trash for good what is past its time there.

        Where neither session nor manager has a time to live, 30 idle days count. Running, pinned and awaiting
        sessions stay.
        """
        tally = Tally()
        await self._remove(await self._chosen(self._expiry), to, tally)
        before = len(tally.removed)
        for trashed in await self._trash.list():
            if trashed.purge_after is not None and trashed.purge_after <= now():
                await self._trash.purge_one(trashed, tally)
        await self._journal.add(
            [LogEntry(now(), one.key, one.rule, "deleted", one.size) for one in tally.removed[before:]]
        )
        return tally.report()

    async def force(self, *, before: datetime, to: Destination | None = None) -> RemovalReport:
        """Remove every session that was not active since a moment, whatever its time to live.

        Running, pinned, awaiting and just resumed sessions stay.

        Raises:
            InvalidValueError: The moment has no time zone.
        """
        if before.utcoffset() is None:
            raise InvalidValueError({"before": "must have a time zone, as in datetime.now(UTC)"})

        def reason(info: SessionInfo) -> Reason | None:
            return Reason("force", f"not active since {before:%Y-%m-%d %H:%M}") if info.last_used_at < before else None

        tally = Tally()
        await self._remove(await self._chosen(reason), to, tally)
        return tally.report()

    async def log(self, *, limit: int | None = None) -> list[LogEntry]:
        """Return what went by rules, the oldest first: all, or the newest `limit`."""
        entries = await self._journal.read()
        return entries if limit is None else entries[max(0, len(entries) - limit) :]

    async def forget(self, keys: Iterable[SessionKey]) -> int:
        """Remove what the log says of some sessions, and return how many lines that were."""
        return await self._journal.forget(set(keys))

    def schedule(self, policy: Policy | None = None, *, every: Duration, to: Destination | None = None) -> Schedule:
        """Clean up, and apply a policy if one is given, now and again and again, until the manager is closed.

        Of several processes on one store, one at a time does it. An error is logged, and the next round tries again.

        Raises:
            InvalidValueError: `every` is no length of time, or `to` is none of its values.
        """
        return Schedule(self, self._schedules, policy, seconds_of(every, "every"), self._destination(to))

    async def round(self, policy: Policy | None, to: Destination) -> RemovalReport | None:
        """Do what a schedule does; None if another process does it in this moment."""
        try:
            async with self._store.reserve(_ROUND):
                report = await self.cleanup_expired(to=to)
                if policy is not None:
                    more = await self.apply(await self.preview(policy), to=to)
                    report = report.plus(more)
                return report
        except SessionBusyError:
            return None

    # --- which ---

    def _expiry(self, info: SessionInfo) -> Reason | None:
        ttl = self._lookup.ttl if info.ttl is None else info.ttl
        if ttl is not None:
            return Reason("expired", f"its time to live of {shown(ttl)} is over") if has_expired(info, ttl) else None
        is_idle = has_expired(info, IDLE.total_seconds())
        return Reason("idle", f"idle for more than {shown(IDLE.total_seconds())}") if is_idle else None

    async def _chosen(self, reason_of: _ReasonOf) -> list[PlannedRemoval]:
        found = [(info, reason) async for info in self._store.every(SessionQuery()) if (reason := reason_of(info))]
        measured = await self._measured([info for info, _ in found])
        return [PlannedRemoval.of(one, reason) for one, (_, reason) in zip(measured, found, strict=True)]

    async def _measured(self, infos: list[SessionInfo]) -> list[Measured]:
        sizes = await self._store.sizes([info.key for info in infos])
        return [Measured.of(info, size or 0) for info, size in zip(infos, sizes, strict=True)]

    async def _busy(self, infos: Iterable[SessionInfo]) -> frozenset[SessionKey]:
        """Return the sessions on which a turn runs. One that is open and that no one holds has died."""
        opened = [info.key for info in infos if info.context.open_turn is not None]
        return frozenset([key for key in opened if await self._store.is_running(key)])

    # --- how ---

    def _destination(self, to: Destination | None) -> Destination:
        if to not in (None, "trash", "archive", "deleted"):
            raise InvalidValueError({"to": f"must be 'trash', 'archive' or 'deleted', not {to!r:.80}"})
        return to or ("deleted" if self._trash.keeps is None else "trash")

    async def _remove(self, removals: Iterable[PlannedRemoval], to: Destination | None, tally: Tally) -> None:
        destination = self._destination(to)
        for removal in removals:
            try:
                await self._remove_one(removal, destination, tally)
            except SessionBusyError:
                tally.skip(removal.key, "a turn runs on it")
            except SessionNotFoundError:
                tally.skip(removal.key, "it is gone already")
            except (SessionStorageError, ArchiveError) as error:
                tally.skip(removal.key, str(error))

    async def _remove_one(self, removal: PlannedRemoval, to: Destination, tally: Tally) -> None:
        async with exclusive_turn(self._store, removal.key, 0) as lock:
            info = await self._store.existing(removal.key)
            shield = protection(info, now(), is_busy=False)
            if not removal.is_as_planned(info) and shield in (None, RESUMED):
                shield = "it was used since"
            if shield is not None:
                tally.skip(removal.key, shield)
                return
            freed = await self._put(removal, to, lock)
        tally.remove(removal.key, removal.rule, removal.size, freed=freed)
        await self._journal.add([LogEntry(now(), removal.key, removal.rule, to, removal.size)])

    async def _put(self, removal: PlannedRemoval, to: Destination, lock: TurnLock) -> int:
        """Take a session away, and return how many bytes that has freed."""
        if to == "trash":
            await self._trash.put_held(removal.key, removal.rule)
            return 0
        if to == "archive":
            archived = await self._archive.put_held(lock)
            return max(0, removal.size - archived.size)
        await self._store.delete(removal.key)
        return removal.size


class Schedule:
    """Rounds of retention in the background, until they are stopped."""

    def __init__(
        self, retention: Retention, running: set[Schedule], policy: Policy | None, every: float, to: Destination
    ) -> None:
        self._retention = retention
        self._running = running
        self._policy = policy
        self._every = every
        self._to = to
        self.last: RemovalReport | None = None
        """What came of the newest round that this process has done."""
        self.rounds = 0
        """How many rounds this process has done."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        running.add(self)

    async def stop(self) -> None:
        """Stop, and wait for the removal that it is in the middle of."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._retention._schedules.discard(self)

    async def _run(self) -> None:
        while True:
            try:
                report = await self._retention.round(self._policy, self._to)
            except Exception as error:  # noqa: BLE001 -- the next round may do better
                logger.warning("a scheduled round of retention failed: %s", type(error).__name__)
            else:
                if report is not None:
                    self.last, self.rounds = report, self.rounds + 1
            await asyncio.sleep(self._every)
