"""What a database must do for `RowStore`: a few synchronous verbs, each one transaction.

An engine is called in worker threads, by several at once. It knows nothing of entries, totals or codecs: a session is
a `Head` and some lines. A change names the head that it was made from; if another one stands there by now, nothing is
stored and the answer is `STALE`. So no lock is held between reading and writing.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from agents_sessions.concurrency.worker_threads import WorkerThreads
from agents_sessions.keys import SessionKey
from agents_sessions.model.query import Position, SessionQuery
from agents_sessions.stores.base import SetAside
from agents_sessions.stores.rows.head import Head, Line


class AnotherWritesError(Exception):
    """Another process has the lock of the database at this moment. Nothing was done; try again."""


class Verdict(Enum):
    """What became of a change."""

    STORED = auto()
    STALE = auto()
    """The session has changed since its head was read. Nothing was stored."""
    FENCED = auto()
    """The turn has lost its lock. Nothing was stored."""
    MISSING = auto()
    """There is no such session."""


class Write(NamedTuple):
    """A change of one session, from the head that it was made from to the one that it leads to."""

    key: SessionKey
    before: Head
    after: Head
    op: str
    """A random name of this change. One that is tried again after a lost answer is found by it, and not made twice."""
    fence: int
    """The number of the turn that writes, or 0."""
    active_at: str
    """When the newest entry was stored, of the session as it is then."""


class Window(NamedTuple):
    """Which lines are asked for; see `SessionStore.entries`."""

    after: int | None = None
    before: int | None = None
    limit: int | None = None


class Found(NamedTuple):
    """A session as it is stored at one moment."""

    head: Head
    lines: list[bytes]


class Row(NamedTuple):
    """One of many sessions."""

    key: SessionKey
    head: Head


class Engine(ABC):
    """The transport of one database."""

    name: str
    """How errors name the database."""
    place: Hashable
    """What two engines on the same data have in common."""
    threads: WorkerThreads
    """The threads that wait for the database."""
    lock_grace: float = 0.0

    @abstractmethod
    def insert(self, key: SessionKey, head: Head, lines: Sequence[Line], sidecars: Mapping[str, bytes]) -> bool:
        """Store a new session whole; False if there is one of that key."""

    @abstractmethod
    def head(self, key: SessionKey) -> Head | None:
        """Return the head of a session."""

    @abstractmethod
    def read(self, key: SessionKey, window: Window) -> Found | None:
        """Return the head and some lines of a session, as they stand at one moment."""

    @abstractmethod
    def extend(self, write: Write, lines: Sequence[Line]) -> Verdict:
        """Add lines at the end."""

    @abstractmethod
    def swap(self, write: Write, kept: int, kept_seq: int, lines: Sequence[Line]) -> Verdict:
        """Keep the first `kept` lines, up to the number `kept_seq`, and replace all others by these."""

    @abstractmethod
    def remove(self, key: SessionKey) -> bool:
        """Remove a session and its sidecars; tell whether there was one."""

    @abstractmethod
    def scan(self, agent_id: str | None, behind: SessionKey | None, limit: int) -> list[Row]:
        """Return up to `limit` sessions behind a key, in the order of agents and ids; an empty list ends the scan."""

    @abstractmethod
    def find(self, session_id: str) -> list[SessionKey]:
        """Return the keys of the sessions of an id."""

    @abstractmethod
    def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        """Return a sidecar."""

    @abstractmethod
    def write_sidecar(self, key: SessionKey, name: str, data: bytes, fence: int) -> Verdict:
        """Store a sidecar."""

    @abstractmethod
    def list_sidecars(self, key: SessionKey) -> list[str]:
        """Return the names of all sidecars, in any order."""

    @abstractmethod
    def delete_sidecar(self, key: SessionKey, name: str, fence: int) -> bool | Verdict:
        """Remove a sidecar; tell whether there was one, or that the turn is fenced."""

    @abstractmethod
    def set_aside(self, key: SessionKey, aside: SetAside) -> bool:
        """Put a session out of sight; False if there is none."""

    @abstractmethod
    def bring_back(self, token: str) -> SessionKey | None:
        """Put a session back, and return its key; None if another one has it by now.

        Raises:
            LookupError: None was set aside under this token.
        """

    @abstractmethod
    def list_aside(self) -> list[SetAside]:
        """Return what was set aside, the oldest first."""

    @abstractmethod
    def aside(self, token: str) -> Row | None:
        """Return a session that was set aside."""

    @abstractmethod
    def size(self, place: SessionKey | str) -> int | None:
        """Return how many bytes a session takes, or one that was set aside under a token; None if there is none."""

    @abstractmethod
    def discard(self, token: str) -> None:
        """Remove a session that was set aside.

        Raises:
            LookupError: None was set aside under this token.
        """

    @abstractmethod
    def ping(self) -> None:
        """Ask the database for anything, once.

        Raises:
            StoreUnavailableError: It does not answer.
        """

    # --- what an engine may have ---

    def ask(self, query: SessionQuery, behind: Position | None, limit: int) -> list[Row] | None:
        """Return up to `limit` sessions behind a place, in the order of a query, that may match it; None: scan them."""
        del query, behind, limit
        return None

    def tally(self, query: SessionQuery) -> int | None:
        """Return how many sessions match a query, or None: scan them."""
        del query
        return None

    def close(self) -> None:  # noqa: B027 -- some have nothing open
        """Give back what the engine has opened."""
