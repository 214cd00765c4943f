"""Connections to PostgreSQL, and what is done where one is lost.

Every statement is a transaction of its own and needs nothing that a session of the server would remember, no prepared
statement either: so it works behind a pooler that gives each transaction another server connection.
"""

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.errors import (
    DurabilityError,
    OutcomeUnknownError,
    SchemaError,
    StoreClosedError,
    StoreError,
    StoreUnavailableError,
)
from agents_sessions.stores.postgres.schema import TABLES, VERSION

Connection = psycopg.Connection[Any]

_T = TypeVar("_T")

_LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""The connection is gone, or the server is about to go."""
_WAY_OUT = 'take durability="process"'
_REFUSED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)
"""Nothing was done, and it is to be done again."""

_USELESS = re.compile(r"FATAL: .*(authentication failed|does not exist|no pg_hba.conf entry|permission denied)")
"""What no further try will change."""

_PATIENCE = {"connect_timeout": "10", "tcp_user_timeout": "30000", "keepalives_idle": "15"}
"""So that a server that vanished is noticed. What the connection string says is left as it is."""


class Database:
    """One schema of a PostgreSQL database.

    Args:
        dsn: The connection string; None if a pool is given.
        pool: A `psycopg_pool.ConnectionPool` of the user's, which stays open.
        schema: The schema of the tables.
        prefix: What the names of the tables begin with.
        create_tables: Whether schema and tables are made if they are missing.
        synchronous: Whether a commit waits until it is on the disk.
        retry_for: Seconds for which an operation is tried again while the server does not answer.
    """

    def __init__(
        self,
        dsn: str | None,
        pool: Any,
        *,
        schema: str,
        prefix: str,
        create_tables: bool,
        synchronous: bool,
        retry_for: float,
    ) -> None:
        self._dsn = None if dsn is None else make_conninfo("", **{**_PATIENCE, **conninfo_to_dict(dsn)})
        self._pool = pool
        self.schema, self.prefix = schema, prefix
        self.name = f"postgresql://{_server(dsn, pool)}#{schema}"
        self._create_tables = create_tables
        self._synchronous = synchronous
        self._retry_for = retry_for
        self._closed = self._ready = False
        self._free: deque[Connection] = deque()
        self._abandoned: list[Connection] = []
        renew_in_child(self)

    def run(self, work: Callable[[Connection, bool], _T], *, once: bool = False) -> _T:
        """Do some work on a connection, again and again while connections are lost.

        The work is told whether it may have been done before: a lost answer says nothing. With `once`, the first error
        is raised.

        Raises:
            StoreUnavailableError: The server does not answer.
            OutcomeUnknownError: It did when the work began.
        """
        until, pause, began = monotonic() + self._retry_for, 0.02, False
        while True:
            try:
                with self._connection() as connection:
                    try:
                        return work(connection, began)
                    except _LOST:
                        began = True
                        raise
            except (*_LOST, *_REFUSED) as error:
                if not began and _USELESS.search(str(error)):
                    raise StoreError(self.name, f"the server refused: {_last_line(error)}") from None
                if once or monotonic() > until:
                    raise self._error(error, began=began) from error
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                raise SchemaError(self.name, "its tables are missing; open it with create_tables") from error
            except psycopg.DatabaseError as error:
                # The details of an error quote values. Its primary message does not.
                raise StoreError(self.name, f"the server refused: {error.diag.message_primary}") from error
            time.sleep(pause)
            pause = min(pause * 2, 0.5)

    def close(self) -> None:
        """Close the connections that are our own. Those in use are closed when their work ends."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._free.pop().close()

    # --- inside ---

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection]:
        if self._closed:
            raise StoreClosedError(self.name)
        if self._pool is not None:
            with self._pool.connection() as connection:
                self._prepare(connection)
                yield connection
            return
        connection = self._own()
        try:
            self._prepare(connection)
            yield connection
        finally:
            if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.close()
            else:
                self._free.append(connection)
                if self._closed:
                    self.close()

    def _own(self) -> Connection:
        with contextlib.suppress(IndexError):
            while (connection := self._free.pop()).closed:
                pass
            return connection
        connection = psycopg.connect(self._dsn or "", autocommit=True, prepare_threshold=None)
        if not self._synchronous:
            connection.execute("SET synchronous_commit = off")
        elif not self._ready and connection.execute("SHOW synchronous_commit").fetchone() == ("off",):
            connection.close()
            raise DurabilityError(self.name, f"its synchronous_commit is off; set it on, or {_WAY_OUT}")
        return connection

    def _prepare(self, connection: Connection) -> None:
        """Make schema and tables, or see that they are there and of this version."""
        if self._ready:
            return
        with connection.transaction():
            if not self._has_tables(connection):
                if not self._create_tables:
                    raise SchemaError(self.name, "its tables are missing, and create_tables is false")
                self._make_tables(connection)
            row = connection.execute(f"SELECT max(version) FROM {self.schema}.{self.prefix}meta").fetchone()  # noqa: S608
        version = None if row is None else row[0]
        if version is None or version > VERSION:
            reason = f"its tables are of version {version}, newer than this package reads; update agents-sessions"
            raise SchemaError(self.name, reason)
        self._ready = True

    def _has_tables(self, connection: Connection) -> bool:
        # Not `to_regclass`: that may remember that there was no such table before a lock was waited for.
        found = (
            "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = %s AND relname = %s"
        )
        return connection.execute(found, (self.schema, f"{self.prefix}meta")).fetchone() is not None

    def _make_tables(self, connection: Connection) -> None:
        # One process at a time: CREATE … IF NOT EXISTS fails where two run at once.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"agents_sessions:{self.schema}",))
        if self._has_tables(connection):
            return
        if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone() is None:
            connection.execute(f"CREATE SCHEMA {self.schema}")
        for statement in TABLES:
            connection.execute(statement.format(t=f"{self.schema}.{self.prefix}", p=self.prefix))

    def _error(self, error: Exception, *, began: bool) -> StoreUnavailableError:
        kind = OutcomeUnknownError if began else StoreUnavailableError
        return kind(self.name, f"the server does not answer: {_last_line(error)}")

    def _renew(self) -> None:
        # To close the parent's connections would say goodbye to the server in the parent's name.
        self._abandoned += self._free
        self._free = deque()


def _last_line(error: Exception) -> str:
    """Return what went wrong with a connection. No value of a statement is in it, and no password."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip()[:200] if lines else type(error).__name__


def _server(dsn: str | None, pool: Any) -> str:
    """Return a name for errors and logs, without a password."""
    parts = conninfo_to_dict(dsn if dsn is not None else getattr(pool, "conninfo", "") or "")
    host = parts.get("host") or os.environ.get("PGHOST") or "localhost"
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"{host}{port}/{parts.get('dbname') or ''}"
