"""The verbs of a store, each one statement or one short transaction.

Under READ COMMITTED, an UPDATE that waits for a row looks at its conditions again when it has it. So a version and a
fence that stand in them are compared at the moment of the change, and no lock is held between reading and writing.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import psycopg

from agents_sessions.concurrency.worker_threads import SERVER_THREADS
from agents_sessions.errors import SessionIdError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time, timestamp
from agents_sessions.model.query import Position, SessionQuery
from agents_sessions.stores.base import SetAside
from agents_sessions.stores.leases.lease import Claim, LeaseEngine, Taken, Terms
from agents_sessions.stores.postgres.database import Connection, Database
from agents_sessions.stores.rows.engine import Found, Row, Verdict, Window, Write
from agents_sessions.stores.rows.head import Head, Line
from agents_sessions.stores.rows.questions import COLUMNS, columns_of, condition, is_answered, page
from agents_sessions.stores.rows.text import escaped, unescaped

_HEAD = "ident, version, facts, seq, updated_at, totals, state"
_MINE = "agent_id = %s AND session_id = %s AND aside IS NULL"
_LARGEST = 2**63 - 1
_OPS = 32 * 24
"""How much of the names of the newest changes is kept: 32 of them."""
_INDEXED = 2600
"""The bytes that both ids may have together: one entry of an index has room for no more."""


class PostgresEngine(LeaseEngine):
    """The sessions of one schema."""

    threads = SERVER_THREADS

    def __init__(self, database: Database, terms: Terms, place: Hashable) -> None:
        tables = f"{database.schema}.{database.prefix}"
        self._session, self._entry, self._sidecar = f"{tables}session", f"{tables}entry", f"{tables}sidecar"
        self._reservation = f"{tables}reservation"
        self._database = database
        self.terms = terms
        self.name = database.name
        self.place = place

    # --- sessions ---

    def insert(self, key: SessionKey, head: Head, lines: Sequence[Line], sidecars: Mapping[str, bytes]) -> bool:
        values = (*_ids(key), *_values(head), *columns_of(head))
        statement = f"""
            WITH head AS (
                INSERT INTO {self._session} (agent_id, session_id, {_HEAD}, {", ".join(COLUMNS)})
                VALUES ({_marks(values)})
                ON CONFLICT (agent_id, session_id) WHERE aside IS NULL DO NOTHING RETURNING pk),
            lines AS ({self._adding}),
            beside AS (INSERT INTO {self._sidecar} SELECT head.pk, u.name, u.data
                FROM head, unnest(%s::text[], %s::bytea[]) AS u (name, data))
            SELECT count(*) FROM head"""
        beside = [escaped(name) for name in sidecars], list(sidecars.values())
        _check_size(key)

        def work(connection: Connection, again: bool) -> bool:
            if _one(connection, statement, (*values, *_columns(lines), *beside)):
                return True
            found = self._head(connection, key) if again else None
            return found is not None and found.ident == head.ident

        return self._database.run(work)

    def head(self, key: SessionKey) -> Head | None:
        return self._database.run(lambda connection, _: self._head(connection, key))

    def remove(self, key: SessionKey) -> bool:
        delete = f"DELETE FROM {self._session} WHERE {_MINE}"
        return self._database.run(lambda connection, again: _changed(connection, delete, _ids(key)) or again)

    def scan(self, agent_id: str | None, behind: SessionKey | None, limit: int) -> list[Row]:
        sql = "aside IS NULL"
        values: list[Any] = []
        if agent_id is not None:
            sql, values = f"{sql} AND agent_id = %s", [escaped(agent_id)]
        if behind is not None:
            sql, values = f"{sql} AND (agent_id, session_id) > (%s, %s)", [*values, *_ids(behind)]
        return self._rows(f"{sql} ORDER BY agent_id, session_id LIMIT %s", [*values, limit])

    def find(self, session_id: str) -> list[SessionKey]:
        select = f"SELECT agent_id FROM {self._session} WHERE session_id = %s AND aside IS NULL ORDER BY agent_id"
        return [SessionKey(unescaped(agent), session_id) for (agent,) in self._all(select, (escaped(session_id),))]

    def ask(self, query: SessionQuery, behind: Position | None, limit: int) -> list[Row]:
        where, values = page(query, behind, limit)
        return self._rows(where.replace("?", "%s"), values)

    def tally(self, query: SessionQuery) -> int | None:
        if not is_answered(query):
            return None
        where, values = condition(query)
        select = f"SELECT count(*) FROM {self._session} WHERE {where.replace('?', '%s')}"
        return int(self._all(select, values)[0][0])

    # --- history ---

    def read(self, key: SessionKey, window: Window) -> Found | None:
        where = "e.session = s.pk"
        values: list[Any] = []
        for name, bound in ((">", window.after), ("<", window.before)):
            if bound is not None:
                where, values = f"{where} AND e.seq {name} %s", [*values, _clamped(bound)]
        newest = window.after is None and window.limit is not None
        limit = None if window.limit is None else max(0, _clamped(window.limit))
        # One statement sees one moment. The head comes with the first line alone: it may be large.
        select = f"""
            WITH s AS (SELECT pk, {_HEAD} FROM {self._session} WHERE {_MINE}),
            e AS (SELECT e.seq, e.line FROM {self._entry} AS e, s WHERE {where}
                ORDER BY e.seq {"DESC" if newest else ""} LIMIT %s)
            SELECT 0 AS part, {_HEAD.replace("seq", "s.seq")}, NULL AS line FROM s
            UNION ALL SELECT 1, NULL, NULL, NULL, e.seq, NULL, NULL, NULL, line FROM e
            ORDER BY part, seq"""
        rows = self._all(select, (*_ids(key), *values, limit))
        if not rows:
            return None
        return Found(_head_of(rows[0][1:-1]), [row[-1].encode() for row in rows[1:]])

    def extend(self, write: Write, lines: Sequence[Line]) -> Verdict:
        _, version, _, seq, updated_at, totals, state = _values(write.after)
        statement = f"""
            WITH head AS (
                UPDATE {self._session} SET version = %s, seq = %s, updated_at = %s, totals = %s, state = %s,
                    last_active_at = %s, ops = left(%s || ops, {_OPS})
                WHERE {self._unchanged} RETURNING pk),
            lines AS ({self._adding})
            SELECT count(*) FROM head"""
        values = (
            version,
            seq,
            updated_at,
            totals,
            state,
            write.active_at,
            write.op,
            *_conditions(write),
            *_columns(lines),
        )

        def work(connection: Connection, _: bool) -> Verdict:
            return Verdict.STORED if _one(connection, statement, values) else self._why(connection, write)

        return self._database.run(work)

    def swap(self, write: Write, kept: int, kept_seq: int, lines: Sequence[Line]) -> Verdict:
        names = f"{_HEAD}, {', '.join(COLUMNS)}"
        new = (*_values(write.after), *columns_of(write.after))
        update = f"""
            UPDATE {self._session} SET ({names}) = ROW({_marks(new)}), ops = left(%s || ops, {_OPS})
            WHERE {self._unchanged} RETURNING pk"""
        delete = f"DELETE FROM {self._entry} WHERE session = %s AND seq > %s"
        insert = f"WITH head AS (SELECT %s::bigint AS pk) {self._adding}"

        def work(connection: Connection, _: bool) -> Verdict:
            with connection.transaction():
                row = connection.execute(update, (*new, write.op, *_conditions(write))).fetchone()
                if row is not None:
                    connection.execute(delete, (row[0], kept_seq))
                    if lines:
                        connection.execute(insert, (row[0], *_columns(lines)))
                    return Verdict.STORED
            return self._why(connection, write)

        return self._database.run(work)

    # --- sidecars ---

    def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        joined = f"{self._sidecar} AS sidecar JOIN {self._session} ON pk = session"
        select = f"SELECT data FROM {joined} WHERE {_MINE} AND sidecar.name = %s"
        rows = self._all(select, (*_ids(key), escaped(name)))
        return bytes(rows[0][0]) if rows else None

    def write_sidecar(self, key: SessionKey, name: str, data: bytes, fence: int) -> Verdict:
        # FOR NO KEY UPDATE waits for another turn that takes the lock, and looks at the fence again.
        statement = f"""
            WITH head AS (SELECT pk FROM {self._session}
                WHERE {_MINE} AND %s IN (0, fence) FOR NO KEY UPDATE)
            INSERT INTO {self._sidecar} SELECT pk, %s, %s FROM head
            ON CONFLICT (session, name) DO UPDATE SET data = EXCLUDED.data"""

        def work(connection: Connection, _: bool) -> Verdict:
            if _changed(connection, statement, (*_ids(key), fence, escaped(name), data)):
                return Verdict.STORED
            return Verdict.MISSING if self._head(connection, key) is None else Verdict.FENCED

        return self._database.run(work)

    def list_sidecars(self, key: SessionKey) -> list[str]:
        select = (
            f"SELECT sidecar.name FROM {self._sidecar} AS sidecar JOIN {self._session} ON pk = session WHERE {_MINE}"
        )
        return [unescaped(name) for (name,) in self._all(select, _ids(key))]

    def delete_sidecar(self, key: SessionKey, name: str, fence: int) -> bool | Verdict:
        statement = f"""
            WITH head AS (SELECT pk, fence FROM {self._session} WHERE {_MINE} FOR NO KEY UPDATE),
            gone AS (DELETE FROM {self._sidecar} USING head
                WHERE session = pk AND name = %s AND %s IN (0, fence) RETURNING 1)
            SELECT coalesce((SELECT %s NOT IN (0, fence) FROM head), false), EXISTS (SELECT FROM gone)"""

        def work(connection: Connection, again: bool) -> bool | Verdict:
            row = connection.execute(statement, (*_ids(key), escaped(name), fence, fence)).fetchone()
            is_fenced, is_gone = row or (False, False)
            return Verdict.FENCED if is_fenced else bool(is_gone) or again

        return self._database.run(work)

    # --- aside ---

    def set_aside(self, key: SessionKey, aside: SetAside) -> bool:
        update = f"""UPDATE {self._session} SET aside = %s, aside_at = %s, aside_note = %s, holder = NULL,
            lease_until = NULL WHERE {_MINE}"""
        values = (aside.token, timestamp(aside.at), escaped(aside.note), *_ids(key))
        return self._database.run(lambda connection, again: _changed(connection, update, values) or again)

    def bring_back(self, token: str) -> SessionKey | None:
        select = f"SELECT agent_id, session_id FROM {self._session} WHERE aside = %s FOR UPDATE"
        update = f"""UPDATE {self._session} AS back SET aside = NULL, aside_at = NULL, aside_note = NULL
            WHERE aside = %s AND NOT EXISTS (SELECT FROM {self._session} AS other WHERE other.aside IS NULL
                AND (other.agent_id, other.session_id) = (back.agent_id, back.session_id))"""

        seen: SessionKey | None = None

        def work(connection: Connection, again: bool) -> SessionKey | None:
            nonlocal seen
            try:
                with connection.transaction():
                    row = connection.execute(select, (escaped(token),)).fetchone()
                    if row is None and again and seen is not None and self._head(connection, seen) is not None:
                        return seen  # a try whose answer was lost has done it
                    if row is None:
                        raise LookupError(f"nothing was set aside under {token!r:.80}")
                    seen = _key(*row)
                    return seen if _changed(connection, update, (escaped(token),)) else None
            except psycopg.errors.UniqueViolation:  # one of its key was made in just this moment
                return None

        return self._database.run(work)

    def list_aside(self) -> list[SetAside]:
        columns = "aside, agent_id, session_id, aside_at, aside_note"
        rows = self._all(f"SELECT {columns} FROM {self._session} WHERE aside IS NOT NULL ORDER BY aside_at, pk", ())
        return [
            SetAside(token, _key(agent, name), parse_time(at), unescaped(note)) for token, agent, name, at, note in rows
        ]

    def aside(self, token: str) -> Row | None:
        return next(iter(self._rows("aside = %s", [escaped(token)])), None)

    def size(self, place: SessionKey | str) -> int | None:
        where, values = ("aside = %s", (escaped(place),)) if isinstance(place, str) else (_MINE, _ids(place))
        lines = f"SELECT coalesce(sum(octet_length(line)), 0) FROM {self._entry} WHERE session = pk"
        beside = f"SELECT coalesce(sum(octet_length(data)), 0) FROM {self._sidecar} WHERE session = pk"
        head = "octet_length(facts) + octet_length(totals)"
        rows = self._all(f"SELECT {head} + ({lines}) + ({beside}) FROM {self._session} WHERE {where}", values)
        return int(rows[0][0]) if rows else None

    def discard(self, token: str) -> None:
        delete = f"DELETE FROM {self._session} WHERE aside = %s"
        if not self._database.run(lambda connection, again: _changed(connection, delete, (escaped(token),)) or again):
            raise LookupError(f"nothing was set aside under {token!r:.80}")

    # --- turns ---

    def acquire(self, claim: Claim, holder: str) -> Taken | None:
        update = f"""
            UPDATE {self._session} SET fence = fence + 1, holder = %s, holder_name = %s,
                held_since = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => %s)
            WHERE {_MINE} AND (holder IS NULL OR holder = %s OR lease_until < clock_timestamp()) RETURNING fence"""
        select = f"""SELECT holder_name, extract(epoch FROM clock_timestamp() - held_since)::float8
            FROM {self._session} WHERE {_MINE}"""
        values = (claim.nonce, escaped(holder), float(self.terms.lease), *_ids(claim.key), claim.nonce)

        def work(connection: Connection, _: bool) -> Taken | None:
            row = connection.execute(update, values).fetchone()
            if row is not None:
                return Taken(int(row[0]))
            row = connection.execute(select, _ids(claim.key)).fetchone()
            return None if row is None else Taken(0, unescaped(row[0] or "another process"), row[1] or 0.0)

        return self._database.run(work)

    def renew(self, claims: Sequence[Claim]) -> Collection[str]:
        statement = f"""
            UPDATE {self._session} AS s SET lease_until = clock_timestamp() + make_interval(secs => %s)
            FROM unnest(%s::text[], %s::text[], %s::text[]) AS u (agent_id, session_id, nonce)
            WHERE s.agent_id = u.agent_id AND s.session_id = u.session_id AND s.aside IS NULL AND s.holder = u.nonce
            RETURNING s.holder"""
        ids = [_ids(claim.key) for claim in claims]
        values = (
            float(self.terms.lease), [agent for agent, _ in ids], [name for _, name in ids],
            [claim.nonce for claim in claims],
        )  # fmt: skip
        rows = self._database.run(lambda connection, _: connection.execute(statement, values).fetchall(), once=True)
        return {holder for (holder,) in rows}

    def release(self, claim: Claim) -> None:
        update = f"UPDATE {self._session} SET holder = NULL, lease_until = NULL WHERE {_MINE} AND holder = %s"
        self._database.run(lambda connection, _: _changed(connection, update, (*_ids(claim.key), claim.nonce)))

    def is_held(self, key: SessionKey) -> bool:
        select = (
            f"SELECT 1 FROM {self._session} WHERE {_MINE} AND holder IS NOT NULL AND lease_until >= clock_timestamp()"
        )
        return bool(self._all(select, _ids(key)))

    def reserve(self, name: str, nonce: str) -> bool:
        statement = f"""
            INSERT INTO {self._reservation} AS r
            VALUES (%s, %s, clock_timestamp() + make_interval(secs => %s))
            ON CONFLICT (session_id) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
            WHERE r.holder = EXCLUDED.holder OR r.until < clock_timestamp()"""
        values = (escaped(name), nonce, float(self.terms.lease))
        return self._database.run(lambda connection, _: _changed(connection, statement, values))

    def unreserve(self, name: str, nonce: str) -> None:
        delete = f"DELETE FROM {self._reservation} WHERE session_id = %s AND holder = %s"
        self._database.run(lambda connection, _: _changed(connection, delete, (escaped(name), nonce)))

    def ping(self) -> None:
        self._database.run(lambda connection, _: connection.execute("SELECT 1"), once=True)

    def close(self) -> None:
        self._database.close()

    # --- inside ---

    _unchanged = f"{_MINE} AND ident = %s AND version = %s AND %s IN (0, fence)"

    @property
    def _adding(self) -> str:
        """Add lines to the session of the row `head`."""
        lines = "unnest(%s::bigint[], %s::text[]) AS u (seq, line)"
        return f"INSERT INTO {self._entry} SELECT head.pk, u.seq, u.line FROM head, {lines}"

    def _head(self, connection: Connection, key: SessionKey) -> Head | None:
        row = connection.execute(f"SELECT {_HEAD} FROM {self._session} WHERE {_MINE}", _ids(key)).fetchone()
        return None if row is None else _head_of(row)

    def _why(self, connection: Connection, write: Write) -> Verdict:
        """Return why a change was not stored, or that it was, by a try whose answer was lost."""
        select = f"SELECT position(%s IN ops) > 0, %s IN (0, fence) FROM {self._session} WHERE {_MINE}"
        row = connection.execute(select, (write.op, write.fence, *_ids(write.key))).fetchone()
        if row is None:
            return Verdict.MISSING
        is_done, is_held = row
        if is_done:
            return Verdict.STORED
        return Verdict.STALE if is_held else Verdict.FENCED

    def _rows(self, where: str, values: Iterable[Any]) -> list[Row]:
        select = f"SELECT agent_id, session_id, {_HEAD} FROM {self._session} WHERE {where}"
        return [Row(_key(agent, name), _head_of(head)) for agent, name, *head in self._all(select, values)]

    def _all(self, select: str, values: Iterable[Any]) -> list[Any]:
        return self._database.run(lambda connection, _: connection.execute(select, tuple(values)).fetchall())


def _one(connection: Connection, statement: str, values: Sequence[Any]) -> bool:
    row = connection.execute(statement, values).fetchone()
    return row is not None and bool(row[0])


def _changed(connection: Connection, statement: str, values: Sequence[Any]) -> bool:
    return connection.execute(statement, values).rowcount > 0


def _check_size(key: SessionKey) -> None:
    size = sum(len(text.encode()) for text in _ids(key))
    if size > _INDEXED:
        raise SessionIdError("session_id", f"one of {size} bytes with its agent's: PostgreSQL has room for {_INDEXED}")


def _ids(key: SessionKey) -> tuple[str, str]:
    return escaped(key.agent_id), escaped(key.session_id)


def _key(agent: str, name: str) -> SessionKey:
    return SessionKey(unescaped(agent), unescaped(name))


def _values(head: Head) -> tuple[Any, ...]:
    return (*head[:2], head.facts.decode(), head.seq, head.updated_at, head.totals.decode(), head.state)


def _head_of(row: Sequence[Any]) -> Head:
    ident, version, facts, seq, updated_at, totals, state = row
    return Head(ident, version, facts.encode(), seq, updated_at, totals.encode(), state)


def _conditions(write: Write) -> tuple[Any, ...]:
    return (*_ids(write.key), *write.before[:2], write.fence)


def _columns(lines: Sequence[Line]) -> tuple[list[int], list[str]]:
    return [line.seq for line in lines], [line.data.decode() for line in lines]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def _clamped(number: int) -> int:
    return max(-_LARGEST, min(number, _LARGEST))
