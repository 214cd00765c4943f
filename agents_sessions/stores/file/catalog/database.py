"""The connection to a catalog: on the disk or in memory. What is damaged, or of another version, is made anew.

Dangers that shaped it:

* To close a file of a database frees every lock that this process has on it: nothing here opens one but SQLite itself.
* A forked child must not use, nor close, the connection of its parent: closing the last one rewrites the file.
* SQLite writes through links and into files of two names: both are refused before it is asked.
"""

import contextlib
import errno
import logging
import os
import secrets
import sqlite3
import weakref
from collections.abc import Iterator

from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.errors import printable
from agents_sessions.stores.file.catalog.rows import TABLES, VERSION
from agents_sessions.stores.file.disk import listing, locks
from agents_sessions.stores.file.disk import syscalls as io

logger = logging.getLogger("agents_sessions")

FOLDER = ".catalog"
_FILE = "sessions.db"
_LOCK = "lock"
_WAIT = 5.0
_DAMAGED = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT}
"""A plain error among them: a table is missing, or is another one."""


class Damaged(Exception):
    """The database cannot be used, and has been removed: begin again."""


class Database:
    """The database of the catalog of a root.

    Args:
        root: The folder of the sessions.
        on_disk: Whether it may be stored at all.
    """

    def __init__(self, root: str, *, on_disk: bool) -> None:
        self._root = root
        self._on_disk = on_disk
        self._open: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._version: object = None
        self.epoch = ""
        """Changes whenever the database is made anew, and its numbers with it."""
        renew_in_child(self)

    @property
    def is_stored(self) -> bool:
        """Whether it is on the disk at this time."""
        return self._inode is not None

    def connect(self) -> bool:
        """Be connected to the database that is there now; tells whether it is another one than before.

        Raises:
            BlockingIOError: Another process holds it at this moment.
        """
        has_root = self._on_disk and listing.is_folder_there(self._root)
        if self._open is not None and self._stands(has_root=has_root):
            return False
        self.close()
        if has_root:
            try:
                self._connect_to_file()
            except (OSError, io.NotRegular, sqlite3.Error) as error:
                if isinstance(error, BlockingIOError) or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                    self.close()
                    raise
                logger.info("the catalog of %s is kept in memory: %s", printable(self._root), error)
                self.close()
                self._on_disk = False
        if self._open is None:
            self._use(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), None)
            self._make_tables()
        return True

    def _stands(self, *, has_root: bool) -> bool:
        if self._inode is None:
            return not has_root  # there was no root; if there is one now, it can go there
        try:
            with io.directory(self._root, FOLDER) as folder:
                return listing.inode_at(folder, _FILE) == self._inode
        except (OSError, io.NotRegular):
            return False

    def _connect_to_file(self) -> None:
        listing.make_private(self._root, FOLDER)
        with io.directory(self._root, FOLDER) as folder, locks.locked(folder, _LOCK, create=True):
            self._connect_locked(folder)
            if not self._has_tables():
                self.close()
                listing.unlink_all(folder, _FILE)
                self._connect_locked(folder)
                self._make_tables()

    def _connect_locked(self, folder: int) -> None:
        inode = listing.make_empty(folder, _FILE)
        path = f"{self._root}/{FOLDER}/{_FILE}"
        self._use(sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False), inode)
        with contextlib.suppress(sqlite3.DatabaseError):  # what is none shows with the first table
            # Readers and a writer do not wait for each other, and a power cut leaves what was there some time before.
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = NORMAL")

    def _use(self, connection: sqlite3.Connection, inode: int | None) -> None:
        self._open, self._inode = connection, inode
        self._version = None
        # What is deleted is overwritten: it may have been deleted for good reasons.
        connection.execute("PRAGMA secure_delete = ON")
        self._closer = weakref.finalize(self, _close, connection, os.getpid())

    def _has_tables(self) -> bool:
        try:
            found = self.connection.execute("SELECT version, epoch FROM about").fetchall()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            return False
        self.epoch = found[0][1] if len(found) == 1 and found[0][0] == VERSION else ""
        return self.epoch != ""

    def _make_tables(self) -> None:
        self.epoch = secrets.token_hex(4)
        self.connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES.split(";\n"):
            self.connection.execute(statement)
        self.connection.execute("INSERT INTO about VALUES (?, ?)", (VERSION, self.epoch))
        self.connection.execute("COMMIT")

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. There must be one."""
        assert self._open is not None  # noqa: S101 -- `connect` comes first
        return self._open

    def has_moved(self) -> bool:
        """Tell whether someone else has changed it since this was asked last."""
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return before is not None and before != version

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the right to change it.

        Raises:
            BlockingIOError: Another process has it at this moment.
        """
        if self._inode is None:
            yield
            return
        with io.directory(self._root, FOLDER) as folder, locks.locked(folder, _LOCK, create=True):
            yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change it as a whole or not at all. Who does holds the right to."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    @contextlib.contextmanager
    def mended(self) -> Iterator[None]:
        """Give up on a database that turns out to be unusable, so that the next `connect` makes it anew.

        Raises:
            Damaged: It did.
        """
        try:
            yield
        except sqlite3.Error as error:
            where = printable(self._root)
            if self._inode is None:
                raise
            if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise BlockingIOError from error
            if _is_damage(error):
                logger.info("the catalog of %s is damaged (%s), and is made anew", where, error)
                with self.held(), io.directory(self._root, FOLDER) as folder:
                    self.close()
                    listing.unlink_all(folder, _FILE)
            else:  # a full disk, a failed one
                logger.warning("the catalog of %s is kept in memory: %s", where, error)
                self.close()
                self._on_disk = False
            raise Damaged from error

    def scrub(self) -> None:
        """Overwrite what was deleted, also where the words of many texts are merged, and in the log of changes.

        Raises:
            BlockingIOError: Someone reads it at this moment.
        """
        with self.mended(), self.held():
            self.connection.execute("INSERT INTO word (word) VALUES ('optimize')")
            is_busy = False
            if self.is_stored:
                is_busy, *_ = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise BlockingIOError

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._open is not None:
            self._closer()
        self._open, self._inode = None, None

    def _renew(self) -> None:
        if self._open is not None:
            _of_parents.append(self._open)
        self._open, self._inode = None, None


_of_parents: list[sqlite3.Connection] = []
"""What a forked child has from its parent, kept so that no one closes it."""


def _close(connection: sqlite3.Connection, pid: int) -> None:
    if os.getpid() == pid:
        connection.close()
    else:
        _of_parents.append(connection)


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in _DAMAGED


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF
