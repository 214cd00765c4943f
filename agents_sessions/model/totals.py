"""The running totals of a session.

`ContextStats` is a fold over the entries of the history and nothing else: computed again from the first
entry, it gives the same numbers. The file keeps it at its end, so that reading it costs the same at any length.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import Entry, Record, TurnRecord, TurnStatus, ViewRecord, item_kind
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.model.usage import TOKENS, RequestRow
from agents_sessions.model.view import NOTHING_HIDDEN, View

_COUNTED = {
    "user": "user_messages",
    "assistant": "assistant_messages",
    "system": "system_messages",
    "developer": "system_messages",
    "function_call": "function_calls",
    "function_call_output": "function_call_outputs",
    "reasoning": "reasoning_items",
}
_SUMS = (*TOKENS, "context_tokens")


@dataclass(frozen=True, kw_only=True)
class ContextStats:
    """What a session holds and what it has cost."""

    items: int = 0
    """SDK items of any kind that are stored, those that a view hides included."""
    user_messages: int = 0
    assistant_messages: int = 0
    system_messages: int = 0
    """Messages of the roles system and developer."""
    function_calls: int = 0
    function_call_outputs: int = 0
    reasoning_items: int = 0
    other_items: int = 0
    handoffs: int = 0
    turns: int = 0
    """Turns that have ended, however they ended. One that waits for approval has not."""
    failed_turns: int = 0
    """Turns that ended with the status failed."""
    requests: int = 0
    """Model requests, those of agents used as tools included."""
    input_tokens: int = 0
    cached_tokens: int = 0
    """The part of `input_tokens` that the provider's cache served."""
    cache_write_tokens: int = 0
    """The part of `input_tokens` that the provider wrote to its cache."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """The part of `output_tokens` that was reasoning."""
    total_tokens: int = 0
    context_tokens: int = 0
    """Input and output of the newest request: how full the model's context window was.

    0 where no request has been made since the view was changed, by an undo or a compaction: then no one knows.
    """
    last_agent: str | None = None
    """The agent that ended the newest turn or, while one runs, handled the newest request."""
    last_status: TurnStatus | None = None
    """How the newest turn ended."""
    open_turn: str | None = None
    """A turn that has entries but no end: it is running or, if no one holds the turn lock, its process died."""
    last_entry_at: str | None = None
    """When the newest entry was stored, UTC with milliseconds: the last activity, which no change of a fact moves."""
    checkpoints: int = 0
    newest_checkpoint: int = 0
    """The number of the newest checkpoint's entry; 0 if there is none."""
    view: View | None = None
    """What of the history is seen; None for all of it."""

    def to_json(self) -> JsonObject:
        """Return the numbers as they stand in the file. What few sessions have is there only if it says something."""
        data = dict(self.__dict__)
        if not data["checkpoints"]:
            del data["checkpoints"], data["newest_checkpoint"]
        if data["view"] is None:
            del data["view"]
        else:
            data["view"] = data["view"].to_json()
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ContextStats":
        """Return the totals from a file. Names that are not known are left out, missing ones are zero.

        Raises:
            KeyError, TypeError, ValueError: A value is of another type than its field.
        """
        if not isinstance(data, dict):
            raise TypeError("the totals are no dict")
        view = None if data.get("view") is None else View.from_json(data["view"])
        totals = cls(**{name: data[name] for name in _FIELDS if name in data}, view=view)
        if not all(type(getattr(totals, name)) in kinds for name, kinds in _FIELDS.items()):
            raise TypeError("the totals hold a value of another type")
        return totals


_FIELDS = {
    field.name: (int, float) if field.default == 0 else (str, type(None))
    for field in fields(ContextStats)
    if field.name != "view"
}


def fold(stats: ContextStats, entries: Iterable[Entry]) -> ContextStats:
    """Return the totals after some more entries.

    Raises:
        InvalidItemError: A record lacks a part, or has one of another type, or a total is too large for a float.
    """
    totals: dict[str, Any] = dict(stats.__dict__)
    entry: Entry | None = None
    try:
        for entry in entries:
            if "turn" in entry:
                totals["open_turn"] = entry["turn"]
            if "item" in entry:
                totals["items"] += 1
                totals[_COUNTED.get(item_kind(entry["item"]), "other_items")] += 1
            elif "record" in entry:
                _count_record(totals, entry["record"], entry)
        if entry is not None and "at" in entry:
            totals["last_entry_at"] = entry["at"]
        _check_totals(totals)
    except OverflowError:
        raise InvalidItemError("a record", "has a number that makes a total too large") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidItemError("a record", "is incomplete, or has a value of the wrong type") from None
    after = object.__new__(ContextStats)  # a frozen __init__ sets twenty fields one by one, on every append
    after.__dict__.update(totals)
    return after


def _check_totals(totals: dict[str, Any]) -> None:
    for name in ("last_agent", "last_status", "open_turn", "last_entry_at"):
        if totals[name] is not None and not isinstance(totals[name], str):
            raise TypeError(name)
    for name in _SUMS:
        if type(totals[name]) is float and not math.isfinite(totals[name]):
            raise OverflowError(name)


def _count_record(totals: dict[str, Any], record: Record, entry: Entry) -> None:
    if record["type"] == "handoff":
        totals["handoffs"] += 1
        totals["last_agent"] = record["to"]
    elif record["type"] == "usage":
        for row in record["requests"]:
            _count_request(totals, row)
    elif record["type"] == "turn":
        _count_turn(totals, record)
    elif record["type"] == "view":
        _change_view(totals, record, entry.get("seq", 0))
    elif record["type"] == "checkpoint":
        totals["checkpoints"] += 1
        totals["newest_checkpoint"] = entry.get("seq", 0)


def _change_view(totals: dict[str, Any], record: ViewRecord, seq: int) -> None:
    view = View.of(record, seq)
    totals["view"] = None if view == NOTHING_HIDDEN else view
    totals["context_tokens"] = 0
    totals["last_agent"] = record.get("last_agent", totals["last_agent"])
    totals["last_status"] = record.get("last_status", totals["last_status"])


def _count_request(totals: dict[str, Any], row: RequestRow) -> None:
    for name in TOKENS:
        totals[name] += row.get(name, 0)
    if not row.get("nested"):
        if row["total_tokens"]:
            totals["context_tokens"] = row["input_tokens"] + row["output_tokens"]
        totals["last_agent"] = row.get("agent", totals["last_agent"])


def _count_turn(totals: dict[str, Any], record: TurnRecord) -> None:
    totals["open_turn"] = None
    totals["turns"] += record["status"] != "awaiting_approval"
    totals["failed_turns"] += record["status"] == "failed"
    totals["last_status"] = record["status"]
    totals["last_agent"] = record.get("last_agent", totals["last_agent"])
