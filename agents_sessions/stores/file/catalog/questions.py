"""The SQL of a query, a count and a search. Pure: statements and their arguments."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from agents_sessions.model.entries import now
from agents_sessions.model.query import EQUAL, SessionQuery, newest_first
from agents_sessions.model.search import SearchQuery
from agents_sessions.model.words import RANKED, Phrase
from agents_sessions.stores.file.catalog.rows import blob, metadata_label, milliseconds, owner_words, tag_label

WINDOW = 2000
"""So many hits, the newest, are ranked among each other: all of a common word would take ten times as long."""

HEAD = RANKED
"""So many characters of a text are read to rank it."""

_SORTS = {
    "last_active": "session.last_active",
    "created": "session.created",
    "updated": "session.updated",
    "name": "ifnull(session.name, x'')",
    "id": "session.session_id",
}


class TextRow(NamedTuple):
    """A text that was found: what `texts` selects."""

    number: int
    kind: str
    age: int
    head: str


class PlacedRow(NamedTuple):
    """Where a text stands, and of which session it is: what `places` selects."""

    number: int
    seq: int
    kind: str
    age: int
    role: str | None
    agent: bytes | None
    text: str
    agent_id: bytes
    session_id: bytes
    facts: bytes
    standing: bytes


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
        Statement("SELECT session.id, facts, standing FROM session CROSS JOIN detail ON detail.id = session.id")
        + _where(conditions)
        + Statement(f"ORDER BY {key}, session.agent_id, session.session_id")
    )


def spends(query: SessionQuery) -> Statement:
    """Return the statement for what each session has spent."""
    columns = "agent_id, session_id, user_id, name, spend"
    asked = Statement(f"SELECT {columns} FROM session CROSS JOIN detail ON detail.id = session.id")  # noqa: S608
    return asked + _where(list(_conditions(query)))


UNREADABLE = "SELECT folder, name FROM file WHERE id NOT IN (SELECT id FROM session) ORDER BY folder, name"
"""The statement for the files from which no session can be read."""

FIRST_MESSAGE = """
    SELECT substr(text, 1, 1000) FROM message
    WHERE session = ? AND kind = 'message' AND role = 'user' AND trim(text, char(32, 9, 10, 13)) != ''
    ORDER BY id LIMIT 1
"""
"""The statement for the text that gives a session its title."""


def count(query: SessionQuery) -> Statement:
    """Return the statement for the number of sessions."""
    return Statement("SELECT count(*) FROM session") + _where(list(_conditions(query)))


def texts(query: SearchQuery, newest: int) -> Statement:
    """Return the statement for a window of texts in which all phrases stand, from a number on to older ones."""
    conditions = list(_conditions(query.sessions))
    of_session = Statement("CROSS JOIN session ON session.id = message.session" if conditions else "")
    return (
        Statement(f"SELECT message.id, kind, age, substr(text, 1, {HEAD}) FROM word")  # noqa: S608 -- a constant
        + Statement("CROSS JOIN message ON message.id = word.rowid")
        + of_session
        + _where([Statement("word MATCH ? AND word.rowid <= ?", (_match(query), newest)), *conditions])
        + Statement(f"ORDER BY word.rowid DESC LIMIT {WINDOW}")
    )


PLACED = """
    SELECT message.id, seq, kind, age, role, agent, text, agent_id, session_id, facts, standing
    FROM message CROSS JOIN session ON session.id = message.session CROSS JOIN detail ON detail.id = session.id
    WHERE message.id = ?
"""
"""The statement for one text with all that a hit tells."""


def _match(query: SearchQuery) -> str:
    """Return what is looked for in the language of FTS5.

    Whose text it is stands in the index too: what one user of many has is found without a look at what others have.
    """
    owners = "".join(f"owner : {word} AND " for word in owner_words(query.sessions.agent_id, query.sessions.user_id))
    return f"{owners}{{{' '.join(query.kinds)}}} : ({' AND '.join(map(_quoted, query.phrases))})"


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
    if query.expired is not None:
        # Where neither a session nor its manager has a time to live, this is NULL: it never expires.
        over = "ifnull(session.last_used >= ? + ifnull(session.ttl, ?), 0)"
        yield Statement(f"{over} = ?", (newest_first(now()), milliseconds(query.default_ttl), int(query.expired)))
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
