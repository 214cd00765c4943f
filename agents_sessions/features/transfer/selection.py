"""What of a session goes into an export. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from agents_sessions.model.usage import NOTHING, TOKENS

if TYPE_CHECKING:
    from agents_sessions.features.transfer.values import ExportOptions
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo

_MESSAGES = ("message", None)


def left_out(options: ExportOptions, *, run_state: bool) -> list[str]:
    """Return the names of what an export leaves out of a session; `run_state` says that it has a saved run."""
    parts = {
        "metadata": options.include_metadata,
        "tool calls": options.include_tool_calls,
        "usage": options.include_usage,
        "run state": options.include_run_state or not run_state,
        "masked texts": options.mask is None,
    }
    return [name for name, included in parts.items() if not included]


def select_facts(info: SessionInfo, options: ExportOptions) -> SessionInfo:
    """Return the facts of a session that go into an export."""
    changed: dict[str, object] = {} if options.include_metadata else {"metadata": {}}
    if not options.include_usage:
        nothing: dict[str, Any] = dict.fromkeys((*TOKENS, "context_tokens"), 0)
        changed["context"] = replace(info.context, **nothing)
    return info.model_copy(update=changed) if changed else info


def select(entries: list[Entry], options: ExportOptions) -> list[Entry]:
    """Return the entries that go into an export."""
    if not options.include_tool_calls:
        entries = [_without_asked(entry) for entry in entries if not _is_of_tools(entry)]
    if not options.include_usage:
        entries = [_without_usage(entry) for entry in entries if _record_type(entry) != "usage"]
    return entries


def _is_of_tools(entry: Entry) -> bool:
    """Tell whether an entry is about tools, which is every item that is no message, and every decision."""
    if "item" in entry:
        return entry["item"].get("type") not in _MESSAGES
    return _record_type(entry) == "decision"


def _record_type(entry: Entry) -> object:
    return entry["record"].get("type") if "record" in entry else None


def _without_asked(entry: Entry) -> Entry:
    return _with_record(entry, asked=None) if _record_type(entry) == "turn" else entry


def _without_usage(entry: Entry) -> Entry:
    return _with_record(entry, usage=NOTHING.row()) if _record_type(entry) == "turn" else entry


def _with_record(entry: Entry, **parts: object) -> Entry:
    record: dict[str, Any] = {**entry["record"], **parts}
    kept = {name: value for name, value in record.items() if value is not None}
    return cast("Entry", {**entry, "record": kept})
