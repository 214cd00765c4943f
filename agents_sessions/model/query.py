"""A question about many sessions, and its answer in pages. Pure, but for the clock that `expired` asks.

It is the same for every backend.
"""

import base64
import binascii
import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar, get_args, overload

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.durations import LONGEST
from agents_sessions.model.entries import as_stored, now, timestamp
from agents_sessions.model.info import GivenStatus, SessionInfo, SessionStatus, SessionType, closed_if_completed
from agents_sessions.model.lossless_json import check_json, decode_json, encode_json

Sort = Literal["last_active", "created", "updated", "name", "id"]
"""What pages are ordered by: times from the newest to the oldest, texts from A to Z by code points."""

MAX_LIMIT = 1000
"""How many values one page may hold."""

_T = TypeVar("_T", covariant=True)


class SessionFilters(TypedDict, total=False):
    """Which sessions: the filters of `SessionQuery`, as keywords."""

    agent_id: str | None
    user_id: str | None
    status: GivenStatus | None
    mode: str | None
    session_type: SessionType | None
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    working_dir: str | None
    parent_id: str | None
    name: str | None
    pinned: bool | None
    id_prefix: str | None
    created_after: datetime | None
    created_before: datetime | None
    active_after: datetime | None
    active_before: datetime | None
    expired: bool | None


