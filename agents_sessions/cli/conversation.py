"""Entries of a history as people read them: speakers in colour, tools folded, handoffs, what a turn cost."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from agents_sessions.cli.screen import moment, on_one_line, visible
from agents_sessions.model.entries import item_kind, parse_time
from agents_sessions.model.history import text_of

if TYPE_CHECKING:
    from agents_sessions.cli.screen import Screen
    from agents_sessions.model.entries import Entry

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")
_ROLES = ("user", "assistant", "system", "developer")
KINDS = (*_ROLES, "tool", "handoff", "turn", "reasoning", "other")
"""What entries can be shown by."""


def kind_of(entry: Entry) -> str:
    """Return which of `KINDS` an entry is."""
    if "item" not in entry:
        kind: str = entry["record"]["type"]
        return kind if kind in ("handoff", "turn") else "other"
    kind = item_kind(entry["item"])
    if kind in (*_ROLES, "reasoning"):
        return kind
    return "tool" if kind.endswith(("_call", "_output")) else "other"


class Conversation:
    """Shows entries one after the other.

    Args:
        screen: Where.
        only: Which of `KINDS`; empty for all but reasoning and what merely speaks of the history.
        unfolded: Show the arguments and outputs of tools whole.
    """

    def __init__(self, screen: Screen, only: Collection[str] = (), *, unfolded: bool = False) -> None:
        self._screen = screen
        self._only = frozenset(only) or frozenset(KINDS) - {"reasoning"}
        self._unfolded = unfolded
        self._colours: dict[str, str] = {}
        self._speaker: tuple[str, str] | None = None

    def shows(self, entry: Entry) -> bool:
        """Tell whether an entry is one of those that are shown."""
        return kind_of(entry) in self._only and not ("record" in entry and _said(dict(entry["record"])) is None)

    def show(self, entry: Entry) -> None:
        """Show an entry."""
        if "item" not in entry:
            self._record(entry)
        elif kind_of(entry) in _ROLES:
            self._message(entry)
        else:
            self._tool(entry["item"])

    def _message(self, entry: Entry) -> None:
        role = item_kind(entry["item"])
        name = entry.get("agent") or role if role == "assistant" else role
        self._head(name, role, parse_time(entry["at"]))
        self._screen.console.print(Text(visible(text_of(entry["item"]))), soft_wrap=not self._screen.is_terminal)

    def _head(self, name: str, role: str, at: datetime) -> None:
        speaker = (name, role)
        if self._speaker is not None:
            self._screen.console.print()
        self._speaker = speaker
        self._screen.line((name, f"bold {self._colour(name, role)}"), (f"  {moment(at)}", "dim"))

    def _colour(self, name: str, role: str) -> str:
        if role == "user":
            return "white"
        return self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])

    def _tool(self, item: dict[str, Any]) -> None:
        kind = item_kind(item)
        if kind.endswith("_output"):
            self._folded("  ↳ ", _output_of(item))
        elif kind.endswith("_call"):
            self._folded("  ⚙ ", f"{item.get('name') or kind.removesuffix('_call')} {_arguments_of(item)}".rstrip())
        else:
            self._folded(f"  · {kind} ", _reasoning_of(item) if kind == "reasoning" else "")

    def _folded(self, mark: str, text: str) -> None:
        shown = visible(text) if self._unfolded else on_one_line(text)
        whole = self._unfolded or not self._screen.is_terminal
        self._screen.console.print(
            Text(mark + shown, "dim"),
            no_wrap=not self._unfolded,
            overflow=None if whole else "ellipsis",
            soft_wrap=whole,
        )

    def _record(self, entry: Entry) -> None:
        record: dict[str, Any] = dict(entry["record"])
        said = _said(record)
        if said is None:
            return
        if (answer := record.get("answer")) is not None:
            self._head(record.get("last_agent") or "assistant", "assistant", parse_time(entry["at"]))
            self._screen.line(str(answer))
        style = "red" if record.get("status") in ("failed", "interrupted") else "dim"
        self._screen.line((f"  {said}", style))


def _said(record: dict[str, Any]) -> str | None:
    """Return what a record says to people; None if it is for programs."""
    match record["type"]:
        case "handoff":
            return f"⇢ {record['from']} hands over to {record['to']}"
        case "turn":
            return _turn(record)
        case "view":
            takes = record.get("takes")
            return f"↶ {record['why']}" + (f" of entries {takes[0]} to {takes[1]}" if takes else "")
        case "checkpoint":
            return f"⚑ checkpoint {record['id']}" + (f" ({record['label']})" if record.get("label") else "")
        case "merge":
            return f"⇠ merged from {record['source'][1]} to {record['target'][1]}"
        case "decision":
            return f"✓ {len(record['approved'])} approved, {len(record['rejected'])} rejected"
        case "redaction":
            return f"█ text was removed from {len(record['entries'])} entries"
    return None


def _turn(record: dict[str, Any]) -> str:
    tokens = (record.get("usage") or {}).get("total_tokens", 0)
    error = f" ({record['error']})" if record.get("error") else ""
    spent = f" · {tokens:,} tokens" if tokens else ""
    return f"── {record['status']}{error}{spent} · {record['duration_ms'] / 1000:.1f} s"


def _arguments_of(item: dict[str, Any]) -> str:
    found = next((item[name] for name in ("arguments", "input", "action", "queries") if item.get(name)), "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _output_of(item: dict[str, Any]) -> str:
    found = item.get("output", "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _reasoning_of(item: dict[str, Any]) -> str:
    parts = item.get("summary")
    return (
        " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
        if isinstance(parts, list)
        else ""
    )


def code_blocks(text: str) -> Iterator[str]:
    """Yield the fenced code blocks of a text, without their fences."""
    block: list[str] | None = None
    for line in text.split("\n"):
        if not line.lstrip().startswith("```"):
            if block is not None:
                block.append(line)
        elif block is None:
            block = []
        else:
            yield "\n".join(block)
            block = None
