"""A search through the texts of sessions, and its answer in pages. Pure; the same for every backend."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from agents_sessions.errors import InvalidValueError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, item_kind, parse_time
from agents_sessions.model.history import text_of
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import (
    BROKEN_CURSOR,
    Page,
    SessionQuery,
    check_limit,
    decode_cursor,
    digest_of,
    encode_cursor,
    newest_first,
)
from agents_sessions.model.words import Mark, Phrase, phrases_of, places, relevance, snippet

SearchKind = Literal["name", "message", "tool_call", "tool_output"]
"""Where a text stands: in the name of a session, a message of user or assistant, a call of a tool, or its output."""

MAX_TYPED = 1000
"""Longest text that can be searched for."""

MAX_TEXT = 1_000_000
"""So many characters of one entry are looked through."""

_NAME_FIRST = 1_000_000

_AnyPlaced = TypeVar("_AnyPlaced", bound="Placed")
_NOT_SAID = frozenset({"type", "id", "call_id", "status", "role", "encrypted_content", "phase", "namespace"})


@dataclass(frozen=True, kw_only=True)
class SearchQuery:
    """What to look for, and in which sessions.

    Raises:
        InvalidValueError: A value is none that can be searched for, or the limit is out of its bounds.
    """

    text: str
    """Words, in any order; "words between quotes" as a phrase. The last one may be the beginning of a word."""
    kinds: tuple[SearchKind, ...] = ("name", "message")
    sessions: SessionQuery = field(default_factory=SessionQuery)
    """Which sessions. Its order, limit and cursor do not matter."""
    limit: int = 20
    cursor: str | None = None
    """The `next_cursor` of the page before, asked with the same text, kinds and filters."""

    def __post_init__(self) -> None:
        refused = {name: why for name, why in self._refused() if why}
        if refused:
            raise InvalidValueError(refused)
        object.__setattr__(self, "kinds", tuple(dict.fromkeys(self.kinds)))
        self.position()

    def _refused(self) -> Iterator[tuple[str, str | None]]:
        if not isinstance(self.text, str):
            yield "text", f"must be a string, not a {type(self.text).__name__}"
        elif len(self.text) > MAX_TYPED:
            yield "text", f"must have at most {MAX_TYPED} characters, not {len(self.text)}"
        known = get_args(SearchKind)
        if isinstance(self.kinds, str) or not self.kinds or not all(kind in known for kind in self.kinds):
            yield "kinds", f"must be some of {', '.join(map(repr, known))}, not {self.kinds!r:.80}"
        yield "limit", check_limit(self.limit)
        if not isinstance(self.cursor, str | None):
            yield "cursor", f"must be a string, not a {type(self.cursor).__name__}"

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """What must be found. None at all finds nothing."""
        return phrases_of(self.text)

    def page_of(
        self, found: Iterable[_AnyPlaced], behind: "Place | None", window: str | None = None, below: str | None = None
    ) -> Page[_AnyPlaced]:
        """Return the page behind a place, out of all that was found, in any order.

        A backend that ranks some hits at a time names the window that it has looked through, and the one below it.
        """
        rest = (one for one in found if behind is None or one.place > behind)
        first = heapq.nsmallest(self.limit + 1, rest, key=lambda one: one.place)
        if len(first) > self.limit:
            del first[self.limit :]
            return Page(first, self.cursor_at(window, first[-1].place))
        return Page(first, None if below is None else self.cursor_at(below))

    def cursor_at(self, window: str | None, place: "Place | None" = None) -> str:
        """Return the cursor of the page behind a place in a window, or of the first one in it."""
        return encode_cursor(self.digest(), window, *(place or ()))

    def position(self) -> "tuple[str | None, Place | None]":
        """Return the window that the cursor names, and the place in it; None and None without a cursor.

        Raises:
            InvalidValueError: The cursor is broken, or of another search.
        """
        if self.cursor is None:
            return None, None
        try:
            window, *place = decode_cursor(self.cursor, self.digest())
            found = Place(*place) if place else None
        except (TypeError, ValueError) as error:
            raise error if isinstance(error, InvalidValueError) else InvalidValueError(BROKEN_CURSOR) from None
        fits = found is None or list(map(type, found)) == [int, int, str, str, int, str]
        if not fits or not isinstance(window, str | None):
            raise InvalidValueError(BROKEN_CURSOR)
        return window, found

    def digest(self) -> str:
        """Return what tells one search from another. The size of the pages is no part of it."""
        return digest_of([self.text, sorted(self.kinds), self.sessions.digest()])


class Place(NamedTuple):
    """Where a hit stands among all others: smaller is earlier. No two are equal."""

    rank: int
    """The better, the smaller."""
    age: int
    """Milliseconds before the end of time: of hits that are as good, the newest is first."""
    agent_id: str
    session_id: str
    seq: int
    kind: str


class Placed(Protocol):
    """What stands among hits."""

    @property
    def place(self) -> Place:
        """Where it stands."""


def rank_of(kind: str, text: str, phrases: Sequence[Phrase]) -> int:
    """Return how good a text is, the better the smaller. Names come first."""
    return -(relevance(text, phrases) + _NAME_FIRST * (kind == "name"))


class Text(NamedTuple):
    """A text that can be searched through, and where it stands."""

    kind: SearchKind
    seq: int
    """The number of its entry; 0 for the name of the session."""
    at: datetime
    text: str
    role: str | None = None
    agent: str | None = None

    def place(self, key: SessionKey, phrases: Sequence[Phrase]) -> Place:
        """Return where the text stands among all that were found."""
        rank = rank_of(self.kind, self.text, phrases)
        return Place(rank, newest_first(self.at), key.agent_id, key.session_id, self.seq, self.kind)


class Found(NamedTuple):
    """A text that was found, and where it stands among the others."""

    place: Place
    info: SessionInfo
    text: Text


class SearchHit(BaseModel):
    """A place where a search has found something."""

    model_config = ConfigDict(frozen=True)

    session: SessionInfo
    """The session, as it was when it was found."""
    kind: SearchKind
    seq: int | None
    """The number of the entry, for `get_history(after=seq - 1, limit=1)`; None for the name of the session."""
    at: datetime
    """When the entry was stored, or the session created."""
    role: str | None
    """Who says it, `user` or `assistant`, if it is a message."""
    agent: str | None
    """The agent that produced it, if one did."""
    snippet: str
    """A part of the text around the first place, on one line."""
    marks: tuple[Mark, ...]
    """What was found in the snippet: `snippet[mark.start:mark.end]`."""

    @property
    def key(self) -> SessionKey:
        """The session's full name in its store."""
        return self.session.key

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self.session.id


