"""`python -m benchmarks.growth [--svg FILE] [--dir DIR] [--most N]`: what operations cost as things grow.

Two pictures of each operation's median time: over the length of one session, and over the number of sessions of a
folder. A line that stays flat costs the same at any size.
"""

import argparse
import asyncio
import os
import random
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents import Agent, RunConfig
from agents.memory import SessionSettings
from agents.testing import ScriptedModel, assistant_message

from agents_sessions import FileStore, SessionInfo, SessionKey, SessionManager
from agents_sessions.model.entries import Entry, item_entry
from benchmarks.chart import Chart, Line, svg
from benchmarks.conversation import ITEMS_PER_TURN, session_id, turns
from benchmarks.measure import Arm, figure, file_system, interleave
from benchmarks.report import environment

_AGENT = "support"
_BATCH = 250
_AT_ONCE = 64

Work = Callable[[], Coroutine[Any, Any, object]]


class Point(NamedTuple):
    """An operation at one size."""

    operation: str
    size: int
    seconds: float


async def by_entries(folder: Path, sizes: Sequence[int], rounds: int) -> list[Point]:
    """Measure what is done to one session, at several lengths of it."""
    arms: dict[tuple[str, int], Arm] = {}
    for size in sizes:
        root = folder / f"entries-{size}"
        key = SessionKey(_AGENT, "long")
        await _fill(root, key, size)
        arms |= {(name, size): Arm(work) for name, work in _of_one(root, key, rounds).items()}
    return await _measure(arms, rounds)


async def by_sessions(folder: Path, sizes: Sequence[int], rounds: int) -> list[Point]:
    """Measure what is done in a folder with several numbers of sessions."""
    arms: dict[tuple[str, int], Arm] = {}
    for size in sizes:
        root = folder / f"sessions-{size}"
        ids = await _populate(root, size)
        arms |= {(name, size): Arm(work) for name, work in _of_many(root, ids, rounds).items()}
    return await _measure(arms, rounds)


async def _measure(arms: dict[tuple[str, int], Arm], rounds: int) -> list[Point]:
    await interleave(list(arms.values()), rounds)
    return [Point(name, size, figure(arm.seconds).median) for (name, size), arm in arms.items()]


def _of_one(root: Path, key: SessionKey, rounds: int) -> dict[str, Work]:
    store, manager, some = FileStore(root), _manager(root, rounds), turns()
    return {
        "get_session": lambda: manager.get_session(key.session_id),
        "append of a turn": lambda: store.append(key, _entries(next(some))),
        "last 20 items": lambda: store.items(key, limit=20),
        "send_message": lambda: manager.send_message(key.session_id, "Where is it?", run_config=_LAST_20),
    }


def _of_many(root: Path, ids: Sequence[str], rounds: int) -> dict[str, Work]:
    store, manager, some, chance = FileStore(root), _manager(root, rounds), turns(), random.Random(2)
    made = random.Random(3)
    return {
        "create_session": lambda: manager.create_session(_AGENT, session_id=session_id(made)),
        "get_session": lambda: manager.get_session(chance.choice(ids)),
        "append of a turn": lambda: store.append(SessionKey(_AGENT, chance.choice(ids)), _entries(next(some))),
        "send_message": lambda: manager.send_message(chance.choice(ids), "Where is it?"),
    }


_LAST_20 = RunConfig(tracing_disabled=True, session_settings=SessionSettings(limit=20))
"""So that the picture shows the session's cost. The Runner's own grows with the items that it is given."""


def _entries(items: Sequence[Any]) -> list[Entry]:
    return [item_entry(dict(item)) for item in items]


def _manager(root: Path, rounds: int) -> SessionManager:
    model = ScriptedModel([[assistant_message("It is on its way.")]] * (rounds + 10))
    return SessionManager(root, agents=[Agent(name=_AGENT, model=model)], run_config=RunConfig(tracing_disabled=True))


async def _fill(root: Path, key: SessionKey, size: int) -> None:
    store, some = FileStore(root), turns()
    await store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id))
    for begin in range(0, size, _BATCH * ITEMS_PER_TURN):
        count = min(_BATCH, (size - begin + ITEMS_PER_TURN - 1) // ITEMS_PER_TURN)
        await store.append(key, _entries([item for _ in range(count) for item in next(some)]))


async def _populate(root: Path, size: int) -> list[str]:
    """Make sessions of one turn each, many at a time and without syncing: only their number matters here."""
    store, some, chance = FileStore(root, durability="process"), turns(), random.Random(1)
    ids = [session_id(chance) for _ in range(size)]
    for begin in range(0, size, _AT_ONCE):
        batch = ids[begin : begin + _AT_ONCE]
        entries = _entries(next(some))
        await asyncio.gather(*(store.create(SessionInfo(id=one, agent_id=_AGENT), entries) for one in batch))
    return ids


# --- the pictures --------------------------------------------------------------------------------------------------


def chart_of(title: str, across: str, points: Sequence[Point]) -> Chart:
    """Return the picture of some points, one line for each operation."""
    names = dict.fromkeys(point.operation for point in points)
    lines = [
        Line(name, [(point.size, point.seconds * 1e3) for point in points if point.operation == name]) for name in names
    ]
    return Chart(title, across, "ms, median", lines)


def _table(points: Sequence[Point]) -> str:
    sizes = sorted({point.size for point in points})
    found = {(point.operation, point.size): point.seconds for point in points}
    rows = [["", *(f"{size:,}" for size in sizes)], ["---", *["---:"] * len(sizes)]]
    rows += [
        [name, *(f"{found[name, size] * 1e3:.3g} ms" for size in sizes)]
        for name in dict.fromkeys(point.operation for point in points)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


async def _all(folder: Path, sizes: Sequence[int], rounds: int) -> tuple[list[Point], list[Point]]:
    return await by_entries(folder, sizes, rounds), await by_sessions(folder, sizes, rounds)


def main() -> None:
    """Measure, print the tables and draw the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--svg", type=Path, help="write the pictures to this file")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to put the sessions")
    parser.add_argument("--most", type=int, default=100_000, help="the largest size")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    sizes = [size for size in (10, 1_000, 10_000, 100_000) if size <= options.most]
    with tempfile.TemporaryDirectory(prefix=".growth-", dir=options.dir) as folder:
        entries, sessions = asyncio.run(_all(Path(folder), sizes, options.rounds))
    about = environment(file_system(options.dir))
    print(f"{about}\n\nBy the entries of a session:\n\n{_table(entries)}\n\nBy the sessions of a folder:\n")
    print(_table(sessions))
    if options.svg is not None:
        charts = [
            chart_of("One session that grows", "entries of the session", entries),
            chart_of("A folder that grows", "sessions of the folder", sessions),
        ]
        options.svg.write_text(svg(charts) + os.linesep)


if __name__ == "__main__":
    main()
