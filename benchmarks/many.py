"""`python -m benchmarks.many [--sessions N] [--dir DIR]`: what questions about many sessions cost.

Each is measured in turn with a bare look at the folder, a `stat` of every file, which no answer can be right without.
"""

import argparse
import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from agents_sessions import FileStore, SessionInfo, SessionManager
from agents_sessions.model.entries import Entry, item_entry, record_entry, timestamp
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.model.usage import RequestRow
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.transitions import created
from benchmarks.contenders import OURS, SQLITE
from benchmarks.measure import Arm, Figure, ask, figure, interleave
from benchmarks.report import Row, environment, table

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = [
    "order",
    "invoice",
    "refund",
    "parcel",
    "address",
    "password",
    "delay",
    "carrier",
    "blue",
    "lamp",
    "size",
    "return",
    "voucher",
    "card",
    "status",
]
CJK = ["订单42已经退款了吗", "東京タワーはどこですか", "환불해 주세요 부탁합니다", "请帮我查一下这个订单的状态"]
COMMON = "order"
RARE = "voucher-77"

Question = Callable[[SessionStore], Coroutine[Any, Any, object]]


def conversations(count: int) -> Iterator[tuple[SessionInfo, list[Entry]]]:
    """Yield sessions of about eight items, in two turns with their usage.

    A third of all messages has one common word; one in ten is not Latin.
    """
    rng = random.Random(12)
    for number in range(count):
        at = BEGUN + timedelta(minutes=number)
        info = SessionInfo(
            id=f"{rng.getrandbits(64):016x}",
            agent_id=("support", "sales", "billing")[number % 3],
            user_id=f"user-{number % 500}",
            name=f"Ticket {number}",
            tags=("urgent",) if number % 20 == 0 else (),
            metadata={"city": ("Oslo", "Lima", "Kyoto")[number % 3]},
            created_at=at,
        )
        items = [_item(rng, place, at) for place in range(8)]
        yield info, [*items[:4], *_spent(rng, at, info.agent_id), *items[4:], *_spent(rng, at, info.agent_id)]


def _spent(rng: random.Random, at: datetime, agent: str) -> list[Entry]:
    """Return the usage of two model requests, and the end of their turn."""
    stamp, model = timestamp(at + timedelta(seconds=9)), rng.choice(["gpt-4.1", "gpt-4.1-mini", "o3"])
    rows = [_request(rng, agent, model) for _ in range(2)]
    usage = record_entry({"type": "usage", "requests": rows}, turn=stamp)
    end = record_entry({"type": "turn", "status": "completed", "usage": rows[0], "duration_ms": 2500}, turn=stamp)
    return [{**usage, "at": stamp}, {**end, "at": stamp}]


def _request(rng: random.Random, agent: str, model: str) -> RequestRow:
    read, written = rng.randrange(500, 9000), rng.randrange(20, 600)
    return {
        "requests": 1,
        "input_tokens": read,
        "cached_tokens": read // 3,
        "cache_write_tokens": 0,
        "output_tokens": written,
        "reasoning_tokens": 0,
        "total_tokens": read + written,
        "agent": agent,
        "model": model,
    }


def _item(rng: random.Random, place: int, at: datetime) -> Entry:
    text = " ".join(rng.choices(WORDS[1:], k=rng.randrange(8, 60)))
    text = rng.choice(CJK) if rng.random() < 0.1 else text
    text += f" {COMMON}" * (rng.random() < 1 / 3) + f" {RARE}" * (rng.random() < 1 / 4000)
    stamp = timestamp(at + timedelta(seconds=place))
    if place % 2 == 0:
        return {**item_entry({"role": "user", "content": text}), "at": stamp}
    part = {"type": "output_text", "text": text, "annotations": []}
    return {**item_entry({"type": "message", "role": "assistant", "content": [part]}, agent="support"), "at": stamp}


