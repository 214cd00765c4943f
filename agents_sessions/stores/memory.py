"""The same contract without a disk: for tests, and for conversations that may be forgotten."""

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from agents_sessions.concurrency.fair_locks import Gates
from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.errors import (
    SessionBusyError,
    SessionConflictError,
    SessionExistsError,
    SessionNotFoundError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, now, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.model.totals import fold
from agents_sessions.stores.base import (
    Change,
    History,
    SessionStore,
    Totals,
    check_change,
    check_facts,
    check_new,
    renumber,
)
from agents_sessions.stores.file.names import encode_name, encode_sidecar_name


@dataclass
class _Kept:
    """One session. Entries are kept as text, so that no caller shares an object with the store."""

    names: tuple[str, str]
    info: SessionInfo
    lines: list[bytes]
    sidecars: dict[str, bytes] = field(default_factory=dict)


class MemoryStore(SessionStore):
    """Sessions in the memory of this process, shared by all its threads and event loops."""

    def __init__(self) -> None:
        self._sessions: dict[SessionKey, _Kept] = {}
        self._mutex = threading.RLock()
        self._gates = Gates()
        renew_in_child(self)

    async def create(self, info: SessionInfo, entries: Sequence[Entry] = ()) -> SessionInfo:
        names = encode_name(info.agent_id, what="agent_id"), encode_name(info.id) + ".json"
        check_new(entries)
        check_facts(info)
        at = timestamp()
        numbered, seq, context = renumber(History(info, list(entries)), 0)
        stored = info.model_copy(update={"seq": seq, "context": context}, deep=True)
        with self._mutex:
            if info.key in self._sessions:
                raise SessionExistsError(info.key)
            self._sessions[info.key] = _Kept(names, stored, [_encode(entry, at) for entry in numbered])
        return stored.model_copy(deep=True)

    async def load(self, key: SessionKey) -> SessionInfo | None:
        with self._mutex:
            kept = self._sessions.get(key)
            return None if kept is None else kept.info.model_copy(deep=True)

    async def entries(self, key: SessionKey, *, last: int | None = None, after: int = 0) -> list[Entry]:
        with self._mutex:
            lines = list(self._kept(key).lines)
        found: list[Entry] = [decode_json(line) for line in lines]
        found = [entry for entry in found if entry["seq"] > after]
        return found if last is None else found[max(0, len(found) - last) :]

    async def append(self, key: SessionKey, entries: Sequence[Entry], *, expected_seq: int | None = None) -> Totals:
        check_new(entries)
        with self._mutex:
            kept = self._kept(key)
            seq = kept.info.seq
            if expected_seq is not None and expected_seq != seq:
                raise SessionConflictError(key, expected_seq, seq)
            if not entries:
                return Totals(seq, kept.info.updated_at, kept.info.context)
            numbered: list[Entry] = [{**entry, "seq": seq + place} for place, entry in enumerate(entries, 1)]
            context = fold(kept.info.context, numbered)
            updated_at = max(now(), kept.info.updated_at)
            lines = [_encode(entry, timestamp(updated_at)) for entry in numbered]
            totals = Totals(seq + len(numbered), updated_at, context)
            info = kept.info.model_copy(update={"seq": totals.seq, "updated_at": updated_at, "context": context})
            kept.lines += lines  # first: `_renew` tells by it what was left half done
            kept.info = info
            return totals

    async def rewrite(self, key: SessionKey, change: Change) -> SessionInfo:
        with self._mutex:
            kept = self._kept(key)
            before = History(kept.info.model_copy(deep=True), [decode_json(line) for line in kept.lines])
            after = change(before)
            if after is before:
                return before.info
            check_change(key, after)
            entries, seq, context = renumber(after, kept.info.seq)
            updated_at = max(now(), kept.info.updated_at)
            info = after.info.model_copy(update={"seq": seq, "context": context, "updated_at": updated_at}, deep=True)
            lines = [_encode(entry, timestamp(updated_at)) for entry in entries]
            self._sessions[key] = replace(kept, info=info, lines=lines)
            return info.model_copy(deep=True)

    async def delete(self, key: SessionKey) -> None:
        with self._mutex:
            self._kept(key)
            del self._sessions[key]

    async def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        if agent_id is not None:
            encode_name(agent_id, what="agent_id")
        for key in self._keys(lambda key: agent_id in (None, key.agent_id)):
            if (info := await self.load(key)) is not None:
                yield info

    async def find(self, session_id: str) -> list[SessionKey]:
        encode_name(session_id)
        return self._keys(lambda key: key.session_id == session_id)

    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        encode_sidecar_name(name)
        with self._mutex:
            kept = self._sessions.get(key)
            return None if kept is None else kept.sidecars.get(name)

    async def write_sidecar(self, key: SessionKey, name: str, data: bytes) -> None:
        encode_sidecar_name(name)
        with self._mutex:
            self._kept(key).sidecars[name] = data

    async def list_sidecars(self, key: SessionKey) -> list[str]:
        with self._mutex:
            kept = self._sessions.get(key)
            return [] if kept is None else sorted(kept.sidecars)

    async def delete_sidecar(self, key: SessionKey, name: str) -> bool:
        encode_sidecar_name(name)
        with self._mutex:
            kept = self._sessions.get(key)
            return kept is not None and kept.sidecars.pop(name, None) is not None

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[None]:
        begun = monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._gates.hold(key, timeout))
            except TimeoutError:
                waited = monotonic() - begun
                raise SessionBusyError(key, waited, "this process") from None
            yield

    def _renew(self) -> None:
        self._mutex = threading.RLock()
        for kept in self._sessions.values():
            # What a thread of the parent was about to append.
            while kept.lines and decode_json(kept.lines[-1])["seq"] > kept.info.seq:
                kept.lines.pop()

    def _keys(self, wanted: Callable[[SessionKey], bool]) -> list[SessionKey]:
        """Return some of the keys in the order that their files would have."""
        with self._mutex:
            return sorted(filter(wanted, self._sessions), key=lambda key: self._sessions[key].names)

    def _kept(self, key: SessionKey) -> _Kept:
        try:
            return self._sessions[key]
        except KeyError:
            raise SessionNotFoundError(key) from None


def _encode(entry: Entry, at: str) -> bytes:
    return encode_json({"at": at, **entry})
