"""What is measured. Every case makes its own folder per contender, so that none meets another's files."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks import history, managed, transfer
from benchmarks.contenders import CONTENDERS, FLOOR, OURS, SQLITE, Contender, Session, close
from benchmarks.conversation import ITEMS_PER_TURN, session_id, turns
from benchmarks.measure import Arm, Figure, ask, figure, interleave
from benchmarks.report import Row

_BULK_TURNS = 50
_ORDINARY_TURNS = 20
_POOL = 20


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: all of it, or a short form that shows the same picture less sharply."""

    appends: int = 200
    longest: int = 100_000
    reads: int = 100
    long_reads: int = 25
    conversations: int = 3
    turns: int = 500
    crowd_rounds: int = 20
    processes: int = 5


FULL = Effort()
QUICK = Effort(
    appends=40, longest=20_000, reads=20, long_reads=5, conversations=1, turns=100, crowd_rounds=4, processes=1
)


class Bench:
    """Runs the cases in one folder."""

    def __init__(self, folder: Path, effort: Effort) -> None:
        self._folder = folder
        self._effort = effort
        self._ids = random.Random(1)
        self._open: list[Session] = []

    async def rows(self) -> AsyncIterator[Row]:
        """Yield the rows of the table as they are measured."""
        cases = (
            self._appends,
            self._reads,
            self._newest,
            self._conversation,
            self._crowd,
            self._sends,
            self._users,
            self._histories,
            self._sizes,
            self._transfers,
        )
        for case in cases:
            for row in await case():
                yield row
            for session in self._open:
                close(session)
            self._open.clear()
        for row in self._imports():
            yield row

    # --- the cases ---

    async def _appends(self) -> list[Row]:
        sizes = (0, 100, 10_000, self._effort.longest)
        arms = {
            (one, size): Arm(await self._appending(one, size), every=10 if one.is_naive and size == one.most else 1)
            for size in sizes
            for one in CONTENDERS
            if size <= one.most
        }
        floor = arms[FLOOR, 0] = Arm(await self._appending(FLOOR, 0, pool=1))
        await interleave(list(arms.values()), self._effort.appends)
        rows = []
        for size in sizes:
            taken = {one.name: figure(arms[one, size].seconds) for one in CONTENDERS if (one, size) in arms}
            taken[FLOOR.name] = figure(floor.seconds)
            rows.append(Row(_append_case(size), "ms", taken, goal=0.85))
        short, long = (figure(arms[OURS, size].seconds) for size in (100, self._effort.longest))
        case = f"append at {self._effort.longest:,} entries, ratio to 100 entries"
        rows.append(Row(case, "ms", {OURS.name: long, "at 100": short}, goal=1.15, against="at 100"))
        return rows

    async def _appending(
        self, one: Contender, size: int, *, pool: int = _POOL
    ) -> Callable[[], Coroutine[Any, Any, object]]:
        """Return what appends one turn to a session of `size` items; at 0 it is a new one each time."""
        folder = self._make_folder(f"append-{size}", one)
        some = turns(size)
        if size == 0 and pool > 1:
            await self._session(one, folder).add_items(next(some))  # the application is not new, the session is
            return lambda: self._session(one, folder).add_items(next(some))
        count = pool if size == 100 else 1
        sessions = cycle([await self._filled(one, folder, size) for _ in range(count)])
        return lambda: next(sessions).add_items(next(some))

    async def _reads(self) -> list[Row]:
        rows = []
        for size, rounds, goal in ((1_000, self._effort.reads, 0.3), (10_000, self._effort.long_reads, 0.45)):
            taken = await self._reading(f"read-{size}", size, rounds, None)
            rows.append(Row(f"read all of {size:,} entries", "ms", taken, goal=goal))
        return rows

    async def _newest(self) -> list[Row]:
        size = self._effort.longest
        taken = await self._reading("newest", size, self._effort.appends, 20)
        return [Row(f"read the last 20 of {size:,} entries", "ms", taken, goal=0.4)]

    async def _reading(self, name: str, size: int, rounds: int, limit: int | None) -> dict[str, Figure]:
        arms = {}
        for one in CONTENDERS:
            if size <= one.most:
                session = await self._filled(one, self._make_folder(name, one), size)
                arms[one.name] = Arm(partial(session.get_items, limit))
        await interleave(list(arms.values()), rounds)
        return {name: figure(arm.seconds) for name, arm in arms.items()}

    async def _conversation(self) -> list[Row]:
        """As the Runner does it: the history, then the question, the call with its output, the answer."""
        count = self._effort.turns
        seconds: dict[str, list[float]] = {one.name: [] for one in CONTENDERS}
        for number in range(self._effort.conversations):
            rivals = CONTENDERS if number == 0 else (OURS, SQLITE)
            talks = [self._session(one, self._make_folder(f"conversation-{number}", one)) for one in rivals]
            arms = [Arm(_talking(talk, turns(number))) for talk in talks]
            await interleave(arms, count, warm_up=0)
            for one, arm in zip(rivals, arms, strict=True):
                seconds[one.name].append(sum(arm.seconds))
        taken = {name: figure(totals) for name, totals in seconds.items()}
        return [Row(f"conversation of {count} turns", "s", taken, goal=0.45)]

    async def _crowd(self) -> list[Row]:
        """A hundred sessions at once, each adding some turns one after the other."""
        sessions, each = 100, 3
        arms = {}
        for one in (*CONTENDERS, FLOOR):
            folder = self._make_folder("crowd", one)
            crowd = [await self._filled(one, folder, 0) for _ in range(sessions)]
            arms[one.name] = Arm(_crowding(crowd, turns(), each))
        await interleave(list(arms.values()), self._effort.crowd_rounds)
        rates = {name: figure([sessions * each / took for took in arm.seconds]) for name, arm in arms.items()}
        return [Row(f"{sessions} sessions at once", "turns/s", rates, goal=2.0, goal_is="at least")]

    async def _sends(self) -> list[Row]:
        return await managed.sends(self._make_folder("sends", OURS), self._name, self._effort.appends)

    async def _users(self) -> list[Row]:
        return await managed.users(self._make_folder("users", OURS), self._name, self._effort.conversations)

    async def _histories(self) -> list[Row]:
        worked = await history.long_histories(self._make_folder("histories", OURS), self._effort.long_reads)
        talked = await history.long_conversation(self._make_folder("long-conversation", OURS), self._effort.turns)
        return [*worked, *talked]

    async def _sizes(self) -> list[Row]:
        """Bytes on the disk, after everything is closed, and the memory that a full read takes."""
        size = 10_000
        stored, grown = {}, {}
        for one in CONTENDERS:
            folder = self._make_folder("sizes", one)
            session = one.open(folder, name := session_id(self._ids))
            await _fill(session, size, bulk=size if one.is_naive else 1)
            close(session)
            stored[one.name] = figure([sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / size])
            command = ("-m", "benchmarks.read_once", one.name, str(folder), name)
            grown[one.name] = figure([ask(*command)["bytes"] for _ in range(self._effort.processes)])
        return [
            Row(f"bytes per stored item, of {size:,}", "B", stored, goal=0.85),
            Row(f"peak memory of reading {size:,} entries", "MB", grown, goal=1.1),
        ]

    async def _transfers(self) -> list[Row]:
        return await transfer.transfers(
            self._make_folder("transfer", OURS), self._effort.longest, self._effort.processes
        )

    def _imports(self) -> list[Row]:
        program = (
            "import json, sys, time; begun = time.perf_counter(); import agents_sessions; "
            "taken = time.perf_counter() - begun; print(json.dumps({'s': taken, 'agents': 'agents' in sys.modules}))"
        )
        answers = [ask("-c", program) for _ in range(self._effort.processes)]
        case = "`import agents_sessions`" + (", which imports `agents`" if any(a["agents"] for a in answers) else "")
        return [Row(case, "ms", {OURS.name: figure([answer["s"] for answer in answers])}, bound=0.1)]

    # --- sessions ---

    def _name(self) -> str:
        return session_id(self._ids)

    def _make_folder(self, case: str, one: Contender) -> Path:
        folder = self._folder / case / one.name.replace(" ", "-")
        folder.mkdir(parents=True)
        return folder

    def _session(self, one: Contender, folder: Path) -> Session:
        session = one.open(folder, session_id(self._ids))
        self._open.append(session)
        return session

    async def _filled(self, one: Contender, folder: Path, size: int) -> Session:
        session = self._session(one, folder)
        size = max(size, ITEMS_PER_TURN)
        await _fill(session, size, bulk=size if one.is_naive else _BULK_TURNS)
        return session


