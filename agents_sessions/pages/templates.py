"""HTML of a session, and the policy under which a browser reads it.

Every value goes through the escaping of Jinja; what it lets pass as it is (`Markup`) is made in this module alone. No
attribute holds a style or a handler, so that the policy can forbid both: only the one script and the one style sheet
whose digests it names are ever used, and nothing is fetched.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agents_sessions.errors import MissingExtraError
from agents_sessions.model.lossless_json import encode_json

if TYPE_CHECKING:
    from jinja2 import Environment

    from agents_sessions.model.entries import Entry
    from agents_sessions.pages.shown import Shown

COLOURS = 10
"""How many colours the style sheet has for agents."""

_IN_SCRIPT = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class Bar(NamedTuple):
    """The tokens of a turn, as parts of one bar."""

    cached: int
    fresh: int
    """Input that no cache served."""
    input: int
    output: int
    scale: int
    """How many tokens the whole width stands for."""

    @property
    def total(self) -> int:
        """Return all tokens of the turn."""
        return self.input + self.output

    @property
    def label(self) -> str:
        """Return what is read to who does not see it."""
        return f"{self.input:,} input tokens, {self.cached:,} of them cached, and {self.output:,} output tokens"


class Row(NamedTuple):
    """One entry of a page, in the parts that its template puts together.

    The template takes it apart by position: to look up names would cost it more than all else.
    """

    anchor: str
    classes: str
    title: str
    agent: str
    note: str
    clock: str
    text: str
    pictures: tuple[str, ...]
    bar: Bar | None
    folded: str
    folded_title: str
    peek: str
    raw: str
    """Its JSON, safe inside a script element."""
    turn: int | None
    """The number of the turn that begins with it."""
    date: str
    closes: bool
    """Whether a turn before it ends."""


def row_of(
    shown: Shown, raw: str, colour: int | None, turn: int | None = None, *, closes: bool = False, scale: int = 1
) -> Row:
    """Return what a page has of an entry.

    Args:
        shown: What is shown of it.
        raw: Its JSON; see `raw_json`.
        colour: The colour of its agent.
        turn: The number of the turn that begins with it.
        closes: Whether a turn before it ends.
        scale: How many tokens the bar of a turn has room for.
    """
    is_folded_tool = shown.kind == "tool" and shown.folded != ""
    names_it = shown.agent is None or shown.agent == shown.title or shown.kind == "handoff"
    folded = _visible(shown.folded)
    return Row(
        anchor=f"e{shown.seq}",
        classes=_classes(shown, colour),
        title=_visible(shown.title),
        agent="" if names_it else _visible(str(shown.agent)),
        note="" if is_folded_tool else _visible(shown.note),
        clock=shown.at[11:19],
        text=_visible(shown.text),
        pictures=shown.pictures,
        bar=bar_of(shown, scale),
        folded=folded,
        folded_title=shown.note if is_folded_tool and shown.note else "details",
        peek=folded[:120],
        raw=raw,
        turn=turn,
        date="" if turn is None else f"{shown.at[:10]} {shown.at[11:16]}",
        closes=closes,
    )


def _classes(shown: Shown, colour: int | None) -> str:
    """Return the classes of an entry, all of them our own words."""
    classes = f"entry {shown.kind}" if colour is None else f"entry {shown.kind} c{colour}"
    return f"{classes}{' failed' if shown.failed else ''}{' end' if shown.is_end_of_turn else ''}"


def bar_of(shown: Shown, scale: int) -> Bar | None:
    """Return the bar of a turn that has ended and has cost something."""
    usage = shown.usage
    if usage is None or not shown.is_end_of_turn or not usage.total_tokens:
        return None
    cached = min(usage.cached_tokens, usage.input_tokens)
    return Bar(cached, usage.input_tokens - cached, usage.input_tokens, usage.output_tokens, scale)


def begin(title: str, facts: Sequence[tuple[str, str]], left_out: Iterable[str] = ()) -> str:
    """Return the page up to its first entry."""
    environment, parts = loaded()
    style, script = parts
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("begin.html")
    facts = [(name, _visible(value)) for name, value in facts]
    return template.render(
        title=_visible(title), facts=facts, left_out=list(left_out), policy=policy, style=_as_it_is(style)
    )


def rows(entries: Sequence[Row]) -> str:
    """Return some entries."""
    return loaded()[0].get_template("entries.html").render(entries=entries)


def end(agents: Mapping[str, int], counts: str, *, any_turn: bool) -> str:
    """Return the end of the page."""
    environment, (_, script) = loaded()
    template = environment.get_template("end.html")
    colours = [(_visible(agent), colour) for agent, colour in agents.items()]
    return template.render(agents=colours, counts=counts, any_turn=any_turn, script=_as_it_is(script))


def raw_json(entry: Entry) -> str:
    """Return the JSON of an entry as it may stand inside a script element: no character of it opens or ends one."""
    from markupsafe import Markup

    text = encode_json(entry).decode()
    for character, escape in _IN_SCRIPT.items():
        if character in text:
            text = text.replace(character, escape)
    return Markup(text)  # noqa: S704 -- the characters that mean something are escaped


@lru_cache(maxsize=1)
def loaded() -> tuple[Environment, tuple[str, str]]:
    """Return the templates, and the texts of style sheet and script.

    Raises:
        MissingExtraError: Jinja is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise MissingExtraError("HTML", "html") from None
    loader = PackageLoader("agents_sessions", "pages")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    style, script = (loader.get_source(environment, name)[0] for name in ("page.css", "page.js"))
    return environment, (style, script)


def _visible(text: str) -> str:
    """Return a text without characters that a page cannot hold."""
    return text if text.isprintable() else _CONTROLS.sub("\ufffd", text)


def _as_it_is(text: str) -> str:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 -- our own style sheet or script


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
