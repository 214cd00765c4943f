"""The SQL of a query, a count and a search. Pure: statements and their arguments."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from agents_sessions.model.query import EQUAL, SessionQuery, newest_first
from agents_sessions.model.search import SearchQuery
from agents_sessions.model.words import Phrase
from agents_sessions.stores.file.catalog.rows import blob, metadata_label, tag_label

WINDOW = 2000
"""So many hits, the newest, are ranked among each other: all of a common word would take ten times as long."""

HEAD = 4000
"""So many characters of a text are read to rank it."""

_SORTS = {
    "last_active": "session.last_active",
    "created": "session.created",
    "updated": "session.updated",
    "name": "ifnull(session.name, x'')",
    "id": "session.session_id",
}


class TextRow(NamedTuple):
    """A text that was found: what `hits` selects."""

    number: int
    session: int
    agent_id: bytes
    session_id: bytes
    seq: int
    kind: str
    age: int
    role: str | None
    agent: bytes | None
    head: str


class Statement(NamedTuple):
    """SQL and its arguments."""

    sql: str
    values: tuple[Any, ...] = ()

    def __add__(self, other: object) -> "Statement":
        assert isinstance(other, Statement)  # noqa: S101 -- a tuple would be joined field by field
        return Statement(f"{self.sql} {other.sql}", (*self.values, *other.values))


def page(query: SessionQuery) -> Statement:
    """Return the statement for the sessions of a page and those behind it, in order."""
    key = _SORTS[query.sort]
    conditions = list(_conditions(query))
    behind = query.position()
    if behind is not None:
        place = tuple(blob(part) if isinstance(part, str) else part for part in behind)
        conditions.append(Statement(f"({key}, session.agent_id, session.session_id) > (?, ?, ?)", place))
    return (
        Statement("SELECT facts, standing FROM session CROSS JOIN detail ON detail.id = session.id")
        + _where(conditions)
        + Statement(f"ORDER BY {key}, session.agent_id, session.session_id")
    )


def count(query: SessionQuery) -> Statement:
    """Return the statement for the number of sessions."""
    return Statement("SELECT count(*) FROM session") + _where(list(_conditions(query)))


def hits(query: SearchQuery, newest: int) -> Statement:
    """Return the statement for a window of texts in which all phrases stand, from a number on to older ones."""
    match = f"{{{' '.join(query.kinds)}}} : ({' AND '.join(map(_quoted, query.phrases))})"
    conditions = [Statement("word MATCH ? AND word.rowid <= ?", (match, newest)), *_conditions(query.sessions)]
    return (
        Statement(
            f"SELECT message.id, session.id, agent_id, session_id, seq, kind, age, role, agent, substr(text, 1, {HEAD})"  # noqa: S608
            " FROM word CROSS JOIN message ON message.id = word.rowid"
            " CROSS JOIN session ON session.id = message.session"
        )
        + _where(conditions)
        + Statement(f"ORDER BY word.rowid DESC LIMIT {WINDOW}")
    )


def _quoted(phrase: Phrase) -> str:
    """Return a phrase in the language of FTS5. Nothing in its words is to be escaped: of ASCII, they have letters."""
    return f'"{" ".join(phrase.words)}"{" *" * phrase.is_prefix}'


def _where(conditions: Sequence[Statement]) -> Statement:
    if not conditions:
        return Statement("")
    values = tuple(value for condition in conditions for value in condition.values)
    return Statement("WHERE " + " AND ".join(condition.sql for condition in conditions), values)


def _conditions(query: SessionQuery) -> Iterator[Statement]:
    for name in EQUAL:
        wanted = getattr(query, name)
        if wanted is not None:
            yield Statement(f"session.{name} = ?", (blob(wanted) if isinstance(wanted, str) else wanted,))
    labels = {*map(tag_label, query.tags), *(metadata_label(*pair) for pair in query.metadata.items())}
    for label in sorted(labels):
        yield Statement("session.id IN (SELECT session FROM label WHERE name = ? AND value = ?)", label)
    if query.id_prefix is not None:
        first = query.id_prefix.encode("utf-8", "surrogatepass")
        yield Statement("session.session_id >= ? AND session.session_id < ?", (first, first + b"\xff"))
    for column, after, before in (
        ("created", query.created_after, query.created_before),
        ("last_active", query.active_after, query.active_before),
    ):
        if after is not None:
            yield Statement(f"session.{column} <= ?", (newest_first(_upwards(after)),))
        if before is not None:
            yield Statement(f"session.{column} > ?", (newest_first(_upwards(before)),))


def _upwards(moment: datetime) -> datetime:
    """Return the first whole millisecond that is not before a moment: the times of sessions are whole ones."""
    moment = moment.astimezone(UTC)
    return moment + timedelta(microseconds=-moment.microsecond % 1000)
