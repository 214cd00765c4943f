"""Other processes that use the store of a test. They are killed for real."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Self, cast

from agents_sessions.testing.contract.bounds import LONGEST
from agents_sessions.testing.contract.part import Opener
from agents_sessions.testing.contract.samples import KEY, said


class Child:
    """A process of its own, for as long as the `with` lasts, that reports numbers."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._reports, self._reporting = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=target, args=(*args, self._reporting), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._reporting.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._reports.close()

    def receive(self, count: int) -> list[int]:
        """Return the next numbers that it reports."""
        numbers = []
        for _ in range(count):
            assert self._reports.poll(LONGEST), f"another process reports nothing within {LONGEST:g} seconds"
            numbers.append(cast("int", self._reports.recv()))
        return numbers

    def finish(self) -> None:
        """Wait until it has done its work."""
        self._process.join(LONGEST)
        assert self._process.exitcode is not None, f"another process did not end within {LONGEST:g} seconds"
        assert self._process.exitcode == 0, "another process failed: see its traceback"

    def kill(self) -> list[int]:
        """Kill it and return what it had reported until then."""
        pid = self._process.pid
        if pid is not None and self._process.is_alive():
            os.kill(pid, signal.SIGKILL)
        self._process.join(LONGEST)
        numbers = []
        try:
            while self._reports.poll(0):
                numbers.append(cast("int", self._reports.recv()))
        except (EOFError, OSError):
            pass
        return numbers


def append_some(open_store: Opener, name: str, count: int, _reporting: Connection) -> None:
    """Append so many entries, and rewrite the session now and then."""

    async def write() -> None:
        store = open_store()
        for number in range(count):
            await store.append(KEY, [said(f"{name}-{number}")])
            if number % 4 == 0:
                await store.rewrite(KEY, lambda history: history.with_facts(name=name))
        await store.aclose()

    asyncio.run(write())


def append_without_end(open_store: Opener, done: int, reporting: Connection) -> None:
    """Append batches of three, and report the number of each when it is acknowledged."""

    async def write() -> None:
        store = open_store()
        number = done
        while True:
            number += 1
            await store.append(KEY, [said(f"{number}{part}") for part in "abc"])
            reporting.send(number)

    asyncio.run(write())


def hold_turn(open_store: Opener, reporting: Connection) -> None:
    """Take the turn lock, report it, and keep it."""

    async def hold() -> None:
        async with open_store().turn_lock(KEY):
            reporting.send(1)
            await asyncio.sleep(LONGEST * 10)

    asyncio.run(hold())
