"""What people are shown of an entry: who speaks, what is read at once and what is folded. Pure, without any markup."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from agents_sessions.model.entries import item_kind
from agents_sessions.model.history import text_of
from agents_sessions.model.lossless_json import UNDECODED, decode_json, encode_json
from agents_sessions.model.usage import TokenUsage, sum_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agents_sessions.model.entries import Entry, Item

Kind = Literal["user", "assistant", "system", "tool", "reasoning", "handoff", "usage", "record"]
"""What an entry is to a reader. `tool` is a call or its output."""

_ROLES: dict[str, Kind] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}

_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}\Z")
"""Pictures that are shown. All else may hold a script or lead out of the page."""

_PICTURED = 20 << 20


class Shown(NamedTuple):
    """What is shown of one entry."""

    seq: int
    kind: Kind
    title: str
    """Who speaks, or what happened."""
    at: str
    agent: str | None
    turn: str | None
    text: str = ""
    """What is read at once."""
    note: str = ""
    """A few words beside the title."""
    folded: str = ""
    """What is read on demand."""
    folded_is_json: bool = False
    pictures: tuple[str, ...] = ()
    """Pictures as `data:` addresses."""
    usage: TokenUsage | None = None
    failed: bool = False
    is_end_of_turn: bool = False


class Reader:
    """Shows the entries of a session in order. It remembers calls, so that their outputs bear the tool's name."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def show(self, entry: Entry) -> Shown:
        """Return what is shown of the next entry."""
        parts = self._item(entry["item"], entry) if "item" in entry else _record(entry["record"])
        at = entry.get("at", "")
        return Shown(seq=entry.get("seq", 0), at=at, agent=entry.get("agent"), turn=entry.get("turn"), **parts)

    def _item(self, item: Item, entry: Entry) -> dict[str, Any]:
        kind = item_kind(item)
        if kind in _ROLES:
            return _message(item, _ROLES[kind], entry)
        if kind == "reasoning":
            return {"kind": "reasoning", "title": "reasoning", "folded": _reasoning(item) or "(not readable)"}
        if kind.endswith("_output"):
            return self._output(item, kind)
        return self._call(item, kind)

    def _call(self, item: Item, kind: str) -> dict[str, Any]:
        """Show a call of a tool, or whatever has no better form: its name, and all it says."""
        call_id, name = item.get("call_id"), item.get("name")
        title = name if isinstance(name, str) and name else kind
        if isinstance(call_id, str):
            self._remember(call_id, title)
        given = item.get("arguments", item.get("input"))
        folded = pretty_text(given) if isinstance(given, str) else pretty(item)
        is_tool = kind.endswith(("_call", "_request", "_response"))
        note = "called" if is_tool else ""
        return {"kind": "tool" if is_tool else "record", "title": title, "note": note, **folded}

    def _output(self, item: Item, kind: str) -> dict[str, Any]:
        name = self._names.get(str(item.get("call_id")), kind.removesuffix("_call_output"))
        output = item.get("output")
        parts = {"folded": output} if isinstance(output, str) else pretty(output if output is not None else item)
        return {"kind": "tool", "title": name, "note": "returned", **parts, "pictures": _pictures(output)}

    def _remember(self, call_id: str, name: str) -> None:
        if len(self._names) >= 1000:  # an output follows its call soon: a long history must not fill the memory
            self._names.pop(next(iter(self._names)))
        self._names[call_id] = name


def _message(item: Item, kind: Kind, entry: Entry) -> dict[str, Any]:
    role = str(item.get("role"))
    title = entry.get("agent") or role if kind == "assistant" else role
    return {"kind": kind, "title": title, "text": text_of(item), "pictures": _pictures(item.get("content"))}


def _pictures(content: object) -> tuple[str, ...]:
    parts = content if isinstance(content, list) else []
    found = [part.get("image_url") for part in parts if isinstance(part, dict)]
    return tuple(
        url for url in found if isinstance(url, str) and len(url) < _PICTURED and _PICTURE.match(url) is not None
    )


