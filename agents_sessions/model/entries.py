"""What a history is made of.

A history is a list of entries. An entry is an envelope (`seq`, `at`, `agent`, `turn`) around one body: an SDK
`item`, stored exactly as the Runner gave it, or a `record` of ours. Some records say what was done: a handoff, the
usage of model requests, a decision about tool calls, the end of a turn. Others speak of the history itself: a view,
a checkpoint, a merge, a redaction. What we know about an item stays in the envelope: a key added to the item itself
would be sent to the model, which rejects it.

Entries are plain dicts inside the package, because ten thousand of them are read in milliseconds;
`agents_sessions.history` has the typed values that users see.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NotRequired, TypedDict

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.lossless_json import JsonObject, check_json, encode_exactly
from agents_sessions.model.usage import RequestRow as RequestRow

Item = JsonObject
"""An SDK input item (`TResponseInputItem`), as plain JSON data."""

TurnStatus = Literal["completed", "failed", "cancelled", "interrupted", "awaiting_approval"]
"""How a turn ended. `interrupted` means that its process died."""

ViewReason = Literal["undo", "redo", "rewind", "remove", "compaction", "edit", "fork"]
"""Why the view of a history has changed. `edit`: someone has replaced items by hand, such as the SDK's compaction."""


TurnStart = Literal["entry", "agent"]
"""The session's own agent was to begin a turn, or one that the caller named."""


class UsageRecord(TypedDict):
    """The model requests that were made since the entry before."""

    type: Literal["usage"]
    requests: list[RequestRow]
    lost: NotRequired[bool]
    """True if the turn that made them had lost its session, so that nothing else of it is here."""


HandoffRecord = TypedDict(
    "HandoffRecord",
    {
        "type": Literal["handoff"],
        "from": str,
        "to": str,
        "tool": NotRequired[str],
        "arguments": NotRequired[str],
    },
)
"""One agent gave the conversation to another."""


class DecisionRecord(TypedDict):
    """Someone has decided about tool calls that waited for approval. Stored before any of them runs."""

    type: Literal["decision"]
    approved: list[str]
    """Call ids."""
    rejected: list[str]
    message: NotRequired[list[Item]]
    """What the turn was sent with it. The history has it as items once what was decided has its outputs."""


class TurnRecord(TypedDict):
    """The end of one turn. Its `usage` repeats the sum of the turn's usage records for the reader's eye."""

    type: Literal["turn"]
    status: TurnStatus
    usage: RequestRow
    duration_ms: int
    last_agent: NotRequired[str]
    error: NotRequired[str]
    asked: NotRequired[list[str]]
    """The calls among its items that it awaits approval for: they cannot have run until a decision approves them."""
    answer: NotRequired[str]
    """What the turn answered, if no message has it: what a tool returned can be the answer, as it is or in part."""
    message: NotRequired[list[Item]]
    """What the turn was sent, if the history does not have it: it failed too early, or was rolled back."""
    start: NotRequired[TurnStart]
    """How its first agent was chosen, if that was not simply the one that ended the turn before."""
    message_lost: NotRequired[bool]
    """True if neither the history nor this record has it, because it was too large."""


class ViewRecord(TypedDict):
    """What of the history is seen from here on, all of it: see `model.view`. The newest one holds."""

    type: Literal["view"]
    why: ViewReason
    hidden: list[list[int]]
    """First and last number of each range that was taken back."""
    compacted: NotRequired[int]
    """The model sees a summary in the place of all items up to this number."""
    summary: NotRequired[Item]
    """The summary, in the record that came with it."""
    summary_at: NotRequired[int]
    """The number of the record that has the summary, in every later one."""
    takes: NotRequired[list[int]]
    """The range that this record took back, or brought back."""
    last_agent: NotRequired[str | None]
    """Who has the conversation, if that is another one now; null if no one had it yet."""
    last_status: NotRequired[TurnStatus | None]
    """How the turn ended that is the newest one now."""


class CheckpointRecord(TypedDict):
    """Someone has marked this point of the history."""

    type: Literal["checkpoint"]
    id: str
    position: int
    """The number of the newest item that was seen here; 0 if there was none."""
    data: JsonObject
    label: NotRequired[str]


class MergeRecord(TypedDict):
    """What a branch has said was brought home. The same record stands in both sessions."""

    type: Literal["merge"]
    id: str
    source: list[str]
    """Agent and id of the session that it comes from."""
    target: list[str]
    """Agent and id of the session that it went to."""
    strategy: Literal["summary", "select", "append"]
    range: list[int]
    """First and last number, in the source, of what was merged."""
    items: int
    """How many items the target has gained, in front of this record."""
    select: NotRequired[list[int]]
    """The numbers that were chosen, in the source."""


