"""The contract that every backend keeps.

A store is a set of sessions, each an ordered history of entries under one `SessionInfo`. Whatever a backend is
made of, it promises:

* **Atomic batches.** `append` and `rewrite` store all they were given or nothing, also when the process is killed.
* **Nothing acknowledged is lost**, with any number of tasks, event loops, threads and (if the backend is shared
  between them) processes.
* **Order.** Entries come back in the order in which their appends were acknowledged; `seq` only ever grows, and a
  number that was given once is never given again.
* **Read your writes.** An operation that begins after another one was acknowledged sees its effect.
* **No silence.** What cannot be stored without loss is refused before anything is touched; damage is an error,
  never an empty history.
* **Cancellation** of a mutation that has begun waits for its outcome, then is raised.

`agents_sessions.testing.StoreContract` is this page as a test class.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from agents_sessions.errors import InvalidItemError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, check_entries
from agents_sessions.model.history import Message, flaw_of, invalid_fields, messages
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import check_json
from agents_sessions.model.totals import ContextStats, fold

FILE_TIMEOUT = 60.0
"""Seconds that one operation waits for others on the same session before it raises `SessionBusyError`."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Where a session stands after an operation."""

    seq: int
    updated_at: datetime
    context: ContextStats


@dataclass(frozen=True, slots=True)
class History:
    """A whole session: what `rewrite` hands to its change and takes back."""

    info: SessionInfo
    entries: list[Entry]

    def with_entries(self, entries: list[Entry]) -> "History":
        """Return the same session with other entries."""
        return History(self.info, entries)

    def with_facts(self, **facts: object) -> "History":
        """Return the same entries under changed facts; the new values are validated.

        Raises:
            pydantic.ValidationError: A value does not fit its field.
        """
        return History(SessionInfo.model_validate({**dict(self.info), **facts}), self.entries)


Change = Callable[[History], History]


class SessionStore(ABC):
    """A set of sessions. The module's docstring is the contract of every implementation."""

    # --- what a backend implements ---

    @abstractmethod
    async def create(self, info: SessionInfo, entries: Sequence[Entry] = ()) -> SessionInfo:
        """Store a new session and return it with its totals.

        Raises:
            SessionExistsError: There is one of that key; it was not touched.
            InvalidItemError: An entry cannot be stored without loss.
        """

    @abstractmethod
    async def load(self, key: SessionKey) -> SessionInfo | None:
        """Return facts and totals, or None if there is no such session. The cost does not grow with its history."""

    @abstractmethod
    async def entries(self, key: SessionKey, *, last: int | None = None, after: int = 0) -> list[Entry]:
        """Return the history in order: all of it, the newest `last` entries, or those with a `seq` beyond `after`.

        Raises:
            SessionNotFoundError: There is no such session.
        """

    @abstractmethod
    async def append(self, key: SessionKey, entries: Sequence[Entry], *, expected_seq: int | None = None) -> Totals:
        """Add one atomic batch to the end and return the new totals. The cost does not grow with the history.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionConflictError: The session is not at `expected_seq`; nothing was stored.
            InvalidItemError: An entry cannot be stored without loss; nothing was stored.
        """

    @abstractmethod
    async def rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        """Replace a session by what `change` makes of it, atomically, and return it.

        `change` must be a pure function: it may be called more than once. It raises to refuse, which leaves the
        session as it was, and returns the very `History` it was given to say that there is nothing to do. The
        totals are folded again from the entries; entries that keep their `seq` keep it, others get new numbers.

        Raises:
            SessionNotFoundError: There is no such session.
            InvalidItemError: What `change` returned cannot be stored without loss; nothing was stored.
        """

    @abstractmethod
    async def delete(self, key: SessionKey) -> None:
        """Remove a session and its sidecars, for good.

        Raises:
            SessionNotFoundError: There is no such session.
        """

    @abstractmethod
    def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        """Yield every session, or every one of an agent, in the order of its names, one at a time."""

    @abstractmethod
    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        """Return a small document beside a session, or None. A name is one file name or `folder/file`."""

    @abstractmethod
    async def write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        """Store a small document beside a session, atomically.

        Raises:
            SessionNotFoundError: There is no such session.
        """

    @abstractmethod
    async def list_sidecars(self, key: SessionKey) -> list[str]:
        """Return the names of a session's sidecars, sorted; none if there is no such session."""

    @abstractmethod
    async def delete_sidecar(self, key: SessionKey, name: str) -> bool:
        """Remove a sidecar; tell whether there was one."""

    @abstractmethod
    def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AbstractAsyncContextManager[None]:
        """Hold the right to run a turn on a session: alone among all users of the store, for as long as it takes.

        Inside one process it is first come, first served. The lock of a process that died is free at once. It
        does not keep anyone from reading or appending.

        Raises:
            SessionBusyError: It did not come free within `timeout` seconds; None waits for ever.
        """

    # --- what follows from it ---

    def place(self, key: SessionKey) -> Hashable:
        """Return what two stores of this process have in common for a session that both of them keep."""
        return (id(self), key)

    async def items(self, key: SessionKey, *, last: int | None = None) -> list[Item]:
        """Return the SDK items of a session in order: all of them, or the newest `last`.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        entries = await self.entries(key)
        items = [entry["item"] for entry in entries if "item" in entry]
        return items if last is None else items[max(0, len(items) - last) :]

    async def messages(self, key: SessionKey, *, last: int) -> list[Message]:
        """Return the newest `last` messages of user and assistant, oldest first. The cost grows with `last` alone.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        count = last * 2
        while True:
            entries = await self.entries(key, last=count)
            found = messages(entries)
            if len(found) >= last or len(entries) < count:
                return found[max(0, len(found) - last) :]
            count *= 4

    async def find(self, session_id: str) -> list[SessionKey]:
        """Return the keys of all sessions of an id, one per agent that has it."""
        return [info.key async for info in self.scan() if info.id == session_id]


