"""The whole contract of a store, over an engine.

The work is synchronous code in worker threads, one hop per operation. An append begins from the head that this process
saw last: while no one else writes, it costs one statement and no reading. If someone else has written, the engine says
so, and it is made again from the head that stands there.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, cast

from agents_sessions.concurrency import process
from agents_sessions.concurrency.recent import Recent
from agents_sessions.concurrency.settle import Done, Outcome, settle
from agents_sessions.errors import (
    SessionBusyError,
    SessionCorruptedError,
    SessionExistsError,
    SessionNotFoundError,
    SessionVersionError,
    StoreUnavailableError,
    TurnLostError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, now, timestamp
from agents_sessions.model.ids import check_id, check_key, check_sidecar_name
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import Page, SessionQuery
from agents_sessions.stores.base import (
    NO_SIDECARS,
    Appended,
    Change,
    Entries,
    History,
    SessionStore,
    SetAside,
    Standing,
    TurnLock,
)
from agents_sessions.stores.codec import PLAIN, PLAIN_SESSION, Codec, SessionCodec
from agents_sessions.stores.rows.engine import AnotherWritesError, Engine, Found, Verdict, Window, Write
from agents_sessions.stores.rows.head import Known, Line, Reader, head_of, lines_of
from agents_sessions.stores.transitions import appended, check_new, collected, copied, created, rewritten, standing_of

logger = logging.getLogger("agents_sessions")

WRITE_TIMEOUT = 60.0
"""Seconds that one operation waits for others of this process on the same session."""

_PAGE = 200
_REMEMBERED = 1024

_T = TypeVar("_T")
_Outcome: TypeAlias = tuple[Any, BaseException | None]


class RowStore(SessionStore):
    """Sessions in a database.

    Args:
        engine: The transport.
        codec: How bodies, facts and sidecars become bytes.
    """

    def __init__(self, engine: Engine, *, codec: Codec = PLAIN) -> None:
        self.lock_grace = engine.lock_grace
        self._engine = engine
        self._codec = codec
        self._reader = Reader(codec, engine.name)
        self._last_seen: Recent[SessionKey, Known] = Recent(_REMEMBERED)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._engine.name!r})"

    def place(self, key: SessionKey) -> Hashable:
        return (self._engine.place, key)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> Awaitable[None]:
        """Give back what the store has opened, and take no more calls. It can be called again, and awaited.

        A pool or client that the store was given stays open.
        """
        self._engine.close()
        return Done()

    async def ping(self) -> bool:
        """Ask the database whether it answers.

        Raises:
            StoreClosedError: The store was closed.
        """
        try:
            await self._read(self._engine.ping)
        except StoreUnavailableError:
            return False
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- sessions ---

    async def create(
        self, info: SessionInfo, entries: Entries = (), *, sidecars: Mapping[str, bytes] = NO_SIDECARS
    ) -> SessionInfo:
        new = created(info, await collected(entries), timestamp())
        for name in sidecars:
            check_sidecar_name(name)
        key = new.info.key
        codec = self._codec.begin(key)
        lines = lines_of(new.entries, codec)
        head = head_of(new.info, lines, codec, secrets.token_hex(8))
        beside = {name: codec.encode_sidecar(name, data) for name, data in sidecars.items()}
        if not await self._change(key, partial(self._engine.insert, key, head, lines, beside)):
            raise SessionExistsError(key)
        return new.info

    async def load(self, key: SessionKey) -> SessionInfo | None:
        check_key(key)
        head = await self._read(partial(self._engine.head, key))
        return None if head is None else self._reader.info(key, head)

    async def delete(self, key: SessionKey) -> None:
        check_key(key)
        if not await self._change(key, partial(self._engine.remove, key)):
            raise SessionNotFoundError(key)

    async def find(self, session_id: str) -> list[SessionKey]:
        check_id(session_id)
        return await self._read(partial(self._engine.find, session_id))

    async def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        if agent_id is not None:
            check_id(agent_id, what="agent_id")
        behind: SessionKey | None = None
        while rows := await self._read(partial(self._engine.scan, agent_id, behind, _PAGE)):
            for key, head in rows:
                with contextlib.suppress(SessionCorruptedError, SessionVersionError):
                    yield self._reader.info(key, head)
            behind = rows[-1].key

    async def query(self, query: SessionQuery) -> Page[SessionInfo]:
        try:
            found = await self._asked(query) if self._is_plain else None
        except SessionCorruptedError:  # a scan leaves it out
            found = None
        return await super().query(query) if found is None else query.page(found)

    async def _asked(self, query: SessionQuery) -> list[SessionInfo] | None:
        """Return the sessions of a page, and one more if there is one; None if the engine cannot say."""
        wanted, behind = query.limit + 1, query.position()
        found: list[SessionInfo] = []
        while True:
            rows = await self._read(partial(self._engine.ask, query, behind, wanted))
            if rows is None:
                return None
            read = [self._reader.info(key, head) for key, head in rows]
            found += [info for info in read if query.matches(info)]
            if len(rows) < wanted or len(found) >= wanted:
                return found[:wanted]
            behind = query.place_of(read[-1])

    async def count(self, query: SessionQuery) -> int:
        tally = await self._read(partial(self._engine.tally, query)) if self._is_plain else None
        return await super().count(query) if tally is None else tally

    @property
    def _is_plain(self) -> bool:
        """Whether the engine sees the facts. Behind another codec it cannot filter by them."""
        return self._codec is PLAIN

    # --- history ---

    async def entries(
        self, key: SessionKey, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> list[Entry]:
        check_key(key)
        return await self._read(partial(self._entries, key, Window(after, before, limit)))

    def _entries(self, key: SessionKey, window: Window) -> list[Entry]:
        found = self._found(key, window)
        known = self._reader.known(key, found.head)
        self._last_seen.put(key, known)  # who has read often appends next
        return self._reader.entries(key, found.lines, known.codec)

    async def append(
        self,
        key: SessionKey,
        entries: Sequence[Entry],
        *,
        expected_seq: int | None = None,
        turn: TurnLock | None = None,
    ) -> Appended:
        check_key(key)
        check_new(entries)
        given = copied(entries)  # the caller may change its objects while we wait
        return await self._change(key, partial(self._append, key, given, expected_seq, turn))

    def _append(
        self, key: SessionKey, entries: Sequence[Entry], expected_seq: int | None, turn: TurnLock | None
    ) -> Appended:
        op = secrets.token_hex(12)
        known = self._last_seen.get(key)
        if known is None or not entries or expected_seq not in (None, known.standing.seq):
            known = self._known(key)
        while True:
            batch = appended(key, known.standing, entries, now(), expected_seq)
            if not entries:
                return batch
            lines = lines_of(batch.entries, known.codec, batch=True)
            after = known.after(batch.standing, b"".join(line.data for line in lines))
            write = Write(key, known.head, after, op, _fence(turn), _active_at(batch.standing))
            if self._is_stored(key, self._engine.extend(write, lines)):
                self._last_seen.put(key, Known(after, batch.standing, known.codec))
                return batch
            known = self._known(key)

    async def rewrite(self, key: SessionKey, change: Change, *, turn: TurnLock | None = None) -> SessionInfo:
        check_key(key)
        return await self._change(key, partial(self._rewrite, key, change, turn))

    def _rewrite(self, key: SessionKey, change: Change, turn: TurnLock | None) -> SessionInfo:
        op = secrets.token_hex(12)
        while True:
            found = self._found(key, Window())
            info, codec = self._reader.info(key, found.head), self._reader.known(key, found.head).codec
            after = rewritten(History(info, self._reader.entries(key, found.lines, codec)), change, now())
            if after is None:
                return info
            lines = lines_of(after.entries, codec)
            kept = _kept(found.lines, lines)
            head = head_of(after.info, lines, codec, found.head.ident, found.head.version + 1)
            active_at = _active_at(standing_of(after.info))
            write = Write(key, found.head, head, op, _fence(turn), active_at)
            kept_seq = lines[kept - 1].seq if kept else 0
            if self._is_stored(key, self._engine.swap(write, kept, kept_seq, lines[kept:])):
                return self._reader.info(key, head)

    # --- sidecars ---

    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        check_key(key)
        check_sidecar_name(name)
        return await self._read(partial(self._read_sidecar, key, name))

    def _read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        data = self._engine.read_sidecar(key, name)
        return None if data is None else self._session_codec(key).decode_sidecar(name, data)

    async def write_sidecar(self, key: SessionKey, name: str, data: bytes, *, turn: TurnLock | None = None) -> None:
        check_key(key)
        check_sidecar_name(name)
        await self._change(key, partial(self._write_sidecar, key, name, data, turn))

    def _write_sidecar(self, key: SessionKey, name: str, data: bytes, turn: TurnLock | None) -> None:
        encoded = self._session_codec(key).encode_sidecar(name, data)
        self._is_stored(key, self._engine.write_sidecar(key, name, encoded, _fence(turn)))

    async def list_sidecars(self, key: SessionKey) -> list[str]:
        check_key(key)
        return sorted(await self._read(partial(self._engine.list_sidecars, key)))

    async def delete_sidecar(self, key: SessionKey, name: str, *, turn: TurnLock | None = None) -> bool:
        check_key(key)
        check_sidecar_name(name)
        verdict = await self._change(key, partial(self._engine.delete_sidecar, key, name, _fence(turn)))
        return verdict if isinstance(verdict, bool) else self._is_stored(key, verdict)

    # --- aside ---

    async def set_aside(self, key: SessionKey, note: str = "") -> SetAside:
        check_key(key)
        aside = SetAside(secrets.token_hex(12), key, now(), note)
        if not await self._change(key, partial(self._engine.set_aside, key, aside)):
            raise SessionNotFoundError(key)
        return aside

    async def bring_back(self, token: str) -> SessionInfo:
        aside = [each for each in await self.list_aside() if each.token == token]
        if not aside:
            raise LookupError(f"nothing was set aside under {token!r:.80}")
        key = aside[0].key
        if await self._change(key, partial(self._engine.bring_back, token)) is None:
            raise SessionExistsError(key)
        return await self.existing(key)

    async def load_aside(self, token: str) -> SessionInfo:
        row = await self._read(partial(self._engine.aside, token))
        if row is None:
            raise LookupError(f"nothing was set aside under {token!r:.80}")
        return self._reader.info(*row)

    async def sizes(self, places: Sequence[SessionKey | str]) -> list[int | None]:
        return await self._read(lambda: [self._engine.size(place) for place in places])

    async def list_aside(self) -> list[SetAside]:
        return await self._read(self._engine.list_aside)

    async def discard(self, token: str) -> None:
        await self._change(SessionKey("*", token or "*"), partial(self._engine.discard, token))

    # --- what the synchronous parts share ---

    def _known(self, key: SessionKey) -> Known:
        head = self._engine.head(key)
        if head is None:
            raise SessionNotFoundError(key)
        return self._reader.known(key, head)

    def _found(self, key: SessionKey, window: Window) -> Found:
        found = self._engine.read(key, window)
        if found is None:
            raise SessionNotFoundError(key)
        return found

    def _session_codec(self, key: SessionKey) -> SessionCodec:
        return PLAIN_SESSION if self._is_plain else self._known(key).codec

    def _is_stored(self, key: SessionKey, verdict: Verdict) -> bool:
        """Tell whether a change is stored; it is to be made again if not.

        Raises:
            SessionNotFoundError, TurnLostError: It cannot be made.
        """
        if verdict is Verdict.MISSING:
            raise SessionNotFoundError(key)
        if verdict is Verdict.FENCED:
            raise TurnLostError(key)
        return verdict is Verdict.STORED

    # --- crossing to the worker thread ---

    async def _read(self, operation: Callable[[], _T]) -> _T:
        return await self._attempt(operation, _plainly)

    async def _change(self, key: SessionKey, operation: Callable[[], _T]) -> _T:
        """Run a mutation in its turn, and await its outcome whatever happens to the caller."""
        begun = monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(process.writers.hold(self.place(key), WRITE_TIMEOUT))
            except TimeoutError:
                raise SessionBusyError(key, monotonic() - begun, "this process") from None
            return await self._attempt(operation, settle)

    async def _attempt(
        self, operation: Callable[[], _T], wait: "Callable[[Outcome[_Outcome]], Awaitable[_Outcome]]"
    ) -> _T:
        """Run an operation in a worker thread, again and again while another process holds the database."""
        begun, pause = monotonic(), 0.0005
        while True:
            result, error = await wait(self._engine.threads.start(partial(_outcome_of, operation)))
            if not isinstance(error, AnotherWritesError):
                return cast("_T", _result_of(result, error))
            if (waited := monotonic() - begun) > WRITE_TIMEOUT:
                raise SessionBusyError("*", waited, "another process")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.02)


async def _plainly(begun: Awaitable[_T]) -> _T:
    return await begun


def _outcome_of(operation: Callable[[], Any]) -> _Outcome:
    try:
        return operation(), None
    except BaseException as error:  # noqa: BLE001 -- all of them: a future takes no StopIteration
        return None, error


def _result_of(result: _T, error: BaseException | None) -> _T:
    try:
        if error is not None:
            raise error
        return result
    finally:
        del error  # its traceback holds this frame


def _fence(turn: TurnLock | None) -> int:
    return 0 if turn is None else turn.fence


def _active_at(standing: Standing) -> str:
    return standing.context.last_entry_at or timestamp(standing.updated_at)


def _kept(before: Sequence[bytes], after: Sequence[Line]) -> int:
    """Return how many lines at the beginning are the same."""
    for place, (old, new) in enumerate(zip(before, after, strict=False)):
        if old != new.data:
            return place
    return min(len(before), len(after))
