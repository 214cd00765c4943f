"""What the entries of one turn say: its message, its unanswered calls, what a rollback leaves of it. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from agents_sessions.model.calls import MAY_HAVE_RUN, NOT_RUN, call_id_of
from agents_sessions.model.entries import TurnRecord, item_entry, record_entry
from agents_sessions.model.pairs import OUTPUTS
from agents_sessions.model.usage import NOTHING

if TYPE_CHECKING:
    from agents_sessions.model.entries import DecisionRecord, Entry, Item

_ANSWERED_BY_TOOLS = (
    "function_call",
    "custom_tool_call",
    "shell_call",
    "local_shell_call",
    "apply_patch_call",
    "mcp_approval_request",
)
_OUTPUTS = {call: OUTPUTS[call] for call in _ANSWERED_BY_TOOLS}
"""The calls that the application answers, with the type of the answer. A service refuses a history with an open one."""


# --- its message -------------------------------------------------------------------------------------------------


def is_message(entry: Entry) -> bool:
    """Tell whether an entry of a turn is an item that the turn was sent: one that no agent has produced."""
    return "item" in entry and "agent" not in entry


def unstored_message(entries: Iterable[Entry]) -> list[Item]:
    """Return what a turn was sent while it awaited approval, if no item has it yet.

    Such a message comes with the decision. The Runner stores it behind the outputs of the decided calls, which may
    take a while.
    """
    message: list[Item] = []
    for entry in entries:
        if "record" in entry and entry["record"]["type"] == "decision":
            message += entry["record"].get("message", [])
        elif is_message(entry):
            message = []
    return message


# --- its calls ---------------------------------------------------------------------------------------------------


def unanswered(entries: Iterable[Entry], before: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the calls among some entries, and of those before, that have no output: their types by their ids."""
    calls = dict(before)
    for entry in entries:
        item = entry.get("item", {})
        kind = str(item.get("type"))
        if kind in _OUTPUTS:
            calls[call_id_of(item)] = kind
        elif kind in _OUTPUTS.values():
            calls.pop(call_id_of(item), None)
    return calls


def orphaned(entries: Sequence[Entry]) -> list[int]:
    """Return the places of the outputs that no call before them asks for."""
    asked: set[tuple[str, str]] = set()
    places = []
    for place, entry in enumerate(entries):
        item = entry.get("item", {})
        kind = str(item.get("type"))
        if kind in _OUTPUTS:
            asked.add((_OUTPUTS[kind], call_id_of(item)))
        elif kind in _OUTPUTS.values() and (kind, call_id_of(item)) not in asked:
            places.append(place)
    return places


def unapproved(entries: Iterable[Entry]) -> set[str]:
    """Return the calls of a turn that it asked approval for and did not get.

    Only these certainly have not run. A call that waits for an approval inside its agent may have: that agent may have
    called other tools before.
    """
    calls: set[str] = set()
    for entry in entries:
        if "record" not in entry:
            continue
        if entry["record"]["type"] == "turn":
            calls |= set(entry["record"].get("asked", ()))
        elif entry["record"]["type"] == "decision":
            calls -= set(entry["record"]["approved"])
    return calls


def lost_outputs(calls: Mapping[str, str], not_run: Container[str], *, agent: str | None, turn: str) -> list[Entry]:
    """Return outputs for the unanswered calls of a turn that has ended. They say whether the tool may have run."""
    outputs = [
        _output(kind, call_id, NOT_RUN if call_id in not_run else MAY_HAVE_RUN) for call_id, kind in calls.items()
    ]
    return [item_entry(output, agent=agent, turn=turn) for output in outputs]


def _output(kind: str, call_id: str, text: str) -> Item:
    """Return the output of a call in the shape that the SDK gives to a rejected one."""
    if kind == "mcp_approval_request":
        return {"type": _OUTPUTS[kind], "approval_request_id": call_id, "approve": False, "reason": text}
    output: Item = {"type": _OUTPUTS[kind], "call_id": call_id, "output": text}
    if kind == "shell_call":
        output["output"] = [{"stdout": "", "stderr": text, "outcome": {"type": "exit", "exit_code": 1}}]
    elif kind == "apply_patch_call":
        output["status"] = "failed"
    return output


# --- its end -----------------------------------------------------------------------------------------------------


def newest_end(entries: Sequence[Entry]) -> Entry | None:
    """Return the end of the newest turn that has one among some entries."""
    ends = (entry for entry in reversed(entries) if "record" in entry and entry["record"]["type"] == "turn")
    return next(ends, None)


def has_message_to_answer(entries: Iterable[Entry]) -> bool:
    """Tell whether a message stands behind the last turn that completed."""
    waits = False
    for entry in entries:
        if "record" in entry and entry["record"]["type"] == "turn" and entry["record"]["status"] == "completed":
            waits = False
        waits = waits or is_message(entry)
    return waits


def interrupted(entries: Sequence[Entry], *, agent: str | None, turn: str) -> list[Entry]:
    """Return what ends a turn whose process died: outputs for its unanswered calls, and its record."""
    record: TurnRecord = {"type": "turn", "status": "interrupted", "usage": NOTHING.row(), "duration_ms": 0}
    if message := unstored_message(entries):
        record["message"] = message
    outputs = lost_outputs(unanswered(entries), unapproved(entries), agent=agent, turn=turn)
    return [*outputs, record_entry(record, turn=turn)]


def given_up(
    entries: Sequence[Entry], *, agent: str | None, turn: str, reason: str, message: Sequence[Item] = ()
) -> list[Entry]:
    """Return what ends a turn that awaits approval and that no one will resume: its calls are rejected, and answered.

    The message that is to start a new turn is in the record until the new turn has stored it.
    """
    calls, not_run = unanswered(entries), unapproved(entries)
    decision: DecisionRecord = {"type": "decision", "approved": [], "rejected": list(calls)}
    record: TurnRecord = {"type": "turn", "status": "cancelled", "usage": NOTHING.row(), "duration_ms": 0}
    record["error"] = reason
    if unsent := [*unstored_message(entries), *message]:
        record["message"] = unsent
    outputs = lost_outputs(calls, not_run, agent=agent, turn=turn)
    return [record_entry(decision, turn=turn), *outputs, record_entry(record, turn=turn)]


def rolled_back(entries: Sequence[Entry], turn: str, agent: str) -> list[Entry]:
    """Return entries without the items and handoffs of a turn. What it has cost, and that it failed, stays.

    The next turn starts where this one started, with `agent`, and `retry` finds its message in the record of its end.
    """
    message = [entry["item"] for entry in entries if entry.get("turn") == turn and is_message(entry)]
    kept = [entry for entry in entries if entry.get("turn") != turn or _survives_rollback(entry)]
    end = max(place for place, entry in enumerate(kept) if entry.get("turn") == turn)
    record = cast("TurnRecord", {**kept[end]["record"], "last_agent": agent})
    if message:
        record["message"] = [*message, *record.get("message", [])]
    kept[end] = {**kept[end], "record": record}
    return kept


def _survives_rollback(entry: Entry) -> bool:
    return "record" in entry and entry["record"]["type"] != "handoff"
