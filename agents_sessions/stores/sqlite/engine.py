"""The verbs of a store, as SQL on one file."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agents_sessions.concurrency.worker_threads import FILE_THREADS
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time, timestamp
from agents_sessions.model.query import Position, SessionQuery
from agents_sessions.stores.base import SetAside
from agents_sessions.stores.rows.engine import Engine, Found, Row, Verdict, Window, Write
from agents_sessions.stores.rows.head import Head, Line
from agents_sessions.stores.rows.questions import COLUMNS, columns_of, condition, is_answered, page
from agents_sessions.stores.rows.text import escaped, unescaped
from agents_sessions.stores.sqlite.database import Database

_HEAD = "ident, version, facts, seq, updated_at, totals, state"
_MINE = "agent_id = ? AND session_id = ? AND aside IS NULL"
_LARGEST = 2**63 - 1

_Sql = sqlite3.Connection


class SQLiteEngine(Engine):
    """The sessions of one SQLite file."""

    threads = FILE_THREADS

    def __init__(self, database: Database, prefix: str) -> None:
        self._database = database
        self._session, self._entry, self._sidecar = f"{prefix}session", f"{prefix}entry", f"{prefix}sidecar"
        self.name = database.name
        self.place = ("sqlite", str(database.path), prefix)

    # --- sessions ---

    def insert(self, key: SessionKey, head: Head, lines: Sequence[Line], sidecars: Mapping[str, bytes]) -> bool:
        names = f"agent_id, session_id, {_HEAD}, {', '.join(COLUMNS)}"
        values = (*_ids(key), *_values(head), *columns_of(head))
        with self._database.writing() as sql:
            if self._pk(sql, key) is not None:
                return False
            pk = sql.execute(f"INSERT INTO {self._session} ({names}) VALUES ({_marks(values)})", values).lastrowid
            self._add(sql, pk, lines)
            rows = [(pk, escaped(name), data) for name, data in sidecars.items()]
            sql.executemany(f"INSERT INTO {self._sidecar} VALUES (?, ?, ?)", rows)
        return True

    def head(self, key: SessionKey) -> Head | None:
        with self._database.reading() as sql:
            return self._head(sql, key)

    def remove(self, key: SessionKey) -> bool:
        with self._database.writing() as sql:
            return sql.execute(f"DELETE FROM {self._session} WHERE {_MINE}", _ids(key)).rowcount > 0

    def scan(self, agent_id: str | None, behind: SessionKey | None, limit: int) -> list[Row]:
        sql = "aside IS NULL"
        values: list[Any] = []
        if agent_id is not None:
            sql, values = f"{sql} AND agent_id = ?", [escaped(agent_id)]
        if behind is not None:
            sql, values = f"{sql} AND (agent_id, session_id) > (?, ?)", [*values, *_ids(behind)]
        return self._rows(f"{sql} ORDER BY agent_id, session_id LIMIT ?", [*values, limit])

    def find(self, session_id: str) -> list[SessionKey]:
        select = f"SELECT agent_id FROM {self._session} WHERE session_id = ? AND aside IS NULL ORDER BY agent_id"
        with self._database.reading() as sql:
            return [SessionKey(_text(agent), session_id) for (agent,) in sql.execute(select, (escaped(session_id),))]

    def ask(self, query: SessionQuery, behind: Position | None, limit: int) -> list[Row]:
        return self._rows(*page(query, behind, limit))

    def tally(self, query: SessionQuery) -> int | None:
        if not is_answered(query):
            return None
        where, values = condition(query)
        with self._database.reading() as sql:
            return int(sql.execute(f"SELECT count(*) FROM {self._session} WHERE {where}", values).fetchone()[0])

    # --- history ---

    def read(self, key: SessionKey, window: Window) -> Found | None:
        where = "session = ?"
        values: list[Any] = []
        for name, bound in ((">", window.after), ("<", window.before)):
            if bound is not None:
                where, values = f"{where} AND seq {name} ?", [*values, _clamped(bound)]
        direction = "" if window.after is not None or window.limit is None else "DESC"
        limit = -1 if window.limit is None else max(0, _clamped(window.limit))
        select = f"SELECT line FROM {self._entry} WHERE {where} ORDER BY seq {direction} LIMIT ?"
        with self._database.reading() as sql:
            pk, head = self._pk(sql, key), self._head(sql, key)
            if head is None:
                return None
            lines = [line for (line,) in sql.execute(select, [pk, *values, limit])]
        return Found(head, lines[::-1] if direction else lines)

    def extend(self, write: Write, lines: Sequence[Line]) -> Verdict:
        names = "version, seq, updated_at, totals, state, last_active_at"
        _, version, _, seq, updated_at, totals, state = _values(write.after)
        values = (version, seq, updated_at, totals, state, write.active_at)
        with self._database.writing() as sql:
            verdict, pk = self._move(sql, write, names, values)
            if verdict is Verdict.STORED:
                self._add(sql, pk, lines)
        return verdict

    def swap(self, write: Write, kept: int, kept_seq: int, lines: Sequence[Line]) -> Verdict:
        names = f"{_HEAD}, {', '.join(COLUMNS)}"
        values = (*_values(write.after), *columns_of(write.after))
        with self._database.writing() as sql:
            verdict, pk = self._move(sql, write, names, values)
            if verdict is Verdict.STORED:
                sql.execute(f"DELETE FROM {self._entry} WHERE session = ? AND seq > ?", (pk, kept_seq))
                self._add(sql, pk, lines)
        return verdict

    # --- sidecars ---

    def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        with self._database.reading() as sql:
            select = f"SELECT data FROM {self._sidecar} WHERE session = ? AND name = ?"
            row = sql.execute(select, (self._pk(sql, key), escaped(name))).fetchone()
        return None if row is None else bytes(row[0])

    def write_sidecar(self, key: SessionKey, name: str, data: bytes, fence: int) -> Verdict:
        with self._database.writing() as sql:
            pk = self._pk(sql, key)
            if pk is None:
                return Verdict.MISSING
            sql.execute(f"INSERT OR REPLACE INTO {self._sidecar} VALUES (?, ?, ?)", (pk, escaped(name), data))
        return Verdict.STORED

    def list_sidecars(self, key: SessionKey) -> list[str]:
        with self._database.reading() as sql:
            select = f"SELECT name FROM {self._sidecar} WHERE session = ?"
            return [_text(name) for (name,) in sql.execute(select, (self._pk(sql, key),))]

    def delete_sidecar(self, key: SessionKey, name: str, fence: int) -> bool | Verdict:
        with self._database.writing() as sql:
            delete = f"DELETE FROM {self._sidecar} WHERE session = ? AND name = ?"
            return sql.execute(delete, (self._pk(sql, key), escaped(name))).rowcount > 0

    # --- aside ---

    def set_aside(self, key: SessionKey, aside: SetAside) -> bool:
        update = f"UPDATE {self._session} SET aside = ?, aside_at = ?, aside_note = ? WHERE {_MINE}"
        values = (aside.token, timestamp(aside.at), escaped(aside.note), *_ids(key))
        with self._database.writing() as sql:
            return sql.execute(update, values).rowcount > 0

    def bring_back(self, token: str) -> SessionKey | None:
        with self._database.writing() as sql:
            key = self._aside(sql, token)
            if self._pk(sql, key) is not None:
                return None
            update = "SET aside = NULL, aside_at = NULL, aside_note = NULL WHERE aside = ?"
            sql.execute(f"UPDATE {self._session} {update}", (escaped(token),))
        return key

    def list_aside(self) -> list[SetAside]:
        columns = "aside, agent_id, session_id, aside_at, aside_note"
        select = f"SELECT {columns} FROM {self._session} WHERE aside IS NOT NULL ORDER BY aside_at, pk"
        with self._database.reading() as sql:
            rows = [map(_text, row) for row in sql.execute(select)]
        return [SetAside(token, SessionKey(agent, name), parse_time(at), note) for token, agent, name, at, note in rows]

    def aside(self, token: str) -> Row | None:
        return next(iter(self._rows("aside = ?", [escaped(token)])), None)

    def size(self, place: SessionKey | str) -> int | None:
        where, values = ("aside = ?", (escaped(place),)) if isinstance(place, str) else (_MINE, _ids(place))
        lines = f"SELECT coalesce(sum(length(CAST(line AS BLOB))), 0) FROM {self._entry} WHERE session = pk"
        beside = f"SELECT coalesce(sum(length(data)), 0) FROM {self._sidecar} WHERE session = pk"
        head = "length(CAST(facts AS BLOB)) + length(totals)"
        select = f"SELECT {head} + ({lines}) + ({beside}) FROM {self._session} WHERE {where}"
        with self._database.reading() as sql:
            row = sql.execute(select, values).fetchone()
        return None if row is None else int(row[0])

    def discard(self, token: str) -> None:
        with self._database.writing() as sql:
            self._aside(sql, token)
            sql.execute(f"DELETE FROM {self._session} WHERE aside = ?", (escaped(token),))

    def ping(self) -> None:
        with self._database.reading():
            pass

    def close(self) -> None:
        self._database.close()

    # --- inside a transaction ---

    def _pk(self, sql: _Sql, key: SessionKey) -> int | None:
        row = sql.execute(f"SELECT pk FROM {self._session} WHERE {_MINE}", _ids(key)).fetchone()
        return None if row is None else int(row[0])

    def _head(self, sql: _Sql, key: SessionKey) -> Head | None:
        row = sql.execute(f"SELECT {_HEAD} FROM {self._session} WHERE {_MINE}", _ids(key)).fetchone()
        return None if row is None else _head_of(row)

    def _rows(self, where: str, values: Iterable[Any]) -> list[Row]:
        select = f"SELECT agent_id, session_id, {_HEAD} FROM {self._session} WHERE {where}"
        with self._database.reading() as sql:
            rows = sql.execute(select, tuple(values)).fetchall()
        return [Row(SessionKey(_text(agent), _text(name)), _head_of(head)) for agent, name, *head in rows]

    def _move(self, sql: _Sql, write: Write, names: str, values: Sequence[Any]) -> tuple[Verdict, int | None]:
        """Put the new head in the place of the old one, if that stands there."""
        select = f"SELECT pk, ident, version FROM {self._session} WHERE {_MINE}"
        row = sql.execute(select, _ids(write.key)).fetchone()
        if row is None:
            return Verdict.MISSING, None
        pk, ident, version = row
        if (ident.decode(), version) != write.before[:2]:
            return Verdict.STALE, None
        sql.execute(f"UPDATE {self._session} SET ({names}) = ({_marks(values)}) WHERE pk = ?", (*values, pk))
        return Verdict.STORED, pk

    def _add(self, sql: _Sql, pk: int | None, lines: Sequence[Line]) -> None:
        rows = [(pk, seq, data.decode()) for seq, data in lines]
        sql.executemany(f"INSERT INTO {self._entry} VALUES (?, ?, ?)", rows)

    def _aside(self, sql: _Sql, token: str) -> SessionKey:
        select = f"SELECT agent_id, session_id FROM {self._session} WHERE aside = ?"
        row = sql.execute(select, (escaped(token),)).fetchone()
        if row is None:
            raise LookupError(f"nothing was set aside under {token!r:.80}")
        return SessionKey(*map(_text, row))


def _ids(key: SessionKey) -> tuple[str, str]:
    return escaped(key.agent_id), escaped(key.session_id)


def _text(stored: bytes) -> str:
    return unescaped(stored.decode())


def _values(head: Head) -> tuple[Any, ...]:
    return (*head[:2], head.facts.decode(), head.seq, head.updated_at, head.totals.decode(), head.state)


def _head_of(row: Sequence[Any]) -> Head:
    ident, version, facts, seq, updated_at, totals, state = row
    return Head(ident.decode(), version, facts, seq, updated_at.decode(), totals, state and state.decode())


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _clamped(number: int) -> int:
    return max(-_LARGEST, min(number, _LARGEST))