def _reasoning(item: Item) -> str:
    summary = item.get("summary")
    texts = [part.get("text") for part in summary if isinstance(part, dict)] if isinstance(summary, list) else []
    return "\n\n".join(text for text in texts if isinstance(text, str))


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Show a record. One of a type that this version does not know is shown as it is."""
    kind = str(record.get("type"))
    try:
        if kind == "handoff":
            return _handoff(record)
        if kind == "usage":
            rows = sum_rows(record["requests"])
            return {"kind": "usage", "title": "usage", "note": _tokens(rows), "usage": rows}
        if kind == "turn":
            return _turn(record)
        if kind == "decision":
            return {"kind": "record", "title": "decision", "note": _decision(record)}
        if kind in _NOTES:
            return {"kind": "record", "title": kind, "note": _NOTES[kind](record), **_summary_of(record)}
    except (KeyError, TypeError, ValueError, IndexError):  # edited by hand: it is shown as it is
        pass
    return {"kind": "record", "title": kind.replace("_", " "), **pretty(record)}


def _handoff(record: Mapping[str, Any]) -> dict[str, Any]:
    arguments = record.get("arguments")
    folded = pretty_text(arguments) if isinstance(arguments, str) and arguments not in ("", "{}") else {}
    return {"kind": "handoff", "title": f"{record['from']} → {record['to']}", "note": "handoff", **folded}


def _turn(record: Mapping[str, Any]) -> dict[str, Any]:
    usage, status = TokenUsage.model_validate(record["usage"]), str(record["status"])
    error = f" ({record['error']})" if "error" in record else ""
    spent = f" · {_tokens(usage)}" if usage.total_tokens or usage.requests else ""
    note = f"{status.replace('_', ' ')}{error} after {record['duration_ms'] / 1000:.1f} s{spent}"
    failed = status in ("failed", "interrupted", "cancelled")
    waiting = [str(call) for call in record.get("asked", [])]
    text = f"waits for approval of {', '.join(waiting)}" if waiting else ""
    return {
        "kind": "record",
        "title": "end of turn" if status != "awaiting_approval" else "turn pauses",
        "note": note,
        "text": text,
        "usage": usage,
        "failed": failed,
        "is_end_of_turn": True,
    }


def _decision(record: Mapping[str, Any]) -> str:
    said = [(word, record[word]) for word in ("approved", "rejected") if record[word]]
    return "; ".join(f"{word} {', '.join(map(str, calls))}" for word, calls in said)


def _view(record: Mapping[str, Any]) -> str:
    """Say what an undo, a redo or a compaction has done."""
    takes, compacted = record.get("takes"), record.get("compacted")
    range_of = f" of entries {takes[0]} to {takes[1]}" if takes else ""
    upto = f"; the model sees a summary of all up to entry {compacted}" if compacted else ""
    return f"{record['why']}{range_of}{upto}"


def _merge(record: Mapping[str, Any]) -> str:
    first, last = record["range"]
    return (
        f"{record['strategy']} of entries {first} to {last} of session {record['source'][1]} into {record['target'][1]}"
    )


def _summary_of(record: Mapping[str, Any]) -> dict[str, Any]:
    summary = record.get("summary")
    return {"folded": text_of(summary)} if isinstance(summary, dict) else {}


_NOTES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "view": _view,
    "merge": _merge,
    "checkpoint": lambda record: str(record.get("label") or record["id"]),
    "redaction": lambda record: f"text was removed from {counted(len(record['entries']), 'entry')}",
}
"""What is said of the records that change what is seen."""


def _tokens(usage: TokenUsage) -> str:
    return f"{counted(usage.requests, 'request')}, {usage.input_tokens:,} + {usage.output_tokens:,} tokens"


def pretty_text(text: str) -> dict[str, Any]:
    """Return a text to be folded, laid out if it is JSON."""
    try:
        laid_out = _laid_out(text.encode()) if text[:1] in ("{", "[") else None
    except ValueError:
        laid_out = None
    return {"folded": text if laid_out is None else laid_out, "folded_is_json": laid_out is not None}


def pretty(value: object) -> dict[str, Any]:
    """Return JSON data to be folded, laid out."""
    return {"folded": _laid_out(encode_json(value)), "folded_is_json": True}


def _laid_out(data: bytes) -> str:
    try:
        return msgspec.json.format(data, indent=2).decode()
    except UNDECODED:  # half a character, which msgspec does not take
        return json.dumps(decode_json(data), indent=2)


def starts_turn(shown: Shown, before: Shown | None) -> bool:
    """Tell whether a turn begins with an entry: another turn's or, where no one counts turns, a user's message."""
    if before is None:
        return True
    if shown.turn is not None:
        return shown.turn != before.turn
    return shown.kind == "user" and (before.turn is not None or before.kind != "user")


def counted(number: int, word: str) -> str:
    """Return a number with a word, in the plural if it is not one."""
    plural = f"{word[:-1]}ies" if word.endswith("ry") else f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"


def utf8(text: str) -> bytes:
    """Return a text as UTF-8. Half a character becomes the sign for what is unreadable."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
