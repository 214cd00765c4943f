"""Sessions as files: `<root>/<agent_id>/<session_id>.json`.

The work is synchronous code on file descriptors, run in a worker thread with one hop per operation. Waiting,
for its turn in this process or for the lock of another, happens in the event loop, so that waiters occupy no
threads.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from agents_sessions.concurrency import process
from agents_sessions.concurrency.settle import settle
from agents_sessions.concurrency.worker_threads import in_thread
from agents_sessions.errors import SessionBusyError, SessionCorruptedError, SessionIOError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, timestamp
from agents_sessions.model.findings import Finding
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import Page, SessionQuery
from agents_sessions.model.redaction import FoundText, Redaction
from agents_sessions.model.search import SearchHit, SearchQuery
from agents_sessions.model.spend import SessionSpend
from agents_sessions.stores.base import (
    NO_SIDECARS,
    Appended,
    Behind,
    Change,
    Durability,
    Entries,
    History,
    SessionStore,
    SetAside,
    TurnLock,
)
from agents_sessions.stores.codec import PLAIN, Codec, SessionCodec
from agents_sessions.stores.encryption.choosing import codec_for
from agents_sessions.stores.file.catalog.answers import Answers
from agents_sessions.stores.file.catalog.catalog import Asked, Catalog
from agents_sessions.stores.file.checks import FileChecks
from agents_sessions.stores.file.creation import Creation, pages
from agents_sessions.stores.file.disk.syscalls import WouldWait
from agents_sessions.stores.file.layout import SidecarNames
from agents_sessions.stores.file.limits import MAX_ITEM_BYTES, MAX_SESSION_BYTES, Limits
from agents_sessions.stores.file.names import encode_name
from agents_sessions.stores.file.queries import INFO_QUERY, Query, entries_query, items_query
from agents_sessions.stores.file.redacting import RedactingFiles
from agents_sessions.stores.file.turn_lock import await_lock, this_process
from agents_sessions.stores.transitions import created

if TYPE_CHECKING:
    from agents_sessions.stores.encryption.keyring import KeyProvider
    from agents_sessions.stores.file.files import GrowingSession

_T = TypeVar("_T")
_SCAN_BATCH = 64
_SPEND_BATCH = 200

WRITE_TIMEOUT = 60.0
"""Seconds that one operation waits for others on the same file before it raises `SessionBusyError`."""

DESCRIPTOR_TIMEOUT = 1.0
"""Seconds that an operation waits for a free descriptor: others of this process free theirs in milliseconds."""


class _ChangeRaised(Exception):
    """What a `change` raised, told apart from what the system says of the session's own file."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _nothing() -> None:
    pass


async def _plainly(begun: Awaitable[_T]) -> _T:
    return await begun


