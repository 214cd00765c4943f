"""The verbs of a store, each one script."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote_from_bytes

from agents_sessions.concurrency.worker_threads import SERVER_THREADS
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time, timestamp
from agents_sessions.model.lossless_json import decode_json, encode_json
from agents_sessions.stores.base import SetAside
from agents_sessions.stores.leases.lease import Claim, LeaseEngine, Taken, Terms
from agents_sessions.stores.redis import scripts
from agents_sessions.stores.redis.database import Argument, Database, Script
from agents_sessions.stores.rows.engine import Found, Row, Verdict, Window, Write
from agents_sessions.stores.rows.head import Head, Line
from agents_sessions.stores.rows.text import escaped, unescaped

_HEAD = ("ident", "version", "facts", "seq", "updated_at", "totals", "state")
_LARGEST = 2**53
_VERDICTS = {
    b"stored": Verdict.STORED,
    b"stale": Verdict.STALE,
    b"fenced": Verdict.FENCED,
    b"missing": Verdict.MISSING,
}

INSERT, EXTEND, SWAP, READ = map(Script, (scripts.INSERT, scripts.EXTEND, scripts.SWAP, scripts.READ))
REMOVE, MOVE, SIZE = map(Script, (scripts.REMOVE, scripts.MOVE, scripts.SIZE))
WRITE_SIDECAR, DELETE_SIDECAR = map(Script, (scripts.WRITE_SIDECAR, scripts.DELETE_SIDECAR))
ACQUIRE, RENEW, RELEASE = map(Script, (scripts.ACQUIRE, scripts.RENEW, scripts.RELEASE))
IS_HELD, RESERVE, UNRESERVE = map(Script, (scripts.IS_HELD, scripts.RESERVE, scripts.UNRESERVE))


class RedisEngine(LeaseEngine):
    """The sessions below one prefix."""

    threads = SERVER_THREADS

    def __init__(self, database: Database, terms: Terms, place: Hashable, *, prefix: str, ttl: float | None) -> None:
        self._database = database
        self._prefix = prefix
        self._ttl = 0 if ttl is None else max(1, round(ttl * 1000))
        self.terms = terms
        self.name = database.name
        self.place = place

    # --- sessions ---

    def insert(self, key: SessionKey, head: Head, lines: Sequence[Line], sidecars: Mapping[str, bytes]) -> bool:
        fields = [part for pair in zip(_HEAD, _values(head), strict=True) for part in pair]
        beside = [part for name, data in sidecars.items() for part in (_raw(name), data)]
        arguments = [head.ident, self._ttl, len(_HEAD), *fields, len(sidecars), *beside, *map(_stored, lines)]
        self._note(key)
        is_made = bool(self._database.change(INSERT, self._keys(key), *arguments))
        self._note(key)  # again: one who removes a session of this key at this time may have forgotten it meanwhile
        return is_made

    def head(self, key: SessionKey) -> Head | None:
        return _head_of(self._database.call("HMGET", self._keys(key)[0], *_HEAD))

    def remove(self, key: SessionKey) -> bool:
        keys = self._keys(key)
        is_gone = self._database.run(lambda again: self._database.change_once(REMOVE, keys, ()) == 1 or again)
        self._forget(key)
        return is_gone

    def scan(self, agent_id: str | None, behind: SessionKey | None, limit: int) -> list[Row]:
        rows: list[Row] = []
        for key in self._noted(agent_id, behind, limit):
            rows += self._rows(key)
            if len(rows) >= limit:
                break
        return rows

    def find(self, session_id: str) -> list[SessionKey]:
        agents = [unescaped(agent.decode()) for agent in self._database.call("ZRANGE", self._agents, 0, -1)]
        keys = [SessionKey(agent, session_id) for agent in agents]
        there = self._database.each([("EXISTS", self._keys(key)[0]) for key in keys])
        return [key for key, is_there in zip(keys, there, strict=True) if is_there]

    # --- history ---

    def read(self, key: SessionKey, window: Window) -> Found | None:
        head_key, lines_key = self._keys(key)[:2]
        if window == Window() and self._database.takes_both:  # in half the time of the script, which copies every line
            found = self._database.both(("HMGET", head_key, *_HEAD), ("LRANGE", lines_key, 0, -1))
        else:
            bounds = ["" if bound is None else str(_clamped(bound)) for bound in window]
            found = self._database.ask(READ, (head_key, lines_key), *bounds)
        if not found:
            return None
        head = _head_of(found[0])
        return None if head is None else Found(head, [line.partition(b" ")[2] for line in found[1]])

    def extend(self, write: Write, lines: Sequence[Line]) -> Verdict:
        _, version, _, seq, updated_at, totals, state = _values(write.after)
        arguments = [version, seq, updated_at, totals, state, *map(_stored, lines)]
        return self._written(EXTEND, write, arguments)

    def swap(self, write: Write, kept: int, kept_seq: int, lines: Sequence[Line]) -> Verdict:
        return self._written(SWAP, write, [kept, *_values(write.after)[1:], *map(_stored, lines)])

    # --- sidecars ---

    def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        data = self._database.call("HGET", self._keys(key)[2], _raw(name))
        return None if data is None else bytes(data)

    def write_sidecar(self, key: SessionKey, name: str, data: bytes, fence: int) -> Verdict:
        return _VERDICTS[self._database.change(WRITE_SIDECAR, self._keys(key), fence, self._ttl, _raw(name), data)]

    def list_sidecars(self, key: SessionKey) -> list[str]:
        return [unescaped(name.decode()) for name in self._database.call("HKEYS", self._keys(key)[2])]

    def delete_sidecar(self, key: SessionKey, name: str, fence: int) -> bool | Verdict:
        def work(again: bool) -> bool | Verdict:
            answer = self._database.change_once(DELETE_SIDECAR, self._keys(key), (fence, _raw(name)))
            return Verdict.FENCED if answer == b"fenced" else answer == 1 or again

        return self._database.run(work)

    # --- aside ---

    def set_aside(self, key: SessionKey, aside: SetAside) -> bool:
        names = [escaped(aside.token), *key, timestamp(aside.at), aside.note]
        self._database.call("HSET", self._aside, names[0], encode_json(names[1:]))
        is_moved = self._move(self._keys(key), self._keys(key, aside.token)) == 1
        if is_moved:
            self._forget(key)
        else:
            self._database.call("HDEL", self._aside, names[0])
        return is_moved

    def bring_back(self, token: str) -> SessionKey | None:
        key = self._aside_key(token)
        self._note(key)
        moved = self._move(self._keys(key, token), self._keys(key))
        self._note(key)
        if moved == -1:
            return None
        self._database.call("HDEL", self._aside, escaped(token))
        if moved == 0:
            raise _nothing_aside(token)
        return key

    def list_aside(self) -> list[SetAside]:
        tokens = self._database.call("HKEYS", self._aside)
        values = self._database.call("HMGET", self._aside, *tokens) if tokens else []
        found = []
        for token, value in zip(tokens, values, strict=True):
            if value is None:  # gone since its token was read
                continue
            agent, name, at, note = decode_json(value)
            found.append(SetAside(unescaped(token.decode()), SessionKey(agent, name), parse_time(at), note))
        there = self._database.each([("EXISTS", self._keys(each.key, each.token)[0]) for each in found])
        return sorted((each for each, is_there in zip(found, there, strict=True) if is_there), key=lambda each: each.at)

    def aside(self, token: str) -> Row | None:
        value = self._database.call("HGET", self._aside, escaped(token))
        if value is None:
            return None
        key = SessionKey(*decode_json(value)[:2])
        head = _head_of(self._database.call("HMGET", self._keys(key, token)[0], *_HEAD))
        return None if head is None else Row(key, head)

    def size(self, place: SessionKey | str) -> int | None:
        if isinstance(place, SessionKey):
            keys = self._keys(place)
        elif (row := self.aside(place)) is not None:
            keys = self._keys(row.key, place)
        else:
            return None
        size = int(self._database.ask(SIZE, keys))
        return None if size < 0 else size

    def discard(self, token: str) -> None:
        keys = self._keys(self._aside_key(token), token)
        is_gone = self._database.run(lambda again: self._database.change_once(REMOVE, keys, ()) == 1 or again)
        self._database.call("HDEL", self._aside, escaped(token))
        if not is_gone:
            raise _nothing_aside(token)

    # --- turns ---

    def acquire(self, claim: Claim, holder: str) -> Taken | None:
        arguments = (claim.nonce, self._lease, _raw(holder))
        # Nothing waits for the disk here: after a crash that has lost it, the next fence is larger all the same.
        answer = self._database.ask(ACQUIRE, self._keys(claim.key)[:1], *arguments)
        if not answer:
            return None
        fence, name, age = answer
        return Taken(int(fence), unescaped(name.decode()), int(age) / 1000)

    def renew(self, claims: Sequence[Claim]) -> Collection[str]:
        def work(_: bool) -> set[str]:
            held = [
                self._database.evaluate(RENEW, self._keys(claim.key)[:1], (claim.nonce, self._lease))
                for claim in claims
            ]
            return {claim.nonce for claim, is_held in zip(claims, held, strict=True) if is_held}

        return self._database.run(work, once=True)

    def release(self, claim: Claim) -> None:
        self._database.ask(RELEASE, self._keys(claim.key)[:1], claim.nonce)

    def is_held(self, key: SessionKey) -> bool:
        return bool(self._database.ask(IS_HELD, self._keys(key)[:1]))

    def reserve(self, name: str, nonce: str) -> bool:
        return bool(self._database.ask(RESERVE, [self._reservation(name)], nonce, self._lease))

    def unreserve(self, name: str, nonce: str) -> None:
        self._database.ask(UNRESERVE, [self._reservation(name)], nonce)

    def ping(self) -> None:
        self._database.run(lambda _: self._database.ping(), once=True)

    def close(self) -> None:
        self._database.close()

    # --- keys ---

    @property
    def _agents(self) -> str:
        return f"{self._prefix}:agents"

    @property
    def _aside(self) -> str:
        return f"{self._prefix}:aside"

    @property
    def _lease(self) -> int:
        return round(self.terms.lease * 1000)

    def _keys(self, key: SessionKey, token: str = "") -> list[str]:
        beside = f":x:{_quoted(token)}" if token else ""
        return [f"{self._prefix}:{{{_tag(key)}}}{beside}:{part}" for part in "hes"]

    def _sessions_of(self, agent_id: str) -> str:
        return f"{self._prefix}:a:{{{_quoted(agent_id)}}}"

    def _reservation(self, session_id: str) -> str:
        return f"{self._prefix}:r:{{{_quoted(session_id)}}}"

    # --- inside ---

    def _written(self, script: Script, write: Write, arguments: Sequence[Argument]) -> Verdict:
        before = (write.before.ident, write.before.version, write.fence, write.op, self._ttl)
        return _VERDICTS[self._database.change(script, self._keys(write.key), *before, *arguments)]

    def _move(self, here: list[str], there: list[str]) -> int:
        def work(again: bool) -> int:
            moved = int(self._database.change_once(MOVE, [*here, *there], ()))
            return 1 if again and moved == 0 and self._database.call("EXISTS", there[0]) else moved

        return self._database.run(work)

    def _note(self, key: SessionKey) -> None:
        self._database.call("ZADD", self._agents, 0, _raw(key.agent_id))
        self._database.call("ZADD", self._sessions_of(key.agent_id), 0, _raw(key.session_id))

    def _forget(self, key: SessionKey) -> None:
        self._database.call("ZREM", self._sessions_of(key.agent_id), _raw(key.session_id))
        if self._database.call("EXISTS", self._keys(key)[0]):  # made anew meanwhile
            self._note(key)

    def _noted(self, agent_id: str | None, behind: SessionKey | None, limit: int) -> Iterator[list[SessionKey]]:
        """Yield the keys behind a key, some at a time, that may be there."""
        first = b"-" if behind is None else b"[" + _raw(behind.agent_id)
        if agent_id is None:
            agents = [
                unescaped(agent.decode()) for agent in self._database.call("ZRANGEBYLEX", self._agents, first, b"+")
            ]
        else:
            agents = [agent_id]
        for agent in agents:
            last = None if behind is None or behind.agent_id != agent else behind.session_id
            while True:
                begin = b"-" if last is None else b"(" + _raw(last)
                found = self._database.call("ZRANGEBYLEX", self._sessions_of(agent), begin, b"+", "LIMIT", 0, limit)
                if not found:
                    break
                keys = [SessionKey(agent, unescaped(name.decode())) for name in found]
                yield keys
                last = keys[-1].session_id

    def _rows(self, keys: list[SessionKey]) -> list[Row]:
        answers = self._database.each([("HMGET", self._keys(key)[0], *_HEAD) for key in keys])
        heads = [(key, _head_of(answer)) for key, answer in zip(keys, answers, strict=True)]
        return [Row(key, head) for key, head in heads if head is not None]

    def _aside_key(self, token: str) -> SessionKey:
        value = self._database.call("HGET", self._aside, escaped(token))
        if value is None:
            raise _nothing_aside(token)
        return SessionKey(*decode_json(value)[:2])


def _nothing_aside(token: str) -> LookupError:
    return LookupError(f"nothing was set aside under {token!r:.80}")


def _quoted(text: str) -> str:
    """Return an id as part of a key: no brace in it ends the hash tag."""
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


def _tag(key: SessionKey) -> str:
    return f"{_quoted(key.agent_id)}/{_quoted(key.session_id)}"


def _raw(text: str) -> bytes:
    return escaped(text).encode()


def _values(head: Head) -> tuple[Argument, ...]:
    return (*head[:-1], head.state or "")


def _head_of(row: Sequence[Any]) -> Head | None:
    if row[0] is None:
        return None
    ident, version, facts, seq, updated_at, totals, state = row
    return Head(ident.decode(), int(version), facts, int(seq), updated_at.decode(), totals, state.decode() or None)


def _stored(line: Line) -> bytes:
    """Return a line with its number in front, which scripts search by."""
    return b"%d %s" % line


def _clamped(number: int) -> int:
    return max(-_LARGEST, min(number, _LARGEST))