def hit(found: Found, phrases: Sequence[Phrase]) -> SearchHit:
    """Return what was found as users see it."""
    text = found.text
    shown = snippet(text.text, places(text.text, phrases) or [Mark(0, 0)])
    return SearchHit.model_construct(
        session=found.info,
        kind=text.kind,
        seq=text.seq or None,
        at=text.at,
        role=text.role,
        agent=text.agent,
        snippet=shown.text,
        marks=shown.marks,
    )


# --- what there is to be found -------------------------------------------------------------------------------------


def texts_of(info: SessionInfo, entries: Iterable[Entry]) -> Iterator[Text]:
    """Yield what can be searched through of some entries of a session."""
    for entry in entries:
        if "item" in entry and (found := _said(entry["item"])) is not None:
            kind, text, role = found
            yield Text(kind, entry["seq"], _moment(entry, info), readable(text), role, entry.get("agent"))


def name_of(info: SessionInfo) -> Iterator[Text]:
    """Yield the name of a session, if it has one."""
    if info.name:
        yield Text("name", 0, info.created_at, readable(info.name))


def readable(text: str) -> str:
    """Return a text as it is searched and shown: what no text should hold is a question mark in a box."""
    text = text[:MAX_TEXT].replace("\0", "\ufffd")
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _moment(entry: Entry, info: SessionInfo) -> datetime:
    try:
        moment = parse_time(entry["at"])
    except (ValueError, KeyError):  # a person may have written anything
        return info.created_at
    return moment if moment.tzinfo is not None else info.created_at


def _said(item: dict[str, Any]) -> tuple[SearchKind, str, str | None] | None:
    kind = item_kind(item)
    if kind in ("user", "assistant"):
        text = text_of(item)
        return ("message", text, kind) if text else None
    if kind.endswith("_output"):
        return "tool_output", " ".join(_strings(item)), None
    if kind.endswith("_call"):
        return "tool_call", " ".join(_strings(item)), None
    return None


def _strings(value: object) -> Iterator[str]:
    """Yield the texts in an item, without what is for machines: ids, kinds, and files in line."""
    if isinstance(value, str):
        if not value.startswith("data:"):
            yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _NOT_SAID:
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