def fill(root: Path, count: int) -> None:
    """Write sessions as a store would, without syncing each of them."""
    files = FileStore(root)._files
    for info, entries in conversations(count):
        path = files.path(info.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.encode(created(info, entries, timestamp(info.created_at))))


def bare_look(root: Path) -> int:
    """Ask the system for every file, and do nothing with it."""
    return sum(len([item.stat(follow_symlinks=False) for item in os.scandir(folder)]) for folder in root.iterdir())


QUESTIONS: dict[str, Question] = {
    "first page of 100": lambda store: store.query(SessionQuery()),
    "page of one user": lambda store: store.query(SessionQuery(user_id="user-7")),
    "page by tag and metadata": lambda store: store.query(SessionQuery(tags=("urgent",), metadata={"city": "Oslo"})),
    "count": lambda store: store.count(SessionQuery(status="active")),
    "search, a rare word": lambda store: store.search(SearchQuery(text=RARE)),
    "search, a word of a third of all messages": lambda store: store.search(SearchQuery(text=COMMON)),
    "search, one Chinese character": lambda store: store.search(SearchQuery(text="订")),
    "search, two words of one user": lambda store: store.search(
        SearchQuery(text="order refund", sessions=SessionQuery(user_id="user-7"))
    ),
}
REPORT = "report of all: statistics and money"
QUESTIONS[REPORT] = lambda store: SessionManager(store).statistics.report()
SEARCH_BOUND = 0.015
QUERY_BOUND = 0.005
REPORT_BOUND = 0.15


async def questions(root: Path, rounds: int) -> list[Row]:
    """Each question with nothing changed: its time beyond a bare look, and the bound that leaves."""
    store = FileStore(root)
    await store.count(SessionQuery())
    rows = []
    for name, question in QUESTIONS.items():
        bare, ours = Arm(lambda: _in_loop(root)), Arm(lambda question=question: question(store))  # type: ignore[misc]
        await interleave([bare, ours], rounds)
        look = figure(bare.seconds).median
        after = SEARCH_BOUND if name.startswith("search") else REPORT_BOUND if name == REPORT else QUERY_BOUND
        bound = 0.3 * look + after
        more = figure([one - two for one, two in zip(ours.seconds, bare.seconds, strict=True)])
        rows.append(Row(f"{name}: more than a bare look ({look * 1000:.1f} ms)", "ms", {OURS.name: more}, bound=bound))
    await store.aclose()
    return rows


async def _in_loop(root: Path) -> int:
    return bare_look(root)


async def reports(root: Path, rounds: int) -> Row:
    """A report over all sessions, beyond a bare look."""
    manager = SessionManager(root)
    await manager.count_sessions()
    bare, ours = Arm(lambda: _in_loop(root)), Arm(lambda: manager.statistics.report())
    await interleave([bare, ours], rounds)
    await manager.aclose()
    more = figure([one - two for one, two in zip(ours.seconds, bare.seconds, strict=True)])
    return Row("report over all: more than a bare look", "ms", {OURS.name: more}, bound=0.15)


async def changed(root: Path, rounds: int) -> Row:
    """The first page after an append to one session, in turn with the same page after nothing."""
    store = FileStore(root, durability="process")
    keys = [info.key for info in await store.query(SessionQuery(limit=rounds + 5))]
    quiet: list[float] = []
    more: list[float] = []
    for key in keys:
        quiet.append(await _timed(store.query(SessionQuery())))
        await store.append(key, [item_entry({"role": "user", "content": "one more order"})])
        more.append(await _timed(store.query(SessionQuery())))
        await asyncio.sleep(0.03)  # what is older than a tick of the clock need not be looked at again
        await store.query(SessionQuery())
    await store.aclose()
    figures = [one - two for one, two in zip(more, quiet, strict=True)][5:]
    return Row(
        "first page, one session changed: more than nothing changed", "ms", {OURS.name: figure(figures)}, bound=0.01
    )


async def _timed(work: Coroutine[Any, Any, object]) -> float:
    begun = perf_counter()
    await work
    return perf_counter() - begun


