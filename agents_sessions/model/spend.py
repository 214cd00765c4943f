"""What one session has done and spent, as a fold over its entries: the ground of all statistics. Pure.

Like the totals, `Spend` is a function of the entries and nothing else, and new entries can be added to what is known
of the old ones. So a catalog may keep it and read only what was written since. Unlike the totals it is not in the
session's file: it grows with the number of days, agents, models and tools.

Nothing is counted twice. Tokens come from usage records alone, of which every request has one: a turn that is resumed
or retried writes new ones, its own record only repeats their sum, and a rollback leaves them. What a fork has from its
parent is the parent's: a fork counts the entries behind its fork point.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import msgspec

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.calls import call_id_of, has_failed, is_output, tool_of
from agents_sessions.model.entries import item_kind, timestamp
from agents_sessions.model.usage import TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry, Item, Record, TurnRecord
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.usage import RequestRow

VERSION = 1
"""Changes with the fold. Who keeps what was folded keeps this with it, and folds again what is of another version."""

SIZES = (32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
"""Input tokens of one request above which some model has another price."""

UNREPORTED = -1
"""The size of a request whose provider has reported no tokens."""

_K = TypeVar("_K")


class Line(NamedTuple):
    """What the requests have in common that are added up: all that a price may depend on."""

    day: str
    """When they were stored, UTC, as in `2026-11-27`."""
    agent: str | None
    """Who made them; None for agents used as tools and in sessions without a manager."""
    model: str | None
    """The name that the Runner was given; None where the SDK does not tell."""
    nested: bool
    """Made by agents used as tools."""
    size: int
    """How many of `SIZES` the input of each exceeds, or `UNREPORTED`."""


class Sums(NamedTuple):
    """What some requests add up to."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    model_ms: int = 0
    """Milliseconds that their models took, as far as they were measured."""

    def plus(self, other: Sums) -> Sums:
        """Return both together."""
        a, b, c, d, e, f, g, h = self  # written out: a report of many sessions does little else
        i, j, k, m, n, o, p, q = other
        return Sums(a + i, b + j, c + k, d + m, e + n, f + o, g + p, h + q)


class Origin(NamedTuple):
    """Where the entries begin that are a session's own."""

    seq: int = 0
    """Entries up to this number are the parent's."""
    at: str = ""
    """So are entries that are older than this."""

    @classmethod
    def of(cls, info: SessionInfo) -> Origin:
        """Return where the own entries of a session begin: for most, with the first."""
        if info.parent_id is None:
            return cls()
        fork = getattr(info, "forked_at", None)
        seq = fork.get("seq") if isinstance(fork, dict) else getattr(fork, "seq", None)
        # A copy that does not say where it left its parent has entries older than itself. No other session has.
        return cls(seq) if isinstance(seq, int) else cls(at=timestamp(info.created_at))

    def has(self, entry: Entry) -> bool:
        """Tell whether an entry is the session's own."""
        return entry.get("seq", 0) > self.seq and entry.get("at", "") >= self.at


ALL = Origin()
"""The origin of a session without a parent."""


class HandoffSum(NamedTuple):
    """How often an agent gave the conversation to another."""

    source: str
    target: str
    times: int