class FileStore(SessionStore):
    """Sessions in a folder of a local disk, for any number of processes of one machine.

    Args:
        root: The folder; `~` is the user's own. It is made, with mode 0700, by the first session that is stored.
        durability: `full` syncs every acknowledged write, so that it survives a power cut; `process` leaves
            syncing to the kernel, so that it survives the death of the process only. A batch is all or nothing
            with both.
        max_item_bytes: The largest item, and the largest header with its metadata, as JSON; None for no limit.
        max_session_bytes: The largest file that items are added to, the largest sidecar, and the largest file that
            is read to mend it; None for no limit. What is in a session already is read whatever its size.
        codec: How bodies, facts and sidecars become bytes.
        encryption: The keys that what is stored is encrypted under: a `KeyRing`. Plain sessions are refused then.
        on_indexing: Called with the number of sessions that were read and that of all that are to be, while a question
            about many sessions waits for more than a few: when it is the first one, or a thousand were copied in.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "sessions",
        *,
        durability: Durability = "full",
        max_item_bytes: int | None = MAX_ITEM_BYTES,
        max_session_bytes: int | None = MAX_SESSION_BYTES,
        codec: Codec = PLAIN,
        encryption: "KeyProvider | None" = None,
        on_indexing: Callable[[int, int], object] | None = None,
    ) -> None:
        if durability not in ("full", "process"):
            raise ValueError(f"durability must be 'full' or 'process', not {durability!r}")
        limits = Limits(max_item_bytes, max_session_bytes)
        limits.check()
        self.root = Path(root).expanduser().absolute()
        self.durability: Durability = durability
        self._files = RedactingFiles(
            self.root, durable=durability == "full", limits=limits, codec=codec_for(codec, encryption)
        )
        self._checks = FileChecks(self._files)
        self._catalog = Catalog(self._files)
        self._on_indexing = on_indexing

    def __repr__(self) -> str:
        return f"FileStore({str(self.root)!r}, durability={self.durability!r})"

    def path(self, key: SessionKey) -> Path:
        """Return where a session's file is, or would be."""
        return self._files.path(key)

    # --- the contract ---

    async def create(
        self, info: SessionInfo, entries: Entries = (), *, sidecars: Mapping[str, bytes] = NO_SIDECARS
    ) -> SessionInfo:
        codec = self._files.codec.begin(info.key)
        beside = self._files.encode_sidecars(info.key, sidecars, codec)
        if beside or isinstance(entries, AsyncIterable):
            return await self._create_in_parts(info, entries, beside, codec)
        new = created(info, list(entries), timestamp())
        data = self._files.encode(new, codec)
        await self._write(info.key, partial(self._files.create, info.key, data))
        return new.info

    async def _create_in_parts(
        self, info: SessionInfo, entries: Entries, sidecars: Mapping[SidecarNames, bytes], codec: SessionCodec
    ) -> SessionInfo:
        """Create a session whose history need not fit into memory."""
        key = info.key
        creation = Creation(info, codec)
        begun: list[GrowingSession] = []  # known to `finally` even if the caller is cancelled while it begins
        try:
            await settle(in_thread(lambda: begun.append(self._files.grow(key))))
            growing = begun[0]
            await settle(in_thread(partial(growing.write, creation.header)))
            async for page in pages(entries):
                await settle(in_thread(partial(growing.write, creation.page(page))))
            new, tail = creation.end()
            await settle(in_thread(partial(growing.write, tail)))
            await self._write(key, partial(growing.publish, sidecars))
        finally:
            for growing in begun:
                await settle(in_thread(growing.close))
        return new

    async def copy(
        self, source: SessionKey, info: SessionInfo, *, before: int | None = None, behind: Behind | None = None
    ) -> SessionInfo:
        copied = await self._write(info.key, partial(self._files.copy, source, info, before, behind))
        return copied or await super().copy(source, info, before=before, behind=behind)

    async def load(self, key: SessionKey) -> SessionInfo | None:
        try:
            return await self._read(key, INFO_QUERY)
        except SessionNotFoundError:
            return None

    async def entries(
        self, key: SessionKey, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> list[Entry]:
        return await self._read(key, entries_query(after, before, limit))

    async def items(self, key: SessionKey, *, limit: int | None = None) -> list[Item]:
        return await self._read(key, items_query(limit))

    async def append(
        self,
        key: SessionKey,
        entries: Sequence[Entry],
        *,
        expected_seq: int | None = None,
        turn: TurnLock | None = None,
    ) -> Appended:
        batch = self._files.encode_batch(key, entries, expected_seq)
        try:
            begin = partial(self._files.begin_append, key, batch)
            return await self._write(key, partial(self._files.append, key, batch), begin, again=True)
        finally:
            batch.abandon()

    async def rewrite(self, key: SessionKey, change: Change, *, turn: TurnLock | None = None) -> SessionInfo:
        def apart(history: History) -> History:
            try:
                return change(history)
            except Exception as error:  # noqa: BLE001 -- all of them: a future takes no StopIteration
                raise _ChangeRaised(error) from None

        try:
            return await self._write(key, partial(self._files.rewrite, key, apart), again=True)
        except _ChangeRaised as raised:
            raise raised.error from raised.error.__cause__

    async def redact(
        self, key: SessionKey, redaction: Redaction, *, dry_run: bool = False, turn: TurnLock | None = None
    ) -> list[FoundText]:
        copies = await self._write(key, partial(self._files.redact_copies, key, redaction, dry_run=dry_run))
        return [*copies, *await super().redact(key, redaction, dry_run=dry_run, turn=turn)]

    async def start_over(self, key: SessionKey, *, turn: TurnLock | None = None) -> None:
        await self._write(key, partial(self._files.start_over, key))

    async def move(self, key: SessionKey, agent_id: str, *, turn: TurnLock | None = None) -> SessionInfo:
        await self.rewrite(key, lambda history: history)  # so that what is moved is whole
        return await self._write(key, partial(self._files.move, key, agent_id))

    async def delete(self, key: SessionKey) -> None:
        await self._write(key, partial(self._files.delete, key))

    async def clear_copies(self, key: SessionKey) -> int:
        return await self._write(key, partial(self._files.clear_copies, key))

    async def set_aside(self, key: SessionKey, note: str = "") -> SetAside:
        return await self._write(key, partial(self._files.set_aside, key, note))

    async def bring_back(self, token: str) -> SessionInfo:
        return await self._attempt(SessionKey("*", token), partial(self._files.bring_back, token), settle)

    async def load_aside(self, token: str) -> SessionInfo:
        return await self._attempt(SessionKey("*", token), partial(self._files.load_aside, token), _plainly)

    async def sizes(self, places: Sequence[SessionKey | str]) -> list[int | None]:
        return await self._attempt(SessionKey("*", "*"), partial(self._files.sizes_of, places), _plainly)

    @property
    def encrypted(self) -> bool:
        return self._files.codec is not PLAIN

    async def renew_key(self, place: SessionKey | str) -> bool:
        if not self.encrypted:
            return await super().renew_key(place)
        key = place if isinstance(place, SessionKey) else SessionKey("*", place)
        return await self._write(key, partial(self._files.renew_key, place), again=True)

    @property
    def folder(self) -> Path:
        return self.root

    async def check(self, *, thorough: bool = False) -> AsyncIterator[Finding]:
        anywhere = SessionKey("*", "*")
        for finding in await self._attempt(anywhere, self._checks.root, _plainly):
            yield finding
        for folder in await in_thread(self._files.agents):
            look = await self._attempt(anywhere, partial(self._checks.folder, folder), _plainly)
            for finding in look.findings:
                yield finding
            for begin in range(0, len(look.files), _SCAN_BATCH):
                some = partial(self._checks.files, folder, look.files[begin : begin + _SCAN_BATCH], thorough=thorough)
                for finding in await self._attempt(anywhere, some, _plainly):
                    yield finding

    async def repair(self, finding: Finding, backup: Path) -> bool:
        key = finding.key or SessionKey("*", "*")
        return await self._write(key, partial(self._checks.repair, finding, backup), again=True)

    async def list_aside(self) -> list[SetAside]:
        return await self._attempt(SessionKey("*", "*"), self._files.list_aside, _plainly)

    async def discard(self, token: str) -> None:
        await self._attempt(SessionKey("*", token), partial(self._files.discard, token), settle)

    async def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        if agent_id is None:
            folders = await in_thread(self._files.agents)
        else:
            folders = [encode_name(agent_id, what="agent_id")]
        for folder in folders:
            names = await in_thread(partial(self._files.files, folder, among_others=agent_id is None))
            for begin in range(0, len(names), _SCAN_BATCH):
                some = partial(self._files.load_some, folder, names[begin : begin + _SCAN_BATCH])
                for info in await self._attempt(SessionKey(agent_id or folder, "*"), some, _plainly):
                    yield info

    async def query(self, query: SessionQuery) -> Page[SessionInfo]:
        page = await self._ask(lambda catalog: catalog.query(query))
        return Page(await self.titled(page), page.next_cursor)

    async def every(self, query: SessionQuery) -> AsyncIterator[SessionInfo]:
        for info in await self._ask(lambda catalog: catalog.every(query)):
            yield info

    async def count(self, query: SessionQuery) -> int:
        return await self._ask(lambda catalog: catalog.count(query))

    async def spend(self, query: SessionQuery) -> AsyncIterator[SessionSpend]:
        if not self._catalog.has_texts:
            async for session in super().spend(query):
                yield session
            return
        for number, row in enumerate(await self._ask(lambda catalog: catalog.spends(query))):
            if number % _SPEND_BATCH == _SPEND_BATCH - 1:
                await asyncio.sleep(0)  # decoding them all at once would keep everyone else waiting
            yield row.decoded()

    async def search(self, query: SearchQuery) -> Page[SearchHit]:
        if not self._catalog.has_texts:
            return await super().search(query)
        return await self._ask(lambda catalog: catalog.search(query))

    async def purge(self) -> None:
        await self._ask(lambda catalog: catalog.scrub())

    async def aclose(self) -> None:
        async with process.writers.hold(self._catalog.place):
            self._catalog.close()

    async def find(self, session_id: str) -> list[SessionKey]:
        return await self._attempt(SessionKey("*", session_id), partial(self._files.find, session_id), _plainly)

    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        return await self._attempt(key, partial(self._files.read_sidecar, key, name), _plainly)

    async def write_sidecar(self, key: SessionKey, name: str, data: bytes, *, turn: TurnLock | None = None) -> None:
        await self._write(key, partial(self._files.write_sidecar, key, name, data), again=True)

    async def list_sidecars(self, key: SessionKey) -> list[str]:
        return await self._attempt(key, partial(self._files.list_sidecars, key), _plainly)

    async def delete_sidecar(self, key: SessionKey, name: str, *, turn: TurnLock | None = None) -> bool:
        return await self._write(key, partial(self._files.delete_sidecar, key, name))

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[TurnLock]:
        begun = monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(process.turn_takers.hold(self.place(key), timeout))
            except TimeoutError:
                raise SessionBusyError(key, monotonic() - begun, this_process()) from None
            stack.enter_context(await await_lock(partial(self._files.try_turn, key), key, begun, timeout))
            yield TurnLock(key)

    async def is_running(self, key: SessionKey) -> bool:
        # A turn of this process is known in its memory. Its lock file would be opened once more, for nothing.
        return process.turn_takers.is_held(self.place(key)) or self._files.is_turn_held(key)

    @contextlib.asynccontextmanager
    async def reserve(self, session_id: str) -> AsyncIterator[None]:
        begun, key = monotonic(), SessionKey("*", session_id)
        async with super().reserve(session_id):
            with await await_lock(partial(self._files.try_reserve, key), key, begun, WRITE_TIMEOUT):
                yield

    # --- crossing to the worker thread ---

    async def _ask(self, question: Callable[[Answers], _T]) -> _T:
        """Bring the catalog up to date, some files at a time, and put a question to it."""
        asked: Asked[Any] = Asked(question)
        async with process.writers.hold(self._catalog.place):
            while not asked.answers:
                await self._attempt(SessionKey("*", "*"), partial(self._catalog.step, asked), settle, again=True)
                if asked.pending and self._on_indexing is not None:
                    self._on_indexing(asked.done, asked.done + len(asked.pending))
        answer: _T = asked.answers[0]
        return answer

    def place(self, key: SessionKey) -> tuple[str, ...]:
        return self._files.place(key)

    async def _write(
        self, key: SessionKey, operation: Callable[[], _T], begin: Callable[[], None] = _nothing, *, again: bool = False
    ) -> _T:
        """Run a mutation in its turn, and await its outcome whatever happens to the caller.

        `begin` does what needs no waiting, on the event loop. `again` says that the operation has changed nothing if it
        finds no free descriptor, and so can wait for one.
        """
        begun = monotonic()
        lock = process.writers.hold(self._files.place(key), WRITE_TIMEOUT)
        try:
            await lock.__aenter__()
        except TimeoutError:
            raise SessionBusyError(key, monotonic() - begun, this_process()) from None
        try:
            begin()
            return await self._attempt(key, operation, settle, again=again)
        finally:
            await lock.__aexit__()

    async def _read(self, key: SessionKey, query: Query[_T]) -> _T:
        """Read a session: at once if the kernel has the bytes in memory, else in a worker thread.

        Decoding holds the GIL, so a thread would not free the event loop for it; it is there for the disk.
        """
        try:
            return self._files.read_at_once(key, query)
        # BlockingIOError: someone has a lease of the file. SessionIOError: perhaps no descriptor is free.
        except (WouldWait, BlockingIOError, SessionCorruptedError, SessionIOError):
            return await self._attempt(key, partial(self._files.read, key, query), _plainly, again=True)

    async def _attempt(
        self,
        key: SessionKey,
        operation: Callable[[], _T],
        wait: Callable[[Awaitable[_T]], Awaitable[_T]],
        *,
        again: bool = False,
    ) -> _T:
        """Run an operation in a worker thread, again and again while another process holds the file's lock."""
        begun = monotonic()
        pause = 0.0005
        while True:
            try:
                return await wait(in_thread(operation))
            except SessionIOError as error:
                if not again or error.errno not in (errno.EMFILE, errno.ENFILE):
                    raise
                if monotonic() - begun > DESCRIPTOR_TIMEOUT:
                    raise
            except BlockingIOError:
                waited = monotonic() - begun
                if waited > WRITE_TIMEOUT:
                    raise SessionBusyError(key, waited, "another process") from None
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)