async def _fill(session: Session, size: int, *, bulk: int) -> None:
    """Give a session a history: most of it in larger batches, the newest turns one by one, as they come."""
    some = turns(size)
    left = size // ITEMS_PER_TURN
    while left > 0:
        count = min(bulk, max(1, left - _ORDINARY_TURNS)) if bulk < size else left
        await session.add_items([item for _ in range(count) for item in next(some)])
        left -= count


def _talking(session: Session, some: Iterator[list[Any]]) -> Callable[[], Coroutine[Any, Any, object]]:
    return lambda: _hold_turn(session, next(some))


def _crowding(crowd: list[Session], some: Iterator[list[Any]], each: int) -> Callable[[], Coroutine[Any, Any, object]]:
    return lambda: _gather([_add_turns(session, list(islice(some, each))) for session in crowd])


async def _hold_turn(session: Session, turn: list[Any]) -> object:
    history = await session.get_items()
    await session.add_items(turn[:1])
    await session.add_items(turn[1:3])
    await session.add_items(turn[3:])
    return history


async def _add_turns(session: Session, some: list[list[Any]]) -> None:
    for turn in some:
        await session.add_items(turn)


async def _gather(tasks: list[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*tasks)


def _append_case(size: int) -> str:
    return f"append one turn at {size:,} entries" if size else "append the first turn (makes the session)"
