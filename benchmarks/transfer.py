"""How fast sessions go out and come in, in bytes of the session file, and the memory that it takes."""

from collections.abc import AsyncIterator
from pathlib import Path

from agents_sessions import FileStore, SessionInfo, SessionKey
from agents_sessions.model.entries import Entry, item_entry
from benchmarks.contenders import OURS
from benchmarks.conversation import ITEMS_PER_TURN, turns
from benchmarks.measure import ask, figure
from benchmarks.report import Row
from benchmarks.transfer_once import LONG, MANY, SHORT

_GOALS = {"json": 80e6, "jsonl": 80e6, "markdown": 30e6, "html": 20e6, "yaml": 8e6, "import": 40e6}
_SESSIONS, _ENTRIES_EACH = 1_000, 20
_MEMORY = 40 << 20


async def transfers(folder: Path, entries: int, rounds: int) -> list[Row]:
    """One long session in each format and back, and a thousand short ones to one archive."""
    store = FileStore(folder / "sessions", durability="process")
    await _make(store, SessionKey("long", LONG), entries)
    for number in range(_SESSIONS):
        await _make(store, SessionKey(MANY, f"many-{number}"), _ENTRIES_EACH)
    await _make(store, SessionKey(SHORT, SHORT), ITEMS_PER_TURN)
    size = store.path(SessionKey("long", LONG)).stat().st_size
    return [row for what, goal in _GOALS.items() for row in _of(folder, what, goal, size, rounds)] + _many(
        folder, rounds
    )


def _of(folder: Path, what: str, goal: float, size: int, rounds: int) -> list[Row]:
    taken = [ask("-m", "benchmarks.transfer_once", str(folder), what) for _ in range(rounds)]
    name = "import of jsonl" if what == "import" else f"export to {what}"
    speed, memory = figure([size / one["seconds"] for one in taken]), figure([one["bytes"] for one in taken])
    return [
        Row(f"{name}, {size / 1e6:.0f} MB", "MB/s", {OURS.name: speed}, bound=goal, goal_is="at least"),
        Row(f"{name}, memory above idle", "MB", {OURS.name: memory}, bound=_MEMORY),
    ]


def _many(folder: Path, rounds: int) -> list[Row]:
    taken = [ask("-m", "benchmarks.transfer_once", str(folder), "many")["seconds"] for _ in range(rounds)]
    return [Row(f"export of {_SESSIONS:,} sessions to one archive", "s", {OURS.name: figure(taken)}, bound=10.0)]


async def _make(store: FileStore, key: SessionKey, entries: int) -> None:
    async def history() -> AsyncIterator[Entry]:
        some = turns(entries)
        for number in range(entries // ITEMS_PER_TURN):
            for place, item in enumerate(next(some)):
                yield item_entry(dict(item), agent="support" if place else None, turn=f"turn-{number}")

    await store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id), history())
