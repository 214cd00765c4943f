"""The same contract without a disk: for tests, and for conversations that may be forgotten.

It is also the shortest example of a backend: a dict, a mutex, and the shared rules of `transitions`.
"""

import contextlib
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING

from agents_sessions.concurrency.fair_locks import FairLocks
from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.errors import SessionBusyError, SessionExistsError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, now, timestamp
from agents_sessions.model.ids import check_id, check_key, check_sidecar_name
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.model.redaction import FoundText, Redaction
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
    redacted,
)
from agents_sessions.stores.codec import (
    PLAIN,
    Codec,
    Place,
    SessionCodec,
    decode_entry,
    encode_entry,
    encode_facts,
    info_of,
    open_facts,
)
from agents_sessions.stores.encryption.choosing import codec_for
from agents_sessions.stores.transitions import (
    appended,
    check_new,
    collected,
    created,
    rewritten,
    standing_of,
    window,
)

if TYPE_CHECKING:
    from agents_sessions.stores.encryption.keyring import KeyProvider


@dataclass(frozen=True, slots=True)
class _Version:
    """What one session is at one time. A change makes a new one, so that readers and forks never see half of it."""

    facts: bytes
    lines: tuple[bytes, ...]
    standing: Standing
    state: str | None
    """What the codec keeps behind the newest entry."""


@dataclass(slots=True)
class _Stored:
    """One session. All of it is bytes, so that no caller shares an object with the store."""

    version: _Version
    codec: SessionCodec
    sidecars: dict[str, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.version.facts) + sum(map(len, self.version.lines)) + sum(map(len, self.sidecars.values()))


