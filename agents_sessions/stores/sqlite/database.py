"""Connections to one SQLite file, and its transactions.

Writers of all processes take turns at a lock file of ours, from the begin of a transaction to the end of its commit.
That includes the checkpoint which SQLite makes there now and then. Below 3.51.3, SQLite may lose a commit if a
checkpoint meets a writer that begins the log anew: here the two never meet. A writer that is none of ours, such as a
shell, escapes that lock and gets SQLite's own.
"""

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.errors import SchemaError, StoreClosedError, StoreError
from agents_sessions.stores.file.disk.locks import close_locked, open_locked
from agents_sessions.stores.file.disk.syscalls import NotRegular, directory, exists
from agents_sessions.stores.rows.engine import AnotherWritesError
from agents_sessions.stores.sqlite.schema import META, TABLES, VERSION

FOREIGN_WRITERS_SECONDS = 5
"""How long a transaction waits for a writer that does not know our lock."""


class Database:
    """One SQLite file.

    Args:
        path: The file. It is made with the first use, for its owner alone.
        durable: Whether a commit is synced to the disk.
        create_tables: Whether missing tables are made.
        prefix: What the names of tables and views begin with.
    """

    def __init__(self, path: Path, *, durable: bool, create_tables: bool, prefix: str) -> None:
        self.path = path
        self.name = f"sqlite:///{path}"
        self._synchronous = "FULL" if durable else "NORMAL"
        self._durable = durable
        self._create_tables = create_tables
        self._prefix = prefix
        self._lock_name = f".{path.name}.lock"
        self._closed = False
        self._abandoned: list[sqlite3.Connection] = []
        self._free: deque[sqlite3.Connection] = deque()
        self._ready = False
        self._writer = threading.Lock()
        """Held by the thread of this process that writes: it hands over faster than the lock file is tried again."""
        renew_in_child(self)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection in a transaction that sees one moment of the database."""
        with self._errors(), self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection in a transaction that is committed at the end of the block, and not if that raises.

        Raises:
            AnotherWritesError: Another process writes at this moment; try again.
        """
        with self._errors(), self._connection() as connection, self._writer, self._locked():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close all connections. Those in use are closed when their operation ends."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._free.pop().close()

    # --- inside ---

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise StoreClosedError(self.name)
        if not self._ready:
            self._prepare()
        try:
            connection = self._free.pop()
        except IndexError:
            connection = self._connect()
        try:
            yield connection
        finally:
            self._free.append(connection)
            if self._closed:
                self.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=FOREIGN_WRITERS_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = bytes
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection

    def _prepare(self) -> None:
        """Make the file and its tables, or see that they are there and of this version."""
        with self._locked() as folder:
            if not exists(folder, self.path.name):
                if not self._create_tables:
                    raise SchemaError(self.name, "there is no such file, and create_tables is false")
                close_locked(open_locked(folder, self.path.name, create=True))  # for its owner alone
            with contextlib.closing(self._connect()) as connection:
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
                connection.execute("BEGIN IMMEDIATE")
                self._make_tables(connection)
                connection.execute("COMMIT")
        self._ready = True

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        prefix = self._prefix
        table = f"{prefix}meta".encode()
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table.decode(),)).fetchone() is None:
            if not self._create_tables:
                raise SchemaError(self.name, "its tables are missing, and create_tables is false")
            connection.execute(META.format(p=prefix))
            for statement in TABLES:
                connection.execute(statement.format(p=prefix))
        (version,) = connection.execute(f"SELECT max(version) FROM {prefix}meta").fetchone()  # noqa: S608
        if version is None or version > VERSION:
            reason = f"its tables are of version {version}, newer than this package reads; update agents-sessions"
            raise SchemaError(self.name, reason)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        create = self._create_tables and not self._ready
        with directory(str(self.path.parent), ".", create=create, durable=self._durable) as folder:
            try:
                lock = open_locked(folder, self._lock_name, create=True)
            except BlockingIOError:
                raise AnotherWritesError from None
            try:
                yield folder
            finally:
                close_locked(lock)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise AnotherWritesError from None
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_NOTADB:
                raise SchemaError(self.name, "the file is no SQLite database") from error
            raise StoreError(self.name, f"SQLite refused: {error}") from error
        except OSError as error:
            raise StoreError(self.name, f"the operating system refused: {error.strerror}") from error
        except NotRegular as error:
            raise StoreError(self.name, str(error)) from None

    def _renew(self) -> None:
        # A connection must not be used by two processes, and closing it here would drop the locks of its file.
        self._abandoned += self._free
        self._free.clear()
        self._writer = threading.Lock()


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return the file of a store.

    Raises:
        ValueError: It is none that processes could share, such as ":memory:".
    """
    text = os.fspath(path)
    if text in ("", ":memory:") or text.startswith("file:") or "\0" in text:
        raise ValueError(f"a SQLiteStore needs a file, not {text!r}; for sessions in memory use MemoryStore")
    return Path(text).expanduser().absolute()