class RedactionRecord(TypedDict):
    """Text was removed from the history for good, at the time of this entry."""

    type: Literal["redaction"]
    entries: list[int]
    """The numbers of the entries that have changed."""


MAX_GIVEN_SEQ = 2**52
"""Largest number that an entry may bring along: beyond twice that, some readers of JSON round."""

Record = (
    UsageRecord
    | HandoffRecord
    | DecisionRecord
    | TurnRecord
    | ViewRecord
    | CheckpointRecord
    | MergeRecord
    | RedactionRecord
)


class Entry(TypedDict, total=False):
    """One entry of a history. A new one has no `seq` yet: the store gives it."""

    seq: int
    """Its number in the session: unique, increasing, never used again."""
    k: int
    """Its place in the batch it was stored with, from 1; absent in a batch of one."""
    n: int
    """The size of that batch."""
    at: str
    """When it was stored: UTC, milliseconds, a clock time and no order."""
    agent: str
    """The agent that produced it; absent for user input and in sessions without a manager."""
    turn: str
    """The turn it belongs to; absent in sessions without a manager."""
    crc: str
    """Its checksum in the file."""
    item: Item
    record: Record


def item_entry(item: Item, *, agent: str | None = None, turn: str | None = None) -> Entry:
    """Return a new entry around an SDK item."""
    return {"item": item} if agent is None and turn is None else _addressed({"item": item}, agent, turn)


def record_entry(record: Record, *, agent: str | None = None, turn: str | None = None) -> Entry:
    """Return a new entry around a record of ours."""
    return _addressed({"record": record}, agent, turn)


def _addressed(entry: Entry, agent: str | None, turn: str | None) -> Entry:
    if agent is not None:
        entry["agent"] = agent
    if turn is not None:
        entry["turn"] = turn
    return entry


def check_entries(entries: Sequence[Entry]) -> None:
    """Refuse entries that cannot be stored without loss, before anything is touched.

    Raises:
        InvalidItemError: See `lossless_json.check_json`; also for an item that is not a dict, or an `at`, `agent` or
            `turn` that is not text.
    """
    for begin in range(0, len(entries), _PAGE):
        page = list(entries[begin : begin + _PAGE])
        is_exact = encode_exactly(page) is not None  # A page at once takes a third of the time of each entry alone.
        for number, entry in enumerate(page, begin + 1):
            _check_entry(entry, f"item {number} of {len(entries)}", is_exact=is_exact)


_PAGE = 100
"""How many entries are encoded together for a check: of a whole history it would be a copy in memory."""


def _check_entry(entry: Entry, where: str, *, is_exact: bool) -> None:
    body = entry.get("item", entry.get("record"))
    if not isinstance(body, dict):
        raise InvalidItemError(where, f"is a {type(body).__name__!r}, not a dict")
    if "item" in entry and "record" in entry:
        raise InvalidItemError(where, "is both an item and a record")
    _check_envelope(entry, where)
    if is_exact:
        return
    try:
        check_json(body)
        check_json(envelope_of(entry))
    except ValueError as error:
        raise InvalidItemError(where, str(error)) from None


def _check_envelope(entry: Entry, where: str) -> None:
    # Sealed, it could be read; but the reader that mends an edited or torn file takes it for damage.
    for name in ("at", "agent", "turn"):
        if not isinstance(entry.get(name, ""), str):
            raise InvalidItemError(where, f"has an `{name}` that is not text")
    seq = entry.get("seq", 0)
    if type(seq) is not int or seq > MAX_GIVEN_SEQ:
        raise InvalidItemError(where, "has a `seq` that is not a whole number, or too large")


def envelope_of(entry: Entry) -> JsonObject:
    """Return an entry without its body."""
    return {name: value for name, value in entry.items() if name not in ("item", "record")}  # type: ignore[misc]


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment, by default now, as UTC text with milliseconds. Texts sort as the moments do."""
    return _text_of(datetime.now(UTC) if moment is None else moment)


@lru_cache(maxsize=64)  # an append needs the text of its moment three times
def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Return the moment of a text that `timestamp` made."""
    return datetime.fromisoformat(text)


def as_stored(moment: datetime) -> datetime:
    """Return a moment in UTC, cut to milliseconds."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def now() -> datetime:
    """Return the current time as stored."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def item_kind(item: Item) -> str:
    """Return what an SDK item is: `user`, `assistant` or another role for a message, else its `type`."""
    kind = item.get("type") or "message"  # pydantic models dump a type that was not given as null
    if kind == "message" and isinstance(role := item.get("role"), str):
        return role
    return kind if isinstance(kind, str) else "unknown"
