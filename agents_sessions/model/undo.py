"""What becomes of a turn whose newest item is taken back, or whose handoff a person has removed. Pure.

The history says who speaks next, beside the items that were said. An item that goes takes with it the handoff that it
asked for, and a turn that has no item left gives the conversation back to who had it before.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from agents_sessions.model.totals import ContextStats, fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agents_sessions.model.entries import Entry, HandoffRecord, TurnRecord


def without_newest_item(entries: Sequence[Entry], place: int) -> list[Entry]:
    """Return entries without the item at a place, the newest one, and without the handoffs that went with it."""
    turn = entries[place].get("turn")
    rest = [*entries[:place], *entries[place + 1 :]]
    if turn is None:
        return rest
    gone = _unfounded_handoffs(rest, turn)
    speaker = _speaker(rest, turn, [cast("HandoffRecord", rest[number]["record"]) for number in gone])
    return [
        entry if speaker is None or not _is_end(entry, turn) else _ended_by(entry, speaker)
        for number, entry in enumerate(rest)
        if number not in gone
    ]


def _unfounded_handoffs(entries: Sequence[Entry], turn: str) -> list[int]:
    """Return where handoffs of a turn stand that neither their call nor an item behind them bears out."""
    items = [number for number, entry in enumerate(entries) if entry.get("turn") == turn and "item" in entry]
    called = Counter(entries[number]["item"].get("name") for number in items)
    gone = []
    for number, entry in enumerate(entries):
        if entry.get("turn") != turn or "record" not in entry or entry["record"]["type"] != "handoff":
            continue
        tool = entry["record"].get("tool")
        called[tool] -= 1
        behind = bool(items) and items[-1] > number
        if not behind and not (items if tool is None else called[tool] >= 0):
            gone.append(number)
    return gone


def _speaker(entries: Sequence[Entry], turn: str, gone: Sequence[HandoffRecord]) -> str | None:
    """Return who has the conversation after all, or None if nothing has changed."""
    before = None
    if not any(entry.get("turn") == turn and "item" in entry for entry in entries):
        first = next((number for number, entry in enumerate(entries) if entry.get("turn") == turn), 0)
        before = fold(ContextStats(), entries[:first]).last_agent
    return before or (gone[0]["from"] if gone else None)


def _is_end(entry: Entry, turn: str) -> bool:
    return entry.get("turn") == turn and "record" in entry and entry["record"]["type"] == "turn"


def _ended_by(entry: Entry, speaker: str) -> Entry:
    return {**entry, "record": cast("TurnRecord", {**entry["record"], "last_agent": speaker})}


def without_lost_speakers(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries in which no turn ends with an agent that only a removed handoff can have brought there.

    The turn ends with the agent that it still leads to: by its handoffs, from the one that made its first request.
    """
    speakers: dict[str, list[str]] = {}
    for entry in entries:
        speakers.setdefault(entry.get("turn", ""), []).extend(_borne_out(entry, speakers.get(entry.get("turn", ""))))
    return [_ended_by(entry, speakers[entry["turn"]][-1]) if _is_lost(entry, speakers) else entry for entry in entries]


def _borne_out(entry: Entry, before: Sequence[str] | None) -> list[str]:
    """Return who speaks from an entry on: the first of a turn by its own request, the others by a handoff."""
    record = entry.get("record")
    if record is not None and record["type"] == "handoff":
        return [record["to"]] if before else [record["from"], record["to"]]
    if record is not None and record["type"] == "usage" and not before:
        return [row["agent"] for row in record["requests"][:1] if "agent" in row and not row.get("nested")]
    return []


def _is_lost(entry: Entry, speakers: Mapping[str, Sequence[str]]) -> bool:
    turn = entry.get("turn", "")
    if not turn or not _is_end(entry, turn) or not speakers[turn]:
        return False
    last = cast("TurnRecord", entry["record"]).get("last_agent")
    return last is not None and last not in speakers[turn]
