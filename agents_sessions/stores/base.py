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

What create, append and rewrite make of a session (checks, numbers, times, totals) is the same for every backend and
stands in `agents_sessions.stores.transitions`. A backend holds the transport, the transaction and the lock.
`agents_sessions.testing.StoreContract` is this page as a test class; `docs/writing-a-store.md` is for its authors.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from agents_sessions.concurrency import process
from agents_sessions.errors import (
    SessionBusyError,
    SessionConflictError,
    SessionIOError,
    SessionNotFoundError,
    SessionStorageError,
    UnsupportedError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, RedactionRecord, record_entry
from agents_sessions.model.findings import Finding
from agents_sessions.model.history import CONVERSATION, Message, Role, messages
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import encode_json
from agents_sessions.model.query import Page, SessionQuery
from agents_sessions.model.redaction import FoundText, Redaction
from agents_sessions.model.search import Found, SearchHit, SearchQuery, Text, hit, name_of, texts_of
from agents_sessions.model.spend import Origin, SessionSpend, Spend, fold_spend
from agents_sessions.model.titles import title_of
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.model.view import kept, shown_items
from agents_sessions.model.words import places

logger = logging.getLogger("agents_sessions")

Entries: TypeAlias = "Iterable[Entry] | AsyncIterable[Entry]"
"""Entries at hand, or a stream of them: a history that is copied need not fit into memory."""

Durability = Literal["full", "process"]
"""What an acknowledged write survives: a power cut of whatever keeps it, or the death of the process only."""

NO_SIDECARS: Mapping[str, bytes] = MappingProxyType({})

FIRST_ENTRIES = (8, 100)
"""How many entries are read to find a title: few, and if the first message is not among them some more. Then none."""
REDACTED_FACTS = ("name", "metadata", "extensions", "working_dir", "mode")
"""The facts of a session that a redaction changes. Ids and tags, by which it is found, are never changed."""

PAGE = 500
"""How many entries the base class reads at a time where it walks through a history."""

FOLLOW_PAUSES = (0.05, 1.0)
"""Seconds between two looks for new entries: the shortest and the longest time."""


class Standing(NamedTuple):
    """Where a session stands after an operation."""

    seq: int
    updated_at: datetime
    context: ContextStats


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append has stored."""

    entries: list[Entry]
    """The batch as it is stored, with its numbers and times. The dicts are the caller's own."""
    standing: Standing
    """Where the session stands now."""

    @property
    def seq(self) -> int:
        """The number of the newest entry."""
        return self.standing.seq

    @property
    def updated_at(self) -> datetime:
        """When the session last changed."""
        return self.standing.updated_at

    @property
    def context(self) -> ContextStats:
        """The totals of the session."""
        return self.standing.context


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


Change: TypeAlias = Callable[[History], History]

Behind: TypeAlias = Callable[[ContextStats], Sequence[Entry]]
"""What follows the entries of a copy, given their totals. A pure function: it may be called more than once."""


@dataclass(frozen=True, slots=True)
class TurnLock:
    """The right to run a turn on one session, for as long as `turn_lock` holds it.

    The writes of the turn carry it. A backend whose lock can expire (a lease on another machine) checks it inside the
    statement that writes, so that a holder that slept through its lease stores nothing.
    """

    key: SessionKey
    fence: int = 0
    """A number that grows with every holder, where the backend needs one."""


class SetAside(NamedTuple):
    """A session that was put out of sight and can be brought back."""

    token: str
    """What `bring_back` and `discard` take."""
    key: SessionKey
    """Its key before, and after it is brought back."""
    at: datetime
    """When it was set aside."""
    note: str
    """What the caller wanted to remember with it."""


class SessionStore(ABC):
    """A set of sessions. The module's docstring is the contract of every implementation."""

    is_whole: bool = True
    """Whether this shows all sessions that there are, or only those of some users."""

    lock_grace: float = 0.0
    """Seconds within which the turn lock of a process that died is free."""

    # --- what a backend implements ---

    @abstractmethod
    async def create(
        self, info: SessionInfo, entries: Entries = (), *, sidecars: Mapping[str, bytes] = NO_SIDECARS
    ) -> SessionInfo:
        """Store a new session with all that belongs to it, whole or not at all, and return it with its totals.

        Entries keep the numbers and times that they bring; numbers up to `info.seq` count as given.

        Raises:
            SessionExistsError: There is one of that key; it was not touched.
            InvalidItemError, InvalidValueError: An entry, or a fact, cannot be stored without loss.
        """

    @abstractmethod
    async def load(self, key: SessionKey) -> SessionInfo | None:
        """Return facts and totals, or None if there is no such session. The cost does not grow with its history."""

    @abstractmethod
    async def entries(
        self, key: SessionKey, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> list[Entry]:
        """Return entries in order: all, or those with a number above `after` and below `before`.

        With a `limit`, the oldest of these if `after` is given, so that a poller misses none; else the newest.

        Raises:
            SessionNotFoundError: There is no such session.
        """

    @abstractmethod
    async def append(
        self,
        key: SessionKey,
        entries: Sequence[Entry],
        *,
        expected_seq: int | None = None,
        turn: TurnLock | None = None,
    ) -> Appended:
        """Add one atomic batch to the end and return it as it is stored. The cost does not grow with the history.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionConflictError: The session is not at `expected_seq`; nothing was stored.
            InvalidItemError: An entry cannot be stored without loss; nothing was stored.
        """

    @abstractmethod
    async def rewrite(self, key: SessionKey, change: Change, *, turn: TurnLock | None = None) -> SessionInfo:
        """Replace a session by what `change` makes of it, atomically, and return it.

        `change` must be a pure function: it may be called more than once. It raises to refuse, which leaves the
        session as it was, and returns the very `History` it was given to say that there is nothing to do. The
        totals are folded again from the entries; entries that keep their `seq` keep it, others get new numbers.

        Raises:
            SessionNotFoundError: There is no such session.
            InvalidItemError, InvalidValueError: What `change` returned cannot be stored; nothing was stored.
        """

    @abstractmethod
    async def delete(self, key: SessionKey) -> None:
        """Remove a session and its sidecars, for good.

        Raises:
            SessionNotFoundError: There is no such session.
        """

    @abstractmethod
    def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        """Yield every session, or every one of an agent, one at a time, in some stable order of their ids."""

    @abstractmethod
    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        """Return a small document beside a session, or None. A name is `name` or `folder/name`."""

    @abstractmethod
    async def write_sidecar(self, key: SessionKey, name: str, data: bytes, *, turn: TurnLock | None = None) -> None:
        """Store a small document beside a session, atomically.

        Raises:
            SessionNotFoundError: There is no such session.
        """

    @abstractmethod
    async def list_sidecars(self, key: SessionKey) -> list[str]:
        """Return the names of a session's sidecars, sorted; none if there is no such session."""

    @abstractmethod
    async def delete_sidecar(self, key: SessionKey, name: str, *, turn: TurnLock | None = None) -> bool:
        """Remove a sidecar; tell whether there was one."""

    @abstractmethod
    def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AbstractAsyncContextManager[TurnLock]:
        """Hold the right to run a turn on a session: alone among all users of the store, for as long as it takes.

        Inside one process it is first come, first served. The lock of a process that died is free within
        `lock_grace` seconds. It does not keep anyone from reading or appending.

        Raises:
            SessionBusyError: It did not come free within `timeout` seconds; None waits for ever.
        """

    # --- what a backend may implement ---

    async def set_aside(self, key: SessionKey, note: str = "") -> SetAside:
        """Put a session out of sight, whole: no other operation sees it, and its id is free.

        Raises:
            SessionNotFoundError: There is no such session.
            UnsupportedError: This backend cannot.
        """
        raise UnsupportedError(type(self).__name__, "set sessions aside")

    async def bring_back(self, token: str) -> SessionInfo:
        """Put a session that was set aside back in its place, whole.

        Raises:
            LookupError: None was set aside under this token.
            SessionExistsError: Another session has its id by now. Neither was touched.
            UnsupportedError: This backend cannot.
        """
        raise UnsupportedError(type(self).__name__, "set sessions aside")

    async def list_aside(self) -> list[SetAside]:
        """Return the sessions that were set aside, the oldest first."""
        return []

    async def discard(self, token: str) -> None:
        """Remove a session that was set aside, for good.

        Raises:
            LookupError: None was set aside under this token.
            UnsupportedError: This backend cannot.
        """
        raise UnsupportedError(type(self).__name__, "set sessions aside")

    async def load_aside(self, token: str) -> SessionInfo:
        """Return the facts of a session that was set aside.

        Raises:
            LookupError: None was set aside under this token.
            SessionStorageError: It cannot be read.
            UnsupportedError: This backend cannot.
        """
        raise UnsupportedError(type(self).__name__, "set sessions aside")

    async def check(self, *, thorough: bool = False) -> AsyncIterator[Finding]:
        """Yield what is wrong with how the sessions are stored; `thorough` reads every byte of every history.

        What histories say is for others to look at: this is about files, or whatever else the backend is made of.
        """
        del thorough
        nothing: tuple[Finding, ...] = ()
        for finding in nothing:
            yield finding

    async def repair(self, finding: Finding, backup: Path) -> bool:
        """Repair what `check` has found, atomically, with a copy of all that is touched in a folder; tell whether.

        What is not as it was found any more is left alone.
        """
        del finding, backup
        return False

    async def clear_copies(self, key: SessionKey) -> int:
        """Remove the copies that repairs have kept of a session, whether it is there or not; return how many."""
        del key
        return 0

    @property
    def encrypted(self) -> bool:
        """Whether what is stored is hidden from whoever reads the disk: then it is written nowhere else in plain."""
        return False

    async def renew_key(self, place: SessionKey | str) -> bool:
        """Encrypt the data key of a session under the current master key; return whether it was under another.

        `place` is a key, or the token of a session that was set aside. No entry is read or encrypted anew.

        Raises:
            UnsupportedError: This store does not encrypt, or cannot renew a key.
            SessionNotFoundError, LookupError: It is not there.
            EncryptionError: Its key is not to be had.
        """
        del place
        raise UnsupportedError(type(self).__name__, "renew keys: it does not encrypt")

    @property
    def folder(self) -> Path | None:
        """Where a feature may keep files of its own, each in a hidden folder; None if this backend has no folder."""
        return None

    @contextlib.asynccontextmanager
    async def reserve(self, session_id: str) -> AsyncIterator[None]:
        """Hold the right to make a session of an id, whichever agent's: alone among all users of the store.

        A manager looks whether any agent has the id, and then creates; two at once would both find it free. This is for
        the users in one process. A backend that processes share overrides it.
        """
        async with process.makers.hold(self.place(SessionKey("*", session_id))):
            yield

    async def start_over(self, key: SessionKey, *, turn: TurnLock | None = None) -> None:
        """Empty a session that is damaged, and keep what is there aside. One that can be read is not touched.

        Its facts stay, as far as they can be read, and no number is given a second time.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionStorageError: It cannot be read for another reason than damage; it was not touched.
            UnsupportedError: This backend cannot.
        """
        raise UnsupportedError(type(self).__name__, "start a damaged session over")

    async def aclose(self) -> None:  # noqa: B027 -- most backends have nothing open
        """Give back what the store has opened. A manager closes the store that it made, never one it was given."""

    def place(self, key: SessionKey) -> Hashable:
        """Return what two stores of this process have in common for a session that both of them keep."""
        return (id(self), key)

    # --- what follows from it: right here, and faster where a backend knows a way ---

    async def items(self, key: SessionKey, *, limit: int | None = None) -> list[Item]:
        """Return the SDK items that the model sees of a session, in order: all of them, or the newest `limit`.

        What was taken back is not among them, and a summary stands in the place of what it sums up: see `model.view`.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        items = shown_items(await self.entries(key))
        return items if limit is None else items[max(0, len(items) - limit) :]

    async def messages(self, key: SessionKey, *, limit: int, roles: Collection[Role] = CONVERSATION) -> list[Message]:
        """Return the newest `limit` messages of some roles, oldest first. The cost grows with `limit` alone.

        An answer that is no message, since the agent stopped at a tool, is one of the assistant here.

        What was taken back is not among them. What a summary stands for is: people go on seeing it.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        count = limit * 2
        while True:
            entries = await self.entries(key, limit=count)
            found = messages(kept(entries), roles)
            if len(found) >= limit or len(entries) < count:
                return found[max(0, len(found) - limit) :]
            count *= 4

    async def walk(self, key: SessionKey, *, before: int | None = None) -> AsyncIterator[Entry]:
        """Yield a history in order, a page at a time, so that it need not fit into memory.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        after = 0
        while page := await self.entries(key, after=after, before=before, limit=PAGE):
            for entry in page:
                yield entry
            after = page[-1]["seq"]

    async def follow(self, key: SessionKey, *, after: int | None = None) -> AsyncGenerator[Entry, None]:
        """Yield entries as they are stored, in order, until the caller stops: those above `after`, or only new ones.

        It looks up to twenty times a second while entries come, and once a second where none do. Entries that a
        rewrite takes away before they were seen are not seen.

        Raises:
            SessionNotFoundError: There is no such session, or no longer.
        """
        seq = (await self.existing(key)).seq if after is None else after
        pause = FOLLOW_PAUSES[0]
        while True:
            page: list[Entry] = []
            if (await self.existing(key)).seq > seq:
                page = await self.entries(key, after=seq, limit=PAGE)
            for entry in page:
                yield entry
                seq = entry["seq"]
            pause = FOLLOW_PAUSES[0] if page else min(pause * 1.5, FOLLOW_PAUSES[1])
            if len(page) < PAGE:
                await asyncio.sleep(pause)

    async def copy(
        self, source: SessionKey, info: SessionInfo, *, before: int | None = None, behind: Behind | None = None
    ) -> SessionInfo:
        """Create a session with the entries of another one, all or those with a number below `before`.

        They keep their numbers and times. What `behind` returns, given their totals, follows them. Sidecars stay where
        they are.

        Raises:
            SessionNotFoundError: There is no session to copy.
            SessionExistsError: There is one of the new key already; it was not touched.
        """
        return await self.create(info, _followed(self.walk(source, before=before), behind))

    async def move(self, key: SessionKey, agent_id: str, *, turn: TurnLock | None = None) -> SessionInfo:
        """Give a session to another agent, with all that belongs to it, and return it.

        It is with the one agent or with the other. If the process dies in between, it may be with both; it counts as
        the new one's then (`SessionInfo.is_left_behind`), as long as nothing was added to the other.

        Raises:
            SessionNotFoundError: There is no such session.
            SessionExistsError: The agent has one of this id; neither was touched.
            SessionConflictError: Someone wrote to it meanwhile; it was left where it is.
        """
        before = await self.existing(key)
        names = await self.list_sidecars(key)
        beside = {name: data for name in names if (data := await self.read_sidecar(key, name)) is not None}
        after = await self.create(before.moved(agent_id), self.walk(key), sidecars=beside)
        actual = await self.existing(key)
        if (actual.seq, actual.updated_at) != (before.seq, before.updated_at):
            await self.delete(after.key)
            raise SessionConflictError(key, before.seq, actual.seq)
        await self.delete(key)
        return after

    async def query(self, query: SessionQuery) -> Page[SessionInfo]:
        """Return a page of the sessions that are asked for.

        They have titles; see `titled`. While sessions change, no session comes twice on the pages of one question, and
        none that stayed put is missed.
        """
        page = query.page_of([info async for info in self.scan(query.agent_id) if query.matches(info)])
        return Page(await self.titled(page), page.next_cursor)

    async def count(self, query: SessionQuery) -> int:
        """Return how many sessions a question asks for; limit and cursor do not matter."""
        return len([None async for info in self.scan(query.agent_id) if query.matches(info)])

    async def every(self, query: SessionQuery) -> AsyncIterator[SessionInfo]:
        """Yield all sessions that a question asks for, in any order; sort, limit and cursor do not matter."""
        async for info in self.scan(query.agent_id):
            if query.matches(info):
                yield info

    async def sizes(self, places: Sequence[SessionKey | str]) -> list[int | None]:
        """Return how many bytes sessions take, with all that lies beside them; None for one that is not there.

        Sessions that were set aside are named by their tokens. Here, a session counts as its entries and sidecars do;
        one that was set aside is not known.
        """
        return [None if isinstance(place, str) else await self._size(place) for place in places]

    async def _size(self, key: SessionKey) -> int | None:
        info = await self.load(key)
        if info is None:
            return None
        try:
            names = await self.list_sidecars(key)
            beside = [len(await self.read_sidecar(key, name) or b"") for name in names]
            entries = [len(encode_json(entry)) + 1 async for entry in self.walk(key)]
        except SessionNotFoundError:
            return None
        return len(encode_json(info.header())) + sum(beside) + sum(entries)

    async def search(self, query: SearchQuery) -> Page[SearchHit]:
        """Return a page of the places where a text is found, the best first.

        All words must stand in one text, such as a message. Sessions with `indexed=False` are left out, and so is one
        that cannot be read: it hides no other.

        While sessions change, no place comes twice on the pages of one search, and none that stayed put is missed.
        """
        phrases = query.phrases
        found = [one async for one in self._looked_through(query)] if phrases else []
        page = query.page_of(found, query.position()[1])
        return Page((hit(one, phrases) for one in page), page.next_cursor)

    async def _looked_through(self, query: SearchQuery) -> AsyncIterator[Found]:
        phrases = query.phrases
        async for info in self.scan(query.sessions.agent_id):
            if info.indexed and query.sessions.matches(info):
                async for text in self._texts(info, query):
                    if places(text.text, phrases) is not None:
                        yield Found(text.place(info.key, phrases), info, text)

    async def _texts(self, info: SessionInfo, query: SearchQuery) -> AsyncIterator[Text]:
        for text in name_of(info) if "name" in query.kinds else ():
            yield text
        if query.kinds == ("name",):
            return
        try:
            async for entry in self.walk(info.key):
                for text in texts_of(info, [entry]):
                    if text.kind in query.kinds:
                        yield text
        except SessionNotFoundError:  # it has gone in between
            return
        except SessionStorageError as error:
            logger.warning("left out of a search: %s", error)

    async def purge(self) -> None:  # noqa: B027 -- most backends have derived nothing
        """Remove from all that was derived of sessions, such as an index, what no session has any more.

        What was deleted or rewritten is not found from then on in any case. This is for the bytes: when it returns, no
        file of the store holds them, but the files of sessions.
        """

    async def is_running(self, key: SessionKey) -> bool:
        """Tell whether someone holds the turn lock of a session now, without waiting for it.

        Here that is found out by taking the lock for a moment, in which someone else who will not wait is refused. A
        backend that can look without taking overrides it.
        """
        try:
            async with self.turn_lock(key, timeout=0):
                return False
        except SessionBusyError:
            return True

    async def spend_of(self, info: SessionInfo) -> Spend:
        """Return what a session has done and spent, without what it has from its parent.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        spend, page = Spend(origin=Origin.of(info)), await self.entries(info.key, after=0, limit=PAGE)
        while page:
            spend = fold_spend(spend, page)
            page = await self.entries(info.key, after=page[-1]["seq"], limit=PAGE)
        return spend

    async def redact(
        self, key: SessionKey, redaction: Redaction, *, dry_run: bool = False, turn: TurnLock | None = None
    ) -> list[FoundText]:
        """Take text out of all that the store has of a session, for good, and return where it was found.

        The history comes last: if this is cut short, it can be called again. A backend that keeps copies of a session
        (set aside, or what a repair has found) takes it out of those too, by overriding this. A dry run only looks.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        found = []
        for name in await self.list_sidecars(key):
            data = await self.read_sidecar(key, name)
            after, count = (b"", 0) if data is None else redaction.data(data)
            if count:
                found.append(FoundText("sidecar", name, count))
                if not dry_run:
                    await self.write_sidecar(key, name, after, turn=turn)
        if dry_run:
            whole = History(await self.existing(key), await self.entries(key))
            return [*found, *redacted(whole, redaction)[1]]
        inside: list[FoundText] = []

        def change(history: History) -> History:
            after, inside[:] = redacted(history, redaction)
            return after

        await self.rewrite(key, change, turn=turn)
        return [*found, *inside]

    async def spend(self, query: SessionQuery) -> AsyncIterator[SessionSpend]:
        """Yield what each session that a question asks for has done and spent; limit and cursor do not matter.

        One whose history cannot be read comes without its spend. Here every history is read from end to end; a backend
        that keeps what it has folded overrides this.
        """
        async for info in self.scan(query.agent_id):
            if query.matches(info):
                try:
                    yield SessionSpend.of(info, await self.spend_of(info))
                except SessionNotFoundError:  # it was deleted meanwhile
                    continue
                except SessionIOError:  # of the system, and perhaps of the moment: it says nothing of the session
                    raise
                except SessionStorageError:
                    yield SessionSpend.of(info, None)

    async def titled(self, infos: Iterable[SessionInfo]) -> list[SessionInfo]:
        """Return sessions with the titles that those without a name get from their first message.

        Here the first entries of each are read; a backend that has them at hand overrides this.
        """
        return [info if info.title is not None else info.with_title(await self._title(info)) for info in infos]

    async def _title(self, info: SessionInfo) -> str | None:
        try:
            for limit in FIRST_ENTRIES if info.context.user_messages else ():
                if title := title_of(await self.entries(info.key, after=0, limit=limit)):
                    return title
        except SessionIOError:
            raise
        except (SessionNotFoundError, SessionStorageError):  # a title is not worth an error that others will raise
            pass
        return None

    async def find(self, session_id: str) -> list[SessionKey]:
        """Return the keys of all sessions of an id, one per agent that has it."""
        return [info.key async for info in self.scan() if info.id == session_id]

    async def existing(self, key: SessionKey) -> SessionInfo:
        """Return facts and totals of a session that must be there.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        info = await self.load(key)
        if info is None:
            raise SessionNotFoundError(key)
        return info


def redacted(history: History, redaction: Redaction) -> tuple[History, list[FoundText]]:
    """Return a session without a text, with a mark of when it was taken out, and where it was found. Pure."""
    entries, found = [], []
    for entry in history.entries:
        after, count = redaction.entry(entry)
        entries.append(after)
        if count:
            found.append(FoundText("history", f"entry {entry['seq']}", count))
    changed = [before["seq"] for before, after in zip(history.entries, entries, strict=True) if before is not after]
    facts = {}
    for name in REDACTED_FACTS:
        value, count = redaction.value(getattr(history.info, name))
        if count:
            facts[name] = value
            found.append(FoundText("facts", name, count))
    if not found:
        return history, []
    mark: RedactionRecord = {"type": "redaction", "entries": changed}
    return history.with_facts(**facts).with_entries([*entries, record_entry(mark)]), found


async def _followed(entries: AsyncIterator[Entry], behind: Behind | None) -> AsyncIterator[Entry]:
    stats, page = ContextStats(), list[Entry]()
    async for entry in entries:
        yield entry
        page.append(entry)
        if len(page) == PAGE:
            stats, page = fold(stats, page), []
    for entry in () if behind is None else behind(fold(stats, page)):
        yield entry
