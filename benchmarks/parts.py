"""`python -m benchmarks.parts [--dir DIR]`: what one append is made of, each part timed by itself."""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter

from agents_sessions import FileSession
from agents_sessions.model.entries import check_entries, item_entry, timestamp
from agents_sessions.stores.file.format.lines import encode_entry
from benchmarks.conversation import turns
from benchmarks.measure import figure

_ROUNDS = 400


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("--dir", type=Path, help="where to put the files; by default the working directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=options.dir or Path.cwd()) as folder:
        asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> None:
    some = turns()
    fd = os.open(folder / "raw", os.O_RDWR | os.O_CREAT)
    data = os.urandom(2_500)
    place = iter(range(0, 1 << 40, len(data)))
    full, unsynced = (FileSession(name, root=folder, durability=name) for name in ("full", "process"))
    for session in (full, unsynced):
        await session.add_items(next(some))
    await _show("append, complete", lambda: full.add_items(next(some)))
    await _show("append without the sync", lambda: unsynced.add_items(next(some)))
    await _show("write and sync, file grows", _now(lambda: _write(fd, data, next(place))))
    await _show("write and sync, same place", _now(lambda: _write(fd, data, 0)))
    await _show("hop to a thread and back", lambda: asyncio.get_running_loop().run_in_executor(None, int))
    await _show("check and encode the items", _now(partial(_encode, next(some))))
    os.close(fd)


async def _show(part: str, work: Callable[[], Awaitable[object]]) -> None:
    seconds = []
    for _ in range(_ROUNDS):
        begun = perf_counter()
        await work()
        seconds.append(perf_counter() - begun)
    median, low, high, _ = figure(seconds)
    print(f"{part:30} {median * 1e3:.3f} ms  ({low * 1e3:.3f} to {high * 1e3:.3f})")


def _now(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def wrapped() -> object:
        return work()

    return wrapped


def _write(fd: int, data: bytes, offset: int) -> None:
    os.pwrite(fd, data, offset)
    os.fdatasync(fd)


def _encode(items: list) -> None:  # type: ignore[type-arg]
    entries = [item_entry(item) for item in items]
    check_entries(entries)
    for entry in entries:
        encode_entry(entry, timestamp())


if __name__ == "__main__":
    main()