RESERVED_FACTS = frozenset({"format", "salt", "history", "seal"})
"""Names that the session file needs for itself. No backend takes them, so that every session can move to a file."""


def check_facts(info: SessionInfo) -> None:
    """Refuse facts that cannot be stored without loss, before anything is touched.

    Raises:
        InvalidItemError: A value does not fit its field or JSON, or an extra field has a reserved name.
    """
    extra = info.model_extra or {}
    reserved = sorted(RESERVED_FACTS & extra.keys())
    try:
        check_json(info.metadata)
        check_json(extra)
        SessionInfo.model_validate(dict(info))
        info.header()
    except ValidationError as error:
        raise InvalidItemError("the session's facts", f"invalid value of {invalid_fields(error)}") from None
    except AttributeError:  # a text that spells a time can be read as one, but is none
        raise InvalidItemError("the session's facts", "invalid value of created_at") from None
    except (ValueError, OverflowError) as error:
        raise InvalidItemError("the session's metadata", str(error)) from None
    if reserved:
        raise InvalidItemError("the session's facts", f"{', '.join(reserved)} is a name of the file format")


def check_new(entries: Sequence[Entry]) -> None:
    """Refuse entries that cannot be stored without loss, or could never be shown, before anything is touched.

    Raises:
        InvalidItemError: See `check_entries`; also for a record that is incomplete or of no known type, and for an `at`
            that is no time.
    """
    check_entries(entries)
    for number, entry in enumerate(entries, 1):
        if ("record" in entry or "at" in entry) and (flaw := flaw_of(entry)):
            raise InvalidItemError(f"item {number} of {len(entries)}", f"has {flaw}")


def check_change(key: SessionKey, after: History) -> None:
    """Refuse what a `change` returned, if it cannot be stored.

    Raises:
        InvalidItemError: See `check_new` and `check_facts`.
        ValueError: It has another id or agent.
    """
    if after.info.key != key:
        raise ValueError("a rewrite cannot change the id or the agent of a session")
    check_entries(after.entries)
    check_new([entry for entry in after.entries if "seq" not in entry])
    check_facts(after.info)


def renumber(history: History, previous_seq: int) -> tuple[list[Entry], int, ContextStats]:
    """Return the entries of a rewritten session with their numbers, the newest number, and the totals."""
    entries, newest = give_numbers(history.entries, previous_seq)
    return entries, newest, fold(ContextStats(), entries)


def give_numbers(entries: Iterable[Entry], previous_seq: int) -> tuple[list[Entry], int]:
    """Return entries with their numbers, and the newest number of the session.

    An entry keeps its number as long as the numbers grow; a new entry, or one out of place, gets the next one
    that was never used. `previous_seq` is the newest one that was.
    """
    numbered: list[Entry] = []
    newest = previous_seq
    last = 0
    for entry in entries:
        seq = entry.get("seq", 0)
        if seq <= last:
            seq = newest = max(newest, last) + 1
        last = seq
        numbered.append(entry if entry.get("seq") == seq else {**entry, "seq": seq})
    return numbered, max(newest, last)