class Spend(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a session has done and spent, without what it has from its parent. To be folded with `fold_spend`.

    A struct, because ten thousand of them are decoded for one report.
    """

    origin: Origin = ALL
    entries: int = 0
    inherited: int = 0
    """Entries that are the parent's."""
    items: dict[str, int] = {}
    """How many items of each kind: messages by their role, others by their type."""
    lines: list[tuple[Line, Sums]] = []
    """The model requests, those that have all in common added up."""
    calls: dict[str, int] = {}
    """How often each tool was called, handoffs included."""
    errors: dict[str, int] = {}
    """How often each tool has failed, as far as its output shows."""
    open_calls: dict[str, str] = {}
    """Calls without an output so far: tools by call ids."""
    handoffs: list[HandoffSum] = []
    handoff_tools: list[str] = []
    """The tools whose calls were handoffs."""
    turns: dict[str, int] = {}
    """How many turns ended with each status."""
    awaiting: bool = False
    """True if the newest turn awaits approval, and so has not ended."""
    failures: dict[str, int] = {}
    """The types of the errors that ended turns."""
    turn_ms: int = 0
    """Milliseconds in which turns ran."""
    first_at: str | None = None
    last_at: str | None = None

    def encode(self) -> bytes:
        """Return the same as JSON."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Spend | None:
        """Return what `encode` has made, or None if it is damaged."""
        try:
            return _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeError):
            return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Spend)


class SessionSpend(NamedTuple):
    """Whose spend it is."""

    key: SessionKey
    user_id: str | None
    name: str | None
    spend: Spend | None
    """None if the history cannot be read."""

    @classmethod
    def of(cls, info: SessionInfo, spend: Spend | None) -> SessionSpend:
        """Return the spend of a session."""
        return cls(info.key, info.user_id, info.name, spend)


def fold_spend(spend: Spend, entries: Iterable[Entry]) -> Spend:
    """Return a spend after some more entries. The one that is given does not change.

    Raises:
        InvalidItemError: A record lacks a part, or has one of another type.
    """
    fold = _Fold(spend)
    try:
        for entry in entries:
            fold.count(entry)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InvalidItemError("a record", "is incomplete, or has a value of the wrong type") from None
    return fold.spend()


class _Fold:
    """A spend that grows, sharing nothing with the one that it started with."""

    def __init__(self, spend: Spend) -> None:
        self._spend = msgspec.structs.replace(
            spend,
            items=spend.items.copy(),
            calls=spend.calls.copy(),
            errors=spend.errors.copy(),
            open_calls=spend.open_calls.copy(),
            turns=spend.turns.copy(),
            failures=spend.failures.copy(),
        )
        self._lines = dict(spend.lines)
        self._handoffs = {(source, target): count for source, target, count in spend.handoffs}
        self._handoff_tools = dict.fromkeys(spend.handoff_tools)

    def spend(self) -> Spend:
        """Return what it has grown to."""
        return msgspec.structs.replace(
            self._spend,
            lines=list(self._lines.items()),
            handoffs=[HandoffSum(*ends, count) for ends, count in self._handoffs.items()],
            handoff_tools=list(self._handoff_tools),
        )

    def count(self, entry: Entry) -> None:
        """Add one entry."""
        spend, at = self._spend, entry.get("at", "")
        if not spend.origin.has(entry):
            spend.inherited += 1
            return
        spend.entries += 1
        spend.first_at = spend.first_at or at
        spend.last_at = at
        if "item" in entry:
            self._count_item(entry["item"])
        elif "record" in entry:
            self._count_record(entry["record"], at[:10])

    def _count_item(self, item: Item) -> None:
        spend = self._spend
        _add(spend.items, item_kind(item))
        if (tool := tool_of(item)) is not None:
            _add(spend.calls, tool)
            if has_failed(item):  # a hosted tool, which has answered in the call itself
                _add(spend.errors, tool)
            elif isinstance(item.get("call_id"), str):
                spend.open_calls[call_id_of(item)] = tool
        elif is_output(item):
            called = spend.open_calls.pop(call_id_of(item), None)
            if called is not None and has_failed(item):
                _add(spend.errors, called)

    def _count_record(self, record: Record, day: str) -> None:
        if record["type"] == "usage":
            for row in record["requests"]:
                self._count_request(row, day)
        elif record["type"] == "handoff":
            _add(self._handoffs, (record["from"], record["to"]))
            if (tool := record.get("tool")) is not None:
                self._handoff_tools[tool] = None
        elif record["type"] == "turn":
            self._count_turn(record)

    def _count_request(self, row: RequestRow, day: str) -> None:
        line = Line(day, row.get("agent"), row.get("model"), bool(row.get("nested", False)), size_of(row))
        sums = Sums(*[cast("int", row.get(name, 0)) for name in (*TOKENS, "duration_ms")])
        before = self._lines.get(line)
        self._lines[line] = sums if before is None else before.plus(sums)

    def _count_turn(self, record: TurnRecord) -> None:
        spend = self._spend
        spend.awaiting = record["status"] == "awaiting_approval"
        spend.turn_ms += record["duration_ms"]
        if not spend.awaiting:
            _add(spend.turns, record["status"])
        if (error := record.get("error")) is not None:
            _add(spend.failures, error)


def size_of(row: RequestRow) -> int:
    """Return how large the input of a request was, in steps of `SIZES`: of several requests, on average."""
    if not (row["total_tokens"] or row["input_tokens"] or row["output_tokens"]):
        return UNREPORTED
    return bisect_left(SIZES, row["input_tokens"] / max(1, row["requests"]))


def _add(counts: dict[_K, int], key: _K) -> None:
    counts[key] = counts.get(key, 0) + 1
