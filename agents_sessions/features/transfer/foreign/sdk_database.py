"""SQLite databases of the SDK's `SQLiteSession`, `AdvancedSQLiteSession` and `SQLAlchemySession`.

The tables are found by their columns, whatever they are called. Each branch of an `AdvancedSQLiteSession` becomes a
session of its own, called `<session>--<branch>`, with the session of its main branch as its parent; what its turns have
cost becomes usage records. A database is opened for reading only, and nothing in it is run.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from agents_sessions.errors import ImportLimitError, ImportRefusedError
from agents_sessions.features.transfer.document import make_info
from agents_sessions.features.transfer.incoming import Incoming
from agents_sessions.features.transfer.values import Dropped
from agents_sessions.model.entries import record_entry, timestamp
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.model.usage import TokenUsage

if TYPE_CHECKING:
    from agents_sessions.features.transfer.incoming import Naming, PlacedEntries
    from agents_sessions.features.transfer.sources import FileSource
    from agents_sessions.model.entries import Entry

MAGIC = b"SQLite format 3\0"
MAIN = "main"
_PAGE = 500


class Tables(NamedTuple):
    """The tables of one kind of session."""

    sessions: str
    messages: str
    has_branches: bool
    """Whether an `AdvancedSQLiteSession` made them."""
    order: str
    """In which order the SDK reads messages."""


class Branch(NamedTuple):
    """One line of conversation in a database."""

    session_id: str
    branch: str
    created_at: str | None
    updated_at: str | None


async def sessions_of(
    source: FileSource, naming: Naming, on_dropped: Callable[[Dropped], None]
) -> AsyncIterator[Incoming]:
    """Yield the sessions of a database.

    Raises:
        ImportRefusedError: It is damaged, or holds no sessions of the SDK.
        ImportLimitError: It has more sessions than allowed.
    """
    database = _Database(source)
    tables = await asyncio.to_thread(database.tables)
    for one in tables:
        branches = await asyncio.to_thread(database.branches, one)
        if len(branches) > source.limits.max_sessions:
            reason = f"it has more than {source.limits.max_sessions:,} sessions (max_sessions)"
            raise ImportLimitError(source.name, reason)
        for branch in branches:
            found = _Conversation(database, one, branch, on_dropped)
            info = found.info()
            yield Incoming(found.place, info.id, naming.over(info), found.pages, source.limits, by_line=False)


class _Database:
    def __init__(self, source: FileSource) -> None:
        self.name = source.name
        self._limits = source.limits
        self._uri = f"{Path(source.path).absolute().as_uri()}?mode=ro"

    def tables(self) -> list[Tables]:
        """Return the tables of sessions, or refuse a database without any."""
        with self.open() as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = {name: _columns(connection, name) for name in names}
            messages = [
                name for name in names if {"id", "session_id", "message_data", "created_at"} <= columns[name].keys()
            ]
            found = [self._tables(connection, name, columns) for name in messages]
        if not found:
            raise ImportRefusedError(self.name, "is a SQLite database without sessions of the Agents SDK")
        return found

    def _tables(self, connection: sqlite3.Connection, messages: str, columns: dict[str, dict[str, bool]]) -> Tables:
        keys = connection.execute(f"PRAGMA foreign_key_list({_quoted(messages)})").fetchall()
        owners = [row[2] for row in keys if row[3] == "session_id"]
        owner = next((name for name in owners if {"session_id", "created_at"} <= columns.get(name, {}).keys()), None)
        if owner is None:
            raise ImportRefusedError(self.name, f"has messages in {messages!r:.80} that belong to no table of sessions")
        structure = connection.execute("PRAGMA foreign_key_list(message_structure)").fetchall()
        has_branches = any(row[2].lower() == messages.lower() for row in structure)
        # SQLAlchemySession alone declares the time NOT NULL, and reads in its order.
        order = "m.created_at, m.id" if columns[messages]["created_at"] else "m.id"
        return Tables(owner, messages, has_branches, order)

    def branches(self, tables: Tables) -> list[Branch]:
        """Return the conversations of some tables, the main branch of a session first."""
        most = self._limits.max_sessions + 1
        found = f"SELECT session_id, '{MAIN}' AS branch, created_at, updated_at FROM {_quoted(tables.sessions)}"
        if tables.has_branches:
            found += (
                " UNION SELECT b.session_id, b.branch_id, s.created_at, s.updated_at FROM message_structure b"
                f" JOIN {_quoted(tables.sessions)} s ON s.session_id = b.session_id"
            )
        query = f"SELECT * FROM ({found}) ORDER BY session_id, branch <> '{MAIN}', branch LIMIT {most}"
        with self.open() as connection:
            return [Branch(*map(_text, row)) for row in connection.execute(query)]

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Open the database for reading, with what it may ask of us bounded."""
        try:
            with closing(sqlite3.connect(self._uri, uri=True, check_same_thread=False)) as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(self._limits.max_line_bytes, 1 << 30))
                connection.execute("PRAGMA trusted_schema = OFF")
                yield connection
        except (sqlite3.Error, OverflowError) as error:
            raise ImportRefusedError(self.name, f"cannot be read as a SQLite database: {error}") from None


