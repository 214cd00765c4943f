"""What a turn leaves open when it is cut off: calls without an output, and a message that is in no item. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from agents_sessions.model.entries import item_entry

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry, Item

NOT_RUN = "The tool was not run."
MAY_HAVE_RUN = "The output of this tool was lost. The tool may have run."
"""The outputs that calls get if their turn ends without one: so that no model takes them for not made."""


_OUTPUTS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
}
"""The calls that tools of the application answer, and that a model is never shown again without an output."""


def unanswered(entries: Iterable[Entry], before: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the calls among some entries, and of those before, that have no output: their types by their ids."""
    calls = dict(before)
    for entry in entries:
        item = entry.get("item", {})
        kind, call_id = str(item.get("type")), str(item.get("call_id"))
        if kind in _OUTPUTS:
            calls[call_id] = kind
        elif kind in _OUTPUTS.values():
            calls.pop(call_id, None)
    return calls


def held_back(entries: Iterable[Entry]) -> set[str]:
    """Return the calls of a turn, given its entries, that were asked approval for and never got it.

    Only they have not run for sure. A call that waits for one inside its agent has: the agent may have called others.
    """
    held: set[str] = set()
    for entry in entries:
        if "record" not in entry:
            continue
        if entry["record"]["type"] == "turn":
            held |= set(entry["record"].get("asked", ()))
        elif entry["record"]["type"] == "decision":
            held -= set(entry["record"]["approved"])
    return held


def unstored_message(entries: Iterable[Entry]) -> list[Item]:
    """Return what a turn, given its entries, was sent while it waited for approval, if no item has it.

    It comes with the decision and is stored behind the outputs of what was decided, which may take a while.
    """
    message: list[Item] = []
    for entry in entries:
        if "record" in entry and entry["record"]["type"] == "decision":
            message += entry["record"].get("message", [])
        elif "item" in entry and "agent" not in entry:
            message = []
    return message


def lost_outputs(calls: Mapping[str, str], held: Container[str], *, agent: str | None, turn: str) -> list[Entry]:
    """Return outputs for calls whose turn has ended without one: what may have happened, and no more."""
    outputs = [_output(kind, call_id, NOT_RUN if call_id in held else MAY_HAVE_RUN) for call_id, kind in calls.items()]
    return [item_entry(output, agent=agent, turn=turn) for output in outputs]


def _output(kind: str, call_id: str, text: str) -> Item:
    """Return the output of a call in the shape that the SDK gives to one that was rejected."""
    output: Item = {"type": _OUTPUTS[kind], "call_id": call_id, "output": text}
    if kind == "shell_call":
        output["output"] = [{"stdout": "", "stderr": text, "outcome": {"type": "exit", "exit_code": 1}}]
    elif kind == "apply_patch_call":
        output["status"] = "failed"
    return output
