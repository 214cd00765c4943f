"""A session as Markdown that reads like a conversation. Pure.

What was said stands in block quotes, where its own Markdown is shown as such, and what tools took and gave in code
blocks inside a fold. No text leaves its block: each of its lines is quoted, its code blocks get fences of ours, and
what would reach beyond its block (HTML, link definitions, pictures that a reader would fetch) is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from agents_sessions.model.entries import timestamp
from agents_sessions.pages.shown import Reader, Shown, counted, starts_turn, utf8

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo

_LINE_END = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_NO_LANGUAGE = re.compile(r"[^\w+#.-]")
_RUNS = re.compile("`{3,}")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""What no one can see, and some readers take for an end of the line."""

_SIGNS = {"tool": "🔧", "reasoning": "💭", "record": "▪", "usage": "▪", "handoff": "⇢", "system": "⚙"}


class MarkdownWriter:
    """Writes a session as Markdown."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._before: Shown | None = None
        self._turns = 0
        self._info: SessionInfo | None = None

    def begin(self, info: SessionInfo, sidecars: Mapping[str, bytes], left_out: Iterable[str] = ()) -> bytes:  # noqa: D102
        self._info = info
        facts = [
            f"agent {_code(info.agent_id)}",
            f"session {_code(info.id)}",
            f"begun {_time(timestamp(info.created_at))}",
        ]
        facts += [f"user {_code(info.user_id)}"] if info.user_id is not None else []
        facts += [f"without {', '.join(left)}"] if (left := list(left_out)) else []
        parts = [f"# {_inline(info.name or info.id)}\n", " · ".join(facts) + "\n"]
        return utf8("\n".join(parts))

    def page(self, entries: list[Entry]) -> bytes:  # noqa: D102
        return utf8("".join(part for entry in entries for part in self._parts(self._reader.show(entry))))

    def end(self, money: str = "") -> bytes:  # noqa: D102
        if self._info is None:
            return b""
        spent = self._info.context
        counts = [counted(self._turns, "turn"), counted(spent.items, "item")]
        counts += [counted(spent.requests, "model request")] if spent.requests else []
        tokens = f"{spent.input_tokens:,} input ({spent.cached_tokens:,} cached) + {spent.output_tokens:,} output"
        counts += [f"{tokens} = **{spent.total_tokens:,} tokens**"] if spent.total_tokens else []
        counts += [_inline(money)] if money else []
        return utf8(f"\n---\n\n{' · '.join(counts)}\n")

    def _parts(self, shown: Shown) -> Iterator[str]:
        if starts_turn(shown, self._before):
            self._turns += 1
            yield f"\n---\n\n## Turn {self._turns} · {_time(shown.at)}\n"
        self._before = shown
        if shown.kind in ("user", "assistant", "system"):
            yield f"\n**{_inline(shown.title)}** · {_time(shown.at, of_day=True)}\n\n{quoted(shown.text)}\n"
        elif shown.folded:
            yield _fold(shown)
        elif shown.kind != "usage" or shown.turn is None:  # the end of a turn says what it has spent
            yield _line(shown)


def _line(shown: Shown) -> str:
    note = f" · {_inline(shown.note)}" if shown.note else ""
    text = f" · {_inline(shown.text)}" if shown.text else ""
    return f"\n{_SIGNS[shown.kind]} *{_inline(shown.title)}*{note}{text}\n"


def _fold(shown: Shown) -> str:
    agent = f" · {_html(shown.agent)}" if shown.agent else ""
    note = f" {_html(shown.note)}" if shown.note else ""
    summary = f"{_SIGNS[shown.kind]} <b>{_html(shown.title)}</b>{note}{agent}"
    language = "json" if shown.folded_is_json else ""
    return f"\n<details><summary>{summary}</summary>\n\n{fenced(shown.folded, language)}\n\n</details>\n"


# --- what keeps a text in its block ------------------------------------------------------------------------------


def fenced(text: str, language: str = "") -> str:
    """Return a text as a code block that it cannot end."""
    fence = "`" * (max(map(len, _RUNS.findall(text)), default=2) + 1 if "```" in text else 3)
    return f"{fence}{language}\n{_plain(text)}\n{fence}"


def quoted(text: str) -> str:
    """Return a text as a block quote that it cannot leave, with its own Markdown."""
    lines = _LINE_END.split(_visible(text))
    return "\n".join(f"> {line}" if line else ">" for line in _tamed(lines))


def _tamed(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a message. Its code blocks get fences of ours, so that nothing in them is escaped."""
    place = 0
    while place < len(lines):
        line = lines[place]
        opened = _FENCE.match(line) if "```" in line or "~~~" in line else None
        if opened is None or (opened[1][0] == "`" and "`" in opened[2]):
            yield _escaped(line)
            place += 1
            continue
        end = _end_of_code(lines, place + 1, opened[1])
        yield from fenced("\n".join(lines[place + 1 : end]), re.sub(r"[^\w+#.-]", "", opened[2].strip())[:30]).split(
            "\n"
        )
        place = end + 1


def _end_of_code(lines: list[str], begin: int, fence: str) -> int:
    closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*")
    return next((place for place in range(begin, len(lines)) if closing.fullmatch(lines[place])), len(lines))


def _escaped(line: str) -> str:
    if "<" in line:
        line = _TAG.sub("&lt;", line)
    if "[" in line or "]" in line:
        line = line.replace("![", "!\\[").replace("]:", "]\\:")
    return line


def _plain(text: str) -> str:
    text = _visible(text)
    return _LINE_END.sub("\n", text) if "\r" in text else text


def _visible(text: str) -> str:
    return text if text.isprintable() else _CONTROLS.sub("\ufffd", text)


def _inline(text: str) -> str:
    """Return a text inside a line, as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(_visible(text).split()))


def _code(text: str) -> str:
    """Return an id as code inside a line."""
    text = " ".join(_visible(text).split())
    return f"`{text}`" if "`" not in text else _inline(text)


def _html(text: str) -> str:
    """Return a text inside a line of HTML."""
    return html.escape(" ".join(_visible(text).split()))


def _time(at: str, *, of_day: bool = False) -> str:
    return at[11:16] if of_day else f"{at[:10]} {at[11:16]}"
