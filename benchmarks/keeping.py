"""`python -m benchmarks.keeping [--sessions N] [--dir DIR]`: what it costs to keep and to remove sessions.

A preview is measured beyond the look at the folder that every question makes; rates are of the bytes of session files.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

from agents_sessions import FileStore, Policy, SessionInfo, SessionKey, SessionManager
from agents_sessions.features.archive import shelf
from agents_sessions.features.archive.compression import GZIP, best_kind
from agents_sessions.model.entries import timestamp
from agents_sessions.model.query import SessionQuery
from agents_sessions.stores.transitions import created
from benchmarks.contenders import OURS
from benchmarks.conversation import turns
from benchmarks.many import conversations
from benchmarks.measure import figure
from benchmarks.report import Row, environment, table

MB = 1e6
_LONG = SessionKey("support", "long")


async def _timed(work: Coroutine[Any, Any, object]) -> float:
    begun = perf_counter()
    await work
    return perf_counter() - begun


def fill(root: Path, count: int) -> None:
    """Write sessions that no one has touched since their last message, for their owner alone."""
    files = FileStore(root)._files
    root.mkdir(mode=0o700)
    for info, entries in conversations(count):
        path = files.path(info.key)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        old = info.model_copy(update={"updated_at": info.created_at})
        path.write_bytes(files.encode(created(old, entries, timestamp(info.created_at))))
        path.chmod(0o600)


async def previews(root: Path, rounds: int) -> Row:
    """A preview that takes half of all sessions: its time beyond a question of one row."""
    async with SessionManager(root) as manager:
        policy = Policy(keep_last=len(list(root.glob("*/*.json"))) // 2)
        assert len((await manager.retention.preview(policy)).removals) > 0
        more = []
        for _ in range(rounds):
            look = await _timed(manager.store.query(SessionQuery(limit=1)))
            more.append(await _timed(manager.retention.preview(policy)) - look)
    return Row("preview, more than the freshness check", "ms", {OURS.name: figure(more)}, bound=0.3)


async def trashed(root: Path, rounds: int) -> Row:
    """Sessions into the trash, one by one, each synced."""
    async with SessionManager(root, trash="30d") as manager:
        infos = [info async for info in manager.store.every(SessionQuery(agent_id="support"))]
        taken = [await _timed(manager.delete_session(info.id, agent_id=info.agent_id)) for info in infos[:rounds]]
        for each in await manager.trash.list():
            await manager.store.bring_back(each.token)
    return Row("trash of one session", "ms", {OURS.name: figure(taken)}, bound=0.002)


async def checks(root: Path) -> list[Row]:
    """A look at all sessions; and one whole verification, which reads every byte."""
    async with SessionManager(root) as manager:
        fast = [await _timed(manager.diagnostics.check()) for _ in range(3)]
        assert await manager.diagnostics.check() == []
    return [Row("check of all sessions", "s", {OURS.name: figure(fast)}, bound=4.0)]


async def verified(root: Path, rounds: int) -> Row:
    """Every checksum of one long session, by the store."""
    store = FileStore(root)
    size = await _make_long(store, 20_000)
    taken = [size / await _timed(_drain(store)) for _ in range(rounds)]
    return Row(
        f"whole verification, {size / MB:.0f} MB",
        "MB/s",
        {OURS.name: figure(taken)},
        bound=150 * MB,
        goal_is="at least",
    )


async def _drain(store: FileStore) -> None:
    assert [finding async for finding in store.check(thorough=True)] == []


async def archived(root: Path, kind: str, bound: float, rounds: int) -> Row:
    """One long history into the archive, read back and all."""
    shelf.best_kind = lambda: kind
    store = FileStore(root)
    size = await _make_long(store, 20_000)
    rates, small = [], 0
    async with SessionManager(store) as manager:
        for _ in range(rounds):
            begun = perf_counter()
            one = await manager.archive.archive(_LONG.session_id)
            rates.append(size / (perf_counter() - begun))
            small = one.size
            await manager.archive.restore(_LONG.session_id)
    case = f"archive with {kind}, {size / MB:.0f} MB to {small / MB:.1f} MB"
    return Row(case, "MB/s", {OURS.name: figure(rates)}, bound=bound, goal_is="at least")


async def _make_long(store: FileStore, items: int) -> int:
    if await store.load(_LONG) is None:
        some = turns()
        entries = [{"item": item} for _ in range(items // 4) for item in next(some)]
        await store.create(SessionInfo(id=_LONG.session_id, agent_id=_LONG.agent_id), entries)
    (size,) = await store.sizes([_LONG])
    assert size is not None
    return size


async def _measure(root: Path, rounds: int) -> list[Row]:
    rows = [await previews(root, rounds), await trashed(root, rounds * 5), *await checks(root)]
    apart = root.with_name("long")
    rows.append(await verified(apart, rounds))
    if best_kind() != GZIP:
        rows.append(await archived(apart, best_kind(), 35 * MB, rounds))
    rows.append(await archived(apart, GZIP, 12 * MB, rounds))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keeping", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000, help="how many sessions to make")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is done")
    parser.add_argument("--dir", type=Path, help="where to put the files; by default the working directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.dir or Path.cwd()) as folder:
        root = Path(folder) / "sessions"
        fill(root, options.sessions)
        print(f"made {options.sessions} sessions", file=sys.stderr)
        rows = asyncio.run(_measure(root, options.rounds))
    print(f"\n{environment('')}. {options.sessions} sessions. Medians (quartiles).\n")
    print(table(rows))


if __name__ == "__main__":
    main()
