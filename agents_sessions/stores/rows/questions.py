"""A `SessionQuery` as SQL, for the tables of the database stores. Pure.

Facts that have a column are compared there. Tags, metadata and rare facts are not: the store looks at them once more,
so a filter that is left out here costs time and nothing else.
"""

from typing import Any, NamedTuple

from agents_sessions.model.entries import parse_time, timestamp
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.model.query import FILTERS, Position, SessionQuery, moment_of
from agents_sessions.stores.rows.head import Head
from agents_sessions.stores.rows.text import escaped

TEXTS = ("agent_id", "user_id", "status", "name")
"""The filters that have a column."""

_TIMES = ("created_after", "created_before", "active_after", "active_before")
_BEYOND = FILTERS - {*TEXTS, *_TIMES}
"""The filters that have none."""

_SORTS = {
    "last_active": ("last_active_at", "DESC"),
    "created": ("created_at", "DESC"),
    "updated": ("updated_at", "DESC"),
    "name": ("coalesce(name, '')", "ASC"),
    "id": ("session_id", "ASC"),
}

COLUMNS = ("user_id", "status", "name", "created_at", "last_active_at")
"""Facts that the row of a session repeats, so that a database can find and order by them."""


class Condition(NamedTuple):
    """SQL behind WHERE, with `?` for each value."""

    sql: str
    values: list[Any]


def columns_of(head: Head) -> tuple[Any, ...]:
    """Return the values of `COLUMNS`, of the facts as they are stored: what a codec hides stays hidden."""
    facts, totals = decode_json(head.facts), decode_json(head.totals)
    texts = [facts.get(name) for name in ("user_id", "status", "name")]
    shown = [escaped(text) if isinstance(text, str) else None for text in texts]
    return (*shown, facts["created_at"], totals.get("last_entry_at") or head.updated_at)


def is_answered(query: SessionQuery) -> bool:
    """Tell whether the condition of a query says all that the query asks."""
    return all(getattr(query, name) in (None, (), {}) for name in _BEYOND)


def condition(query: SessionQuery) -> Condition:
    """Return which sessions a query asks for, as far as columns can tell."""
    parts = Condition("aside IS NULL", [])
    for name in TEXTS:
        if (wanted := getattr(query, name)) is not None:
            parts = _and(parts, f"{name} = ?", escaped(wanted))
    bounds = (
        ("created_at >= ?", query.created_after),
        ("created_at < ?", query.created_before),
        ("last_active_at >= ?", query.active_after),
        ("last_active_at < ?", query.active_before),
    )
    for sql, moment in bounds:
        if moment is not None:
            parts = _and(parts, sql, _bound(moment))
    return parts


def _bound(moment: Any) -> str:
    """Return a moment as stored ones compare with it: those have milliseconds, and this one may have less."""
    text = timestamp(moment)
    return text if parse_time(text) >= moment else text[:-1] + "~"


def page(query: SessionQuery, behind: Position | None, limit: int) -> Condition:
    """Return the condition, order and limit of a page behind a place."""
    column, direction = _SORTS[query.sort]
    parts = condition(query)
    if behind is not None:
        key = escaped(behind.key) if isinstance(behind.key, str) else timestamp(moment_of(behind.key))
        further = "<" if direction == "DESC" else ">"
        sql = f"({column} {further} ? OR ({column} = ? AND (agent_id, session_id) > (?, ?)))"
        parts = _and(parts, sql, key, key, escaped(behind.agent_id), escaped(behind.session_id))
    order = f"{parts.sql} ORDER BY {column} {direction}, agent_id, session_id LIMIT ?"
    return Condition(order, [*parts.values, limit])


def _and(parts: Condition, sql: str, *values: Any) -> Condition:
    return Condition(f"{parts.sql} AND {sql}", [*parts.values, *values])