@dataclass(frozen=True, kw_only=True)
class SessionQuery:
    """Which sessions, in which order, and how many at a time. What is None or empty does not filter.

    Raises:
        InvalidValueError: A value is none that a session can have, or the limit is out of its bounds.
    """

    agent_id: str | None = None
    user_id: str | None = None
    status: GivenStatus | None = None
    """`completed` is another word for `closed`."""
    mode: str | None = None
    session_type: SessionType | None = None
    tags: tuple[str, ...] = ()
    """Every one of these."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Each of these keys with just this value."""
    working_dir: str | None = None
    parent_id: str | None = None
    name: str | None = None
    """The whole name, as it was given."""
    pinned: bool | None = None
    id_prefix: str | None = None
    """What the id begins with."""
    created_after: datetime | None = None
    """This moment is in, the one that ends the range is out: a day is `created_after=day, created_before=next_day`."""
    created_before: datetime | None = None
    active_after: datetime | None = None
    """As for `created_after`, by the last activity."""
    active_before: datetime | None = None
    expired: bool | None = None
    """Those that have expired by now, or those that have not."""
    default_ttl: float | None = None
    """Seconds until a session expires that has no time of its own, for `expired`."""
    sort: Sort = "last_active"
    limit: int = 100
    cursor: str | None = None
    """The `next_cursor` of the page before, asked with the same filters and the same sort."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", closed_if_completed(self.status))
        refused = {name: why for name, check in _CHECKS.items() if (why := check(getattr(self, name)))}
        if refused:
            raise InvalidValueError(refused)
        object.__setattr__(self, "tags", tuple(self.tags))
        if self.cursor is not None:
            self.position()

    @classmethod
    def of(cls, filters: Mapping[str, Any], **order: Any) -> "SessionQuery":
        """Return a query with filters by name, and with `sort`, `limit` and `cursor`.

        Raises:
            InvalidValueError: A name is that of no filter, or a value is none that a session can have.
        """
        unknown = sorted(filters.keys() - FILTERS)
        if unknown:
            known = ", ".join(sorted(FILTERS))
            raise InvalidValueError(dict.fromkeys(unknown, f"is no filter; there are {known}"))
        return cls(**filters, **order)

    def matches(self, info: SessionInfo) -> bool:
        """Tell whether a session is one of those that are asked for, wherever the page begins."""
        return (
            all(wanted is None or getattr(info, name) == wanted for name, wanted in self._equal())
            and set(self.tags) <= set(info.tags)
            and (self.id_prefix is None or info.id.startswith(self.id_prefix))
            and all(key in info.metadata and info.metadata[key] == value for key, value in self.metadata.items())
            and _between(info.created_at, self.created_after, self.created_before)
            and _between(info.last_active_at, self.active_after, self.active_before)
            and (self.expired is None or has_expired(info, self.default_ttl) == self.expired)
        )

    def _equal(self) -> Iterable[tuple[str, object]]:
        return ((name, getattr(self, name)) for name in EQUAL)

    def page_of(self, infos: Iterable[SessionInfo]) -> "Page[SessionInfo]":
        """Return the page that is asked for, out of all sessions, in any order."""
        behind = self.position()
        found = (info for info in infos if self.matches(info) and (behind is None or self.place_of(info) > behind))
        return self.page(heapq.nsmallest(self.limit + 1, found, key=self.place_of))

    def page(self, found: Sequence[SessionInfo]) -> "Page[SessionInfo]":
        """Return a page of sessions in their order. One beyond the limit shows that there are more."""
        if len(found) <= self.limit:
            return Page(found)
        shown = found[: self.limit]
        return Page(shown, self.cursor_at(self.place_of(shown[-1])))

    def place_of(self, info: SessionInfo) -> "Position":
        """Return where a session stands in the order of this query: smaller is earlier."""
        return Position(_ORDERS[self.sort](info), info.agent_id, info.id)

    def cursor_at(self, place: "Position") -> str:
        """Return the cursor of the page behind a place."""
        return encode_cursor(self.digest(), *place)

    def position(self) -> "Position | None":
        """Return the place that the cursor names, or None without one.

        Raises:
            InvalidValueError: The cursor is broken, or of another query.
        """
        if self.cursor is None:
            return None
        try:
            found = Position(*decode_cursor(self.cursor, self.digest()))
        except TypeError:
            raise InvalidValueError(BROKEN_CURSOR) from None
        if not isinstance(found.key, int | str) or not all(isinstance(text, str) for text in found[1:]):
            raise InvalidValueError(BROKEN_CURSOR)
        return found

    def digest(self) -> str:
        """Return what tells one question from another. The size of the pages is no part of it."""
        asked = {name: getattr(self, name) for name in sorted(FILTERS | {"sort"})}
        plain = {name: timestamp(value) if isinstance(value, datetime) else value for name, value in asked.items()}
        plain |= {"tags": sorted(self.tags), "metadata": dict(sorted(self.metadata.items()))}
        return digest_of(plain)


class Position(NamedTuple):
    """Where a session stands in an order. The key alone may be shared; with the ids, no two are equal."""

    key: int | str
    """Milliseconds before the end of time, so that the newest is first, or a text."""
    agent_id: str
    session_id: str


class Page(Sequence[_T], Generic[_T]):
    """Some values in order, and the way to those behind them."""

    __slots__ = ("_values", "next_cursor")

    def __init__(self, values: Iterable[_T], next_cursor: str | None = None) -> None:
        self._values = tuple(values)
        self.next_cursor = next_cursor
        """Pass it as `cursor` for the next page; None on the last one."""

    @overload
    def __getitem__(self, place: int) -> _T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[_T]: ...
    def __getitem__(self, place: int | slice) -> _T | Sequence[_T]:
        return self._values[place]

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Page):
            return self._values == other._values and self.next_cursor == other.next_cursor
        return list(self._values) == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = "" if self.next_cursor is None else f", next_cursor={self.next_cursor!r}"
        return f"Page({list(self._values)!r}{more})"


EQUAL = ("agent_id", "user_id", "status", "mode", "session_type", "working_dir", "parent_id", "name", "pinned")
"""The filters that one fact of a session must equal."""

FILTERS = frozenset(f.name for f in fields(SessionQuery)) - {"sort", "limit", "cursor"}
"""The names of all filters."""

BROKEN_CURSOR = {"cursor": "is none that a page has given: pass its next_cursor as it is"}
_END = datetime.max.replace(tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def digest_of(question: object) -> str:
    """Return what tells a question from every other one."""
    return hashlib.sha256(encode_json(question)).hexdigest()[:12]


def encode_cursor(digest: str, *place: object) -> str:
    """Return a place in the answer to a question as a text that a URL can carry."""
    return base64.urlsafe_b64encode(encode_json([digest, *place])).decode().rstrip("=")


def decode_cursor(cursor: str, digest: str) -> list[Any]:
    """Return the place that a cursor holds, as `encode_cursor` was given it.

    Raises:
        InvalidValueError: The cursor is broken, or of another question.
    """
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found, *place = list(decode_json(data))
    except (ValueError, TypeError, binascii.Error):
        raise InvalidValueError(BROKEN_CURSOR) from None
    if found != digest:
        raise InvalidValueError({"cursor": "is of another question: ask with the same filters and the same sort"})
    return place


def newest_first(moment: datetime) -> int:
    """Return a number that is smaller for a later moment: the whole milliseconds that are left of all time."""
    return (_END - moment) // _MILLISECOND


def moment_of(age: int) -> datetime:
    """Return the moment of a number that `newest_first` made, in whole milliseconds."""
    return as_stored(_END - age * _MILLISECOND)


_ORDERS: dict[str, Callable[[SessionInfo], int | str]] = {
    "last_active": lambda info: newest_first(info.last_active_at),
    "created": lambda info: newest_first(info.created_at),
    "updated": lambda info: newest_first(info.updated_at),
    "name": lambda info: info.name or "",
    "id": lambda info: info.id,
}


def has_expired(info: SessionInfo, default_ttl: float | None) -> bool:
    """Tell whether a session has expired by now; `default_ttl` is for one that has no time of its own."""
    ttl = default_ttl if info.ttl is None else info.ttl
    return ttl is not None and info.last_used_at + timedelta(seconds=ttl) <= now()


def _between(moment: datetime, first: datetime | None, end: datetime | None) -> bool:
    return (first is None or moment >= first) and (end is None or moment < end)


# --- what each part may be -----------------------------------------------------------------------------------------


def _no_text(value: object) -> str | None:
    return None if value is None or isinstance(value, str) else f"must be a string, not a {type(value).__name__}"


def _not_one_of(known: tuple[str, ...]) -> Callable[[object], str | None]:
    allowed = ", ".join(map(repr, known))
    return lambda value: None if value is None or value in known else f"must be one of {allowed}, not {value!r:.80}"


def _no_moment(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        return f"must be a datetime with a time zone, not a {type(value).__name__}"
    return None if value.utcoffset() is not None else "must have a time zone, as in datetime.now(UTC)"


def _no_tags(value: object) -> str | None:
    fits = isinstance(value, tuple | list | set | frozenset) and all(isinstance(tag, str) for tag in value)
    return None if fits else "must be a list of strings"


def _no_metadata(value: object) -> str | None:
    try:
        check_json(value)
    except ValueError as error:
        return str(error)
    return None if isinstance(value, Mapping) else f"must be a dict, not a {type(value).__name__}"


def _no_flag(value: object) -> str | None:
    return None if value is None or isinstance(value, bool) else f"must be True or False, not {value!r:.80}"


def _no_ttl(value: object) -> str | None:
    fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST)
    return None if fits else f"must be a number of seconds above zero, not {value!r:.80}"


def check_limit(value: object) -> str | None:
    """Return what is wrong with the limit of a page, or None."""
    fits = type(value) is int and 1 <= value <= MAX_LIMIT
    return None if fits else f"must be a whole number from 1 to {MAX_LIMIT}, not {value!r:.80}"


_CHECKS: dict[str, Callable[[object], str | None]] = {
    **dict.fromkeys(
        ["agent_id", "user_id", "mode", "working_dir", "parent_id", "name", "id_prefix", "cursor"], _no_text
    ),
    **dict.fromkeys(["created_after", "created_before", "active_after", "active_before"], _no_moment),
    "status": _not_one_of(get_args(SessionStatus)),
    "session_type": _not_one_of(get_args(SessionType)),
    "sort": _not_one_of(get_args(Sort)),
    "tags": _no_tags,
    "metadata": _no_metadata,
    "pinned": _no_flag,
    "expired": _no_flag,
    "default_ttl": _no_ttl,
    "limit": check_limit,
}