async def builds(root: Path) -> list[Row]:
    """The first question of all, in a process of its own, with the memory that it took."""
    told = ask("-m", "benchmarks.many", "--build", str(root))
    first, memory = told["seconds"], told["bytes"]
    size = sum(path.stat().st_size for path in (root / ".catalog").iterdir())
    text = f"first build ({size / 1e6:.0f} MB of catalog)"
    return [
        Row(text, "ms", {OURS.name: Figure(first, first, first, 1)}, bound=12.0),
        Row("memory of it above an idle manager", "MB", {OURS.name: Figure(memory, memory, memory, 1)}, bound=40e6),
    ]


async def scans(root: Path) -> Row:
    """The first page as a scan of all files answers it."""
    store = FileStore(root)
    ours, scan = [], []
    for _ in range(3):
        ours.append(await _timed(store.query(SessionQuery())))
        scan.append(await _timed(SessionStore.query(store, SessionQuery())))
    await store.aclose()
    return Row(
        "first page, against a scan", "ms", {OURS.name: figure(ours), "scan": figure(scan)}, goal=1.0, against="scan"
    )


async def by_sql(root: Path, rounds: int) -> Row:
    """The newest hundred sessions, against SQL over what `SQLiteSession` has of sessions: their ids and times."""
    path = root.with_name("theirs.db")
    theirs = sqlite3.connect(path)
    theirs.execute(
        "CREATE TABLE agent_sessions (session_id TEXT PRIMARY KEY, created_at TIMESTAMP, updated_at TIMESTAMP)"
    )
    rows = [(info.id, str(info.created_at), str(info.created_at)) for info, _ in conversations(_count(root))]
    theirs.executemany("INSERT INTO agent_sessions VALUES (?, ?, ?)", rows)
    theirs.commit()

    async def newest() -> object:
        return theirs.execute("SELECT * FROM agent_sessions ORDER BY updated_at DESC LIMIT 100").fetchall()

    store = FileStore(root)
    arms = {OURS.name: Arm(lambda: store.query(SessionQuery())), SQLITE.name: Arm(newest)}
    await interleave(list(arms.values()), rounds)
    theirs.close()
    await store.aclose()
    return Row("first page, against SQL over the ids of `SQLiteSession`", "ms", _figures(arms))


def _figures(arms: dict[str, Arm]) -> dict[str, Figure]:
    return {name: figure(arm.seconds) for name, arm in arms.items()}


def _count(root: Path) -> int:
    return sum(1 for path in root.glob("*/*.json"))


async def _build(root: Path) -> None:
    manager = SessionManager(root)
    before = _memory()
    seconds = await _timed(manager.store.query(SessionQuery()))
    await manager.store.search(SearchQuery(text=COMMON))
    print(json.dumps({"seconds": seconds, "bytes": _memory() - before}))
    await manager.aclose()


def _memory() -> int:
    """Return how much memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _measure(root: Path, rounds: int) -> list[Row]:
    rows = await builds(root)
    rows += await questions(root, rounds)
    return [
        *rows,
        await reports(root, rounds),
        await changed(root, rounds),
        await scans(root),
        await by_sql(root, rounds),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000, help="how many sessions to make")
    parser.add_argument("--rounds", type=int, default=15, help="how often each question is asked")
    parser.add_argument("--dir", type=Path, help="where to put the files; by default the working directory")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build is not None:
        asyncio.run(_build(options.build))
        return
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.dir or Path.cwd()) as folder:
        root = Path(folder) / "sessions"
        begun = perf_counter()
        fill(root, options.sessions)
        print(f"made {options.sessions} sessions in {perf_counter() - begun:.1f} s", file=sys.stderr)
        rows = asyncio.run(_measure(root, options.rounds))
    print(f"\n{environment('')}. {options.sessions} sessions. Medians (quartiles).\n")
    print(table(rows))


if __name__ == "__main__":
    main()
