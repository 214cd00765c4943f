"""A failed turn, taken out of the history again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry, Item, TurnRecord
    from agents_sessions.stores.base import History
    from agents_sessions.turns.recorder import Recorder


async def roll_back(recorder: Recorder, agent: str) -> None:
    """Take what a run has stored out of the history, and of what the run says that it has stored."""
    turn_id = recorder.turn_id

    def change(history: History) -> History:
        return history.with_entries(rolled_back(history.entries, turn_id, agent))

    await recorder.store.rewrite(recorder.key, change)
    recorder.written = rolled_back(recorder.written, turn_id, agent)


def rolled_back(entries: Sequence[Entry], turn_id: str, agent: str) -> list[Entry]:
    """Return entries without the items and handoffs of a turn. What it has cost, and that it failed, stays.

    The next turn begins where this one began, with `agent`, and `retry` finds its message.
    """
    message = [entry["item"] for entry in entries if _is_message(entry, turn_id)]
    kept = [entry for entry in entries if entry.get("turn") != turn_id or _is_account(entry)]
    end = max(place for place, entry in enumerate(kept) if entry.get("turn") == turn_id)
    kept[end] = _taken_back(kept[end], agent, message)
    return kept


def _is_message(entry: Entry, turn_id: str) -> bool:
    """Tell whether an entry is what a turn was sent: what no agent of it has produced."""
    return entry.get("turn") == turn_id and "item" in entry and "agent" not in entry


def _is_account(entry: Entry) -> bool:
    """Tell whether an entry says what a turn has cost, or how it ended."""
    return "record" in entry and entry["record"]["type"] != "handoff"


def _taken_back(entry: Entry, agent: str, message: list[Item]) -> Entry:
    record = cast("TurnRecord", {**entry["record"], "last_agent": agent})
    if message:
        record["message"] = [*message, *record.get("message", [])]
    return {**entry, "record": record}
