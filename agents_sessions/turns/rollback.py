"""A failed turn, taken out of the history again. Pure."""

from typing import cast

from agents_sessions.entries import Entry, Item, RunRecord
from agents_sessions.stores.base import History


def rolled_back(history: History, run_id: str, agent: str) -> History:
    """Return a history without the items and handoffs of a turn. What it has cost, and that it failed, stays.

    The next turn begins where this one began, with `agent`, and `retry` finds its message.
    """
    message = [entry["item"] for entry in history.entries if _is_message(entry, run_id)]
    kept = [entry for entry in history.entries if entry.get("run") != run_id or _is_account(entry)]
    end = max(place for place, entry in enumerate(kept) if entry.get("run") == run_id)
    kept[end] = _taken_back(kept[end], agent, message)
    return history.with_entries(kept)


def _is_message(entry: Entry, run_id: str) -> bool:
    """Tell whether an entry is what a turn was sent: what no agent of it has produced."""
    return entry.get("run") == run_id and "item" in entry and "agent" not in entry


def _is_account(entry: Entry) -> bool:
    """Tell whether an entry says what a turn has cost, or how it ended."""
    return "record" in entry and entry["record"]["type"] != "handoff"


def _taken_back(entry: Entry, agent: str, message: list[Item]) -> Entry:
    record = cast("RunRecord", {**entry["record"], "last_agent": agent})
    if message:
        record["message"] = [*message, *record.get("message", [])]
    return {**entry, "record": record}