@dataclass(slots=True)
class _Conversation:
    """One branch of one session."""

    database: _Database
    tables: Tables
    branch: Branch
    on_dropped: Callable[[Dropped], None]

    @property
    def place(self) -> str:
        """What an error calls it."""
        return f"{self.database.name}, session {self.branch.session_id!r:.80}"

    def info(self) -> Any:
        """Return its facts."""
        is_main = self.branch.branch == MAIN
        name = self.branch.session_id if is_main else f"{self.branch.session_id}--{self.branch.branch}"
        facts: dict[str, Any] = {"id": name, "agent_id": "default"}
        facts |= {} if is_main else {"name": self.branch.branch, "parent_id": self.branch.session_id}
        times = {"created_at": _time(self.branch.created_at), "updated_at": _time(self.branch.updated_at)}
        return make_info({**facts, **{name: time for name, time in times.items() if time is not None}}, self.place)

    async def pages(self) -> PlacedEntries:
        """Yield its entries, and say what cannot come along."""
        dropped: Counter[str] = Counter()
        with self.database.open() as connection:
            usage = await asyncio.to_thread(self._usage, connection)
            cursor = await asyncio.to_thread(self._messages, connection)
            place, turn = 1, None
            while rows := await asyncio.to_thread(self._fetch, cursor):
                page: list[Entry] = []
                for row in rows:
                    if turn is not None and row[2] != turn:
                        page += usage.pop(turn, [])
                    turn = row[2]
                    page += self._entry(row, dropped)
                yield place, page
                place += len(page)
            rest = [entry for entries in usage.values() for entry in entries]
            if rest:
                yield place, rest
            dropped["message outside of every branch"] = await asyncio.to_thread(self._outside, connection)
        for what, count in dropped.items():
            if count:
                self.on_dropped(Dropped(self.branch.session_id, what, count))

    def _messages(self, connection: sqlite3.Connection) -> sqlite3.Cursor:
        messages = _quoted(self.tables.messages)
        if not self._is_branched(connection):
            query = f"SELECT m.message_data, m.created_at, NULL FROM {messages} m WHERE m.session_id = ?"
            return connection.execute(f"{query} ORDER BY {self.tables.order}", (self.branch.session_id,))
        query = (
            f"SELECT m.message_data, m.created_at, s.user_turn_number FROM {messages} m"
            " JOIN message_structure s ON s.message_id = m.id WHERE m.session_id = ? AND s.branch_id = ?"
            " ORDER BY s.sequence_number"
        )
        return connection.execute(query, self.branch[:2])

    def _is_branched(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the session has branches: one of a plain `SQLiteSession` may lie in the same database."""
        query = "SELECT 1 FROM message_structure WHERE session_id = ? LIMIT 1"
        return self.tables.has_branches and bool(connection.execute(query, self.branch[:1]).fetchone())

    def _fetch(self, cursor: sqlite3.Cursor) -> list[Any]:
        try:
            return cursor.fetchmany(_PAGE)
        except sqlite3.Error as error:
            raise ImportRefusedError(self.place, f"cannot be read: {error}") from None

    def _entry(self, row: tuple[Any, Any, Any], dropped: Counter[str]) -> list[Entry]:
        try:
            item = decode_json(row[0].encode())
        except (ValueError, AttributeError):
            item = None
        if not isinstance(item, dict):
            dropped["message that is no JSON object"] += 1  # the SDK leaves it out when it reads, too
            return []
        at = _time(row[1])
        return [{"item": item} if at is None else {"at": at, "item": item}]

    def _usage(self, connection: sqlite3.Connection) -> dict[object, list[Entry]]:
        """Return what the turns have cost, by their numbers."""
        if not self.tables.has_branches:
            return {}
        query = (
            "SELECT user_turn_number, requests, input_tokens, output_tokens, total_tokens, input_tokens_details,"
            " output_tokens_details, created_at FROM turn_usage WHERE session_id = ? AND branch_id = ?"
            " ORDER BY user_turn_number"
        )
        return {row[0]: [_usage_entry(row)] for row in connection.execute(query, self.branch[:2])}

    def _outside(self, connection: sqlite3.Connection) -> int:
        if self.branch.branch != MAIN or not self._is_branched(connection):
            return 0
        query = (
            f"SELECT count(*) FROM {_quoted(self.tables.messages)} WHERE session_id = ?"
            " AND id NOT IN (SELECT message_id FROM message_structure)"
        )
        return int(connection.execute(query, self.branch[:1]).fetchone()[0])


def _usage_entry(row: tuple[Any, ...]) -> Entry:
    _, requests, given, made, total, of_given, of_made, created_at = row
    read, written = _details(of_given), _details(of_made)
    usage = TokenUsage(
        requests=_number(requests),
        input_tokens=_number(given),
        cached_tokens=_number(read.get("cached_tokens")),
        cache_write_tokens=_number(read.get("cache_write_tokens")),
        output_tokens=_number(made),
        reasoning_tokens=_number(written.get("reasoning_tokens")),
        total_tokens=_number(total),
    )
    entry = record_entry({"type": "usage", "requests": [usage.row()]})
    at = _time(created_at)
    return entry if at is None else {**entry, "at": at}


def _details(text: object) -> dict[str, Any]:
    try:
        found = decode_json(text.encode()) if isinstance(text, str) else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, bool]:
    """Return the columns of a table, and whether each must have a value."""
    rows = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    return {row[1]: bool(row[3]) for row in rows}


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _text(value: object) -> Any:
    return value if value is None or isinstance(value, str) else str(value)


def _time(text: object) -> str | None:
    """Return a time of SQLite, which is UTC without saying so, as entries have it; None if it is none."""
    try:
        found = datetime.fromisoformat(cast("str", text))
    except (TypeError, ValueError):
        return None
    return timestamp(found if found.tzinfo is not None else found.replace(tzinfo=UTC))
