"""`python -m benchmarks.calls [--dir DIR] [--json]`: how many calls one operation makes, in all threads.

Times differ from machine to machine and from run to run; calls do not. Of some rounds the least is taken, because a
round in which the event loop woke up once more has a few of asyncio's own. System calls are those that Python code
makes through `os` and `fcntl`. Switches are how often a thread gave the processor away: printed, and no figure to hold.
"""

import argparse
import asyncio
import json
import resource
import statistics
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message

from agents_sessions import FileSession, SessionManager
from benchmarks.conversation import turns

_ROUNDS = 25
_HISTORY = 100
_SYSTEM = ("posix", "fcntl")
_NO_CALL = ("fspath", "getpid")
_QUIET = RunConfig(tracing_disabled=True)


class Cost(NamedTuple):
    """What one operation costs."""

    python: int
    c: int
    system: int
    switches: float

    def beyond(self, other: "Cost") -> "Cost":
        """Return what it costs more than another one."""
        return Cost(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


class Counter:
    """A profiler that counts, in the thread that starts it and in all that begin later."""

    def __init__(self) -> None:
        self._on = False
        self._python = self._c = self._system = 0

    def install(self) -> None:
        """Begin to look on. To be called before the first worker thread begins."""
        threading.setprofile(self._see)
        sys.setprofile(self._see)

    def remove(self) -> None:
        """Look away in this thread."""
        threading.setprofile(None)
        sys.setprofile(None)

    async def count(self, work: Awaitable[object]) -> tuple[int, int, int]:
        """Return the calls of an operation: of Python, of C, of the system."""
        self._python = self._c = self._system = 0
        self._on = True
        try:
            await work
        finally:
            self._on = False
        return self._python, self._c, self._system

    def _see(self, _frame: FrameType, event: str, called: Any) -> None:
        if not self._on:
            return
        if event == "call":
            self._python += 1
        elif event == "c_call":
            self._c += 1
            self._system += getattr(called, "__module__", None) in _SYSTEM and called.__name__ not in _NO_CALL


async def measure(folder: Path) -> dict[str, Cost]:
    """Return what each operation costs."""
    counter = Counter()
    counter.install()
    try:
        costs = {name: await _cost(counter, work) for name, work in (await _operations(folder)).items()}
    finally:
        counter.remove()
    managed, alone = costs.pop("managed send"), costs.pop("run alone")
    return {**costs, "managed send, more than a run without a session": managed.beyond(alone)}


async def _operations(folder: Path) -> dict[str, Callable[[], Awaitable[object]]]:
    some = turns()
    session = FileSession("order-42", root=folder / "sessions")
    for _ in range(_HISTORY // 4):
        await session.add_items(next(some))
    names = (str(number) for number in range(1_000_000))
    manager = SessionManager(folder / "managed", agents=[_agent()], run_config=_QUIET)
    talker = _agent()
    managed = (await manager.create_session("support")).id
    return {
        "create with the first turn": lambda: FileSession(next(names), root=folder / "sessions").add_items(next(some)),
        "append of 1": lambda: session.add_items(next(some)[:1]),
        "append of 4": lambda: session.add_items(next(some)),
        "read all": session.get_items,
        "read the last 20": partial(session.get_items, 20),
        "info": session.info,
        "managed send": lambda: manager.send_message(managed, "Where is my order?"),
        "run alone": lambda: Runner.run(talker, "Where is my order?", run_config=_QUIET),
    }


def _agent() -> Agent[None]:
    return Agent(name="support", model=ScriptedModel([[assistant_message("On its way.")]] * (3 * _ROUNDS)))


async def _cost(counter: Counter, work: Callable[[], Awaitable[object]]) -> Cost:
    for _ in range(3):
        await work()
    rounds = [await counter.count(work()) for _ in range(_ROUNDS)]
    switches = [await _switches(work()) for _ in range(_ROUNDS)]
    return Cost(*(min(kind) for kind in zip(*rounds, strict=True)), statistics.median(switches))


async def _switches(work: Awaitable[object]) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    await work
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("--dir", type=Path, help="where to put the files; by default the working directory")
    parser.add_argument("--json", action="store_true", help="print JSON in the place of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.dir or Path.cwd()) as folder:
        costs = asyncio.run(measure(Path(folder)))
    if options.json:
        print(json.dumps({name: cost._asdict() for name, cost in costs.items()}, indent=1))
        return
    print(f"Python {sys.version.split()[0]}\n\n| operation | Python | C | system | switches |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, cost in costs.items():
        print(f"| {name} | {cost.python} | {cost.c} | {cost.system} | {cost.switches:g} |")


if __name__ == "__main__":
    main()
