"""`python -m benchmarks.encrypted [--sessions N] [--dir DIR]`: encryption, beside plain files and the SDK."""

import argparse
import asyncio
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from agents import SQLiteSession
from agents.extensions.memory import EncryptedSession

from agents_sessions import FileSession, FileStore, KeyRing, SessionInfo, SessionManager
from agents_sessions.model.entries import item_entry
from benchmarks.conversation import turns
from benchmarks.measure import Arm, figure, file_system, interleave
from benchmarks.report import environment

_ITEMS = 1_000
_KEYS = {"k1": bytes(32), "k2": bytes([1]) * 32}


async def _sessions(root: Path) -> dict[str, Any]:
    sdk = SQLiteSession("long", root / "sdk.db")
    sessions = {
        "plain": FileSession("long", root=root / "plain"),
        "encrypted": FileSession("long", root=root / "encrypted", encryption=KeyRing({"k1": _KEYS["k1"]})),
        "SDK's EncryptedSession": EncryptedSession("long", sdk, "a passphrase of the SDK", ttl=10**9),
    }
    for session in sessions.values():
        items = [item for turn, _ in zip(turns(), range(_ITEMS), strict=False) for item in turn][:_ITEMS]
        for begin in range(0, _ITEMS, 4):
            await session.add_items(items[begin : begin + 4])
    return sessions


async def _compare(root: Path, rounds: int) -> None:
    sessions = await _sessions(root)
    sizes = {name: (root / name / "default" / "long.json").stat().st_size for name in ("plain", "encrypted")}
    some = turns(1)
    reads = {name: Arm(session.get_items) for name, session in sessions.items()}
    appends = {name: Arm(lambda session=session: session.add_items(next(some))) for name, session in sessions.items()}
    await interleave(list(reads.values()), rounds)
    await interleave(list(appends.values()), rounds)
    print(f"{'':24}{'read of 1,000':>16}{'append':>12}{'bytes per item':>16}")
    for name in sessions:
        read, append = (figure(arms[name].seconds).median * 1000 for arms in (reads, appends))
        size = f"{sizes[name] / _ITEMS:16.0f}" if name in sizes else ""
        print(f"{name:24}{read:13.2f} ms{append:9.2f} ms{size}")


async def _rotate(root: Path, count: int) -> None:
    old = FileStore(root, encryption=KeyRing({"k1": _KEYS["k1"]}), durability="process")
    some = turns()
    for number in range(count):
        await old.create(SessionInfo(id=f"s{number}", agent_id="support"), [item_entry(dict(i)) for i in next(some)])
    async with SessionManager(FileStore(root, encryption=KeyRing(_KEYS, current="k2"))) as manager:
        begun = perf_counter()
        report = await manager.encryption.rotate_keys()
        print(f"rotation of {report.rotated:,} sessions: {perf_counter() - begun:.1f} s")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encrypted", description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000, help="how many sessions to rotate")
    parser.add_argument("--rounds", type=int, default=40, help="how often each is done")
    parser.add_argument("--dir", type=Path, help="where to put the files; by default the working directory")
    options = parser.parse_args()
    place = options.dir or Path.cwd()
    with tempfile.TemporaryDirectory(prefix=".benchmark-", dir=place) as folder:
        print(environment(file_system(place)))
        asyncio.run(_compare(Path(folder), options.rounds))
        asyncio.run(_rotate(Path(folder) / "rotated", options.sessions))


if __name__ == "__main__":
    main()