class MemoryStore(SessionStore):
    """Sessions in the memory of this process, shared by all its threads and event loops.

    Args:
        codec: How bodies, facts and sidecars become bytes.
        encryption: The keys that what is stored is encrypted under: a `KeyRing`.
    """

    def __init__(self, *, codec: Codec = PLAIN, encryption: "KeyProvider | None" = None) -> None:
        self._codec = codec_for(codec, encryption)
        self._sessions: dict[SessionKey, _Stored] = {}
        self._aside: dict[str, tuple[SetAside, _Stored]] = {}
        self._mutex = threading.RLock()
        self._turns = FairLocks()
        renew_in_child(self)

    async def create(
        self, info: SessionInfo, entries: Entries = (), *, sidecars: Mapping[str, bytes] = NO_SIDECARS
    ) -> SessionInfo:
        new = created(info, await collected(entries), timestamp())
        for name in sidecars:
            check_sidecar_name(name)
        codec = self._codec.begin(info.key)
        stored = _Stored(_version(new, codec), codec)
        stored.sidecars = {name: codec.encode_sidecar(name, data) for name, data in sidecars.items()}
        with self._mutex:
            if info.key in self._sessions:
                raise SessionExistsError(info.key)
            self._sessions[info.key] = stored
        return new.info

    async def load(self, key: SessionKey) -> SessionInfo | None:
        check_key(key)
        with self._mutex:
            stored = self._sessions.get(key)
            version = None if stored is None else stored.version
        return None if version is None else self._info(key, version)

    async def entries(
        self, key: SessionKey, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> list[Entry]:
        with self._mutex:
            stored = self._stored(key)
            lines = stored.version.lines
        return window([decode_entry(line, stored.codec) for line in lines], after, before, limit)

    async def append(
        self,
        key: SessionKey,
        entries: Sequence[Entry],
        *,
        expected_seq: int | None = None,
        turn: TurnLock | None = None,
    ) -> Appended:
        check_new(entries)
        with self._mutex:
            stored = self._stored(key)
            before = stored.version
            batch = appended(key, before.standing, entries, now(), expected_seq)
            lines = _lines(batch.entries, stored.codec)
            state = stored.codec.advance(before.state, b"".join(lines))
            stored.version = _Version(before.facts, (*before.lines, *lines), batch.standing, state)
            return batch

    async def rewrite(self, key: SessionKey, change: Change, *, turn: TurnLock | None = None) -> SessionInfo:
        with self._mutex:
            stored = self._stored(key)
            entries = [decode_entry(line, stored.codec) for line in stored.version.lines]
            before = History(self._info(key, stored.version), entries)
            after = rewritten(before, change, now())
            if after is None:
                return before.info
            stored.version = _version(after, stored.codec)
            return self._info(key, stored.version)

    async def redact(
        self, key: SessionKey, redaction: Redaction, *, dry_run: bool = False, turn: TurnLock | None = None
    ) -> list[FoundText]:
        with self._mutex:
            copies = [place for token in self._aside for place in self._redact_aside(token, key, redaction, dry_run)]
        return [*copies, *await super().redact(key, redaction, dry_run=dry_run, turn=turn)]

    def _redact_aside(self, token: str, key: SessionKey, redaction: Redaction, dry_run: bool) -> list[FoundText]:
        aside, stored = self._aside[token]
        if aside.key != key:
            return []
        entries = [decode_entry(line, stored.codec) for line in stored.version.lines]
        info, found = self._info(key, stored.version), list[FoundText]()

        def change(history: History) -> History:
            after, found[:] = redacted(history, redaction)
            return after

        after = rewritten(History(info, entries), change, now())
        if after is not None and not dry_run:
            stored.version = _version(after, stored.codec)
        for name, data in list(stored.sidecars.items()):
            plain, count = redaction.data(stored.codec.decode_sidecar(name, data))
            if count:
                found.append(FoundText("sidecar", name, count))
            if count and not dry_run:
                stored.sidecars[name] = stored.codec.encode_sidecar(name, plain)
        return [FoundText("set aside", f"{token}: {place.kind} {place.name}", place.times) for place in found]

    async def move(self, key: SessionKey, agent_id: str, *, turn: TurnLock | None = None) -> SessionInfo:
        with self._mutex:
            stored = self._stored(key)
            info = self._info(key, stored.version).moved(agent_id)
            if info.key in self._sessions:
                raise SessionExistsError(info.key)
            codec = self._codec.begin(info.key)
            entries = [decode_entry(line, stored.codec) for line in stored.version.lines]
            after = _Stored(_version(History(info, entries), codec), codec)
            for name, data in stored.sidecars.items():
                after.sidecars[name] = codec.encode_sidecar(name, stored.codec.decode_sidecar(name, data))
            self._sessions[info.key] = after
            del self._sessions[key]
            return info

    async def delete(self, key: SessionKey) -> None:
        with self._mutex:
            self._stored(key)
            del self._sessions[key]

    async def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        if agent_id is not None:
            check_id(agent_id, what="agent_id")
        for key in self._keys(lambda key: agent_id in (None, key.agent_id)):
            if (info := await self.load(key)) is not None:
                yield info

    async def find(self, session_id: str) -> list[SessionKey]:
        check_id(session_id)
        return self._keys(lambda key: key.session_id == session_id)

    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        check_sidecar_name(name)
        with self._mutex:
            stored = self._sessions.get(key)
            data = None if stored is None else stored.sidecars.get(name)
        return None if stored is None or data is None else stored.codec.decode_sidecar(name, data)

    async def write_sidecar(self, key: SessionKey, name: str, data: bytes, *, turn: TurnLock | None = None) -> None:
        check_sidecar_name(name)
        with self._mutex:
            stored = self._stored(key)
            stored.sidecars[name] = stored.codec.encode_sidecar(name, data)

    async def list_sidecars(self, key: SessionKey) -> list[str]:
        with self._mutex:
            stored = self._sessions.get(key)
            return [] if stored is None else sorted(stored.sidecars)

    async def delete_sidecar(self, key: SessionKey, name: str, *, turn: TurnLock | None = None) -> bool:
        check_sidecar_name(name)
        with self._mutex:
            stored = self._sessions.get(key)
            return stored is not None and stored.sidecars.pop(name, None) is not None

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[TurnLock]:
        asked = monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._turns.hold(key, timeout))
            except TimeoutError:
                raise SessionBusyError(key, monotonic() - asked, "this process") from None
            yield TurnLock(key)

    async def is_running(self, key: SessionKey) -> bool:
        return self._turns.is_held(key)

    async def set_aside(self, key: SessionKey, note: str = "") -> SetAside:
        aside = SetAside(secrets.token_hex(8), key, now(), note)
        with self._mutex:
            self._stored(key)
            self._aside[aside.token] = (aside, self._sessions.pop(key))
        return aside

    async def bring_back(self, token: str) -> SessionInfo:
        with self._mutex:
            aside, stored = self._aside[token]
            if aside.key in self._sessions:
                raise SessionExistsError(aside.key)
            self._sessions[aside.key] = stored
            del self._aside[token]
            return self._info(aside.key, stored.version)

    async def load_aside(self, token: str) -> SessionInfo:
        with self._mutex:
            aside, stored = self._aside[token]
            return self._info(aside.key, stored.version)

    async def sizes(self, places: Sequence[SessionKey | str]) -> list[int | None]:
        with self._mutex:
            found = [
                self._sessions.get(place) if isinstance(place, SessionKey) else self._aside.get(place, (None, None))[1]
                for place in places
            ]
            return [None if stored is None else stored.size for stored in found]

    async def list_aside(self) -> list[SetAside]:
        with self._mutex:
            return [aside for aside, _ in self._aside.values()]

    async def discard(self, token: str) -> None:
        with self._mutex:
            del self._aside[token]

    @property
    def encrypted(self) -> bool:
        return self._codec is not PLAIN

    async def renew_key(self, place: SessionKey | str) -> bool:
        if not self.encrypted:
            return await super().renew_key(place)
        with self._mutex:
            key, stored = (place, self._stored(place)) if isinstance(place, SessionKey) else self._found_aside(place)
            facts = decode_json(stored.version.facts)
            codec = self._codec.renewed(key, facts.get("codec"))
            if codec is not None:
                stored.version = replace(stored.version, facts=encode_json({**facts, "codec": codec.kept}))
                stored.codec = codec
            return codec is not None

    def _found_aside(self, token: str) -> tuple[SessionKey, _Stored]:
        aside, stored = self._aside[token]
        return aside.key, stored

    def _renew(self) -> None:
        self._mutex = threading.RLock()

    def _keys(self, wanted: Callable[[SessionKey], bool]) -> list[SessionKey]:
        with self._mutex:
            return sorted(filter(wanted, self._sessions))

    def _stored(self, key: SessionKey) -> _Stored:
        try:
            return self._sessions[key]
        except KeyError:
            check_key(key)
            raise SessionNotFoundError(key) from None

    def _info(self, key: SessionKey, version: _Version) -> SessionInfo:
        facts, _ = open_facts(key, decode_json(version.facts), self._codec)
        return info_of(facts, version.standing)


def _version(session: History, codec: SessionCodec) -> _Version:
    lines = [encode_entry(entry, Place(entry["seq"]), codec) for entry in session.entries]
    state: str | None = None
    for line in lines:
        state = codec.advance(state, line)
    return _Version(encode_facts(session.info, codec), tuple(lines), standing_of(session.info), state)


def _lines(batch: Sequence[Entry], codec: SessionCodec) -> list[bytes]:
    return [encode_entry(entry, Place(entry["seq"], k, len(batch)), codec) for k, entry in enumerate(batch, 1)]
