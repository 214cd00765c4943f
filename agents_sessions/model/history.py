"""The entries of a history as users see them: typed, frozen values."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError, computed_field, field_validator

from agents_sessions.model.entries import Entry, TurnStart, TurnStatus, ViewReason, item_kind, parse_time, timestamp
from agents_sessions.model.usage import TokenUsage

_EPOCH = "1970-01-01T00:00:00.000Z"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ModelRequest(TokenUsage):
    """One model request, or the sum of several that the SDK does not tell apart."""

    agent: str | None = None
    model: str | None = None
    response_id: str | None = None
    nested: bool = False
    """Made by an agent used as a tool: it cost tokens but filled another context."""
    duration_ms: int | None = None
    """How long the model took, if that was measured."""


class _Envelope(_Value):
    seq: int
    """Its number in the session: unique, increasing, never used again."""
    at: datetime
    """When it was stored, UTC."""
    agent: str | None = None
    """The agent that produced it; None for user input and for sessions without a manager."""
    turn: str | None = None
    """The turn it belongs to; None for sessions without a manager."""


class ItemEntry(_Envelope):
    """An SDK item, exactly as the Runner gave it."""

    type: Literal["item"] = "item"
    item: dict[str, Any]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def kind(self) -> str:
        """The role of a message (`user`, `assistant`, …), else the item's type (`function_call`, …)."""
        return item_kind(self.item)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The text of a message, with a word for each picture or file in it; empty for any other item."""
        return text_of(self.item)


class HandoffEntry(_Envelope):
    """One agent gave the conversation to another."""

    type: Literal["handoff"] = "handoff"
    from_agent: str
    to_agent: str
    tool: str | None = None
    """The name of the tool that the model called for it."""
    arguments: str | None = None
    """What the model said with the call, as JSON text, if the handoff takes input."""


class UsageEntry(_Envelope):
    """The model requests that were made since the entry before."""

    type: Literal["usage"] = "usage"
    requests: list[ModelRequest]
    lost: bool = False
    """True if the turn that made them had lost its lock by then, and nothing else of it could be stored."""


class DecisionEntry(_Envelope):
    """Someone has decided about tool calls that waited for approval. Stored before any of them ran."""

    type: Literal["decision"] = "decision"
    approved: tuple[str, ...]
    """Call ids."""
    rejected: tuple[str, ...]


class TurnEntry(_Envelope):
    """The end of one turn, or the point where it stopped to await approval."""

    type: Literal["turn"] = "turn"
    status: TurnStatus
    usage: TokenUsage
    """The sum of the turn's requests, since it started or was last resumed."""
    duration_ms: int
    last_agent: str | None = None
    error: str | None = None
    """The type of the error that ended it. Never its message, which may quote the conversation."""
    start: TurnStart | None = None
    """How its first agent was chosen, if that was not simply the one that ended the turn before."""
    answer: str | None = None
    """What the turn answered, if no message has it: the output of a tool, where the agent stops at one."""
    asked: tuple[str, ...] = ()
    """The calls among its items that wait for approval, without those that an agent used as a tool has made."""


class ViewEntry(_Envelope):
    """From here on, other parts of the history are seen: something was taken back, brought back or summed up."""

    type: Literal["view"] = "view"
    why: ViewReason
    hidden: tuple[tuple[int, int], ...]
    """All that is taken back now: first and last number of each range."""
    compacted: int = 0
    """The model sees a summary in the place of all items up to this number."""
    summary: dict[str, Any] | None = None
    """The summary that the model sees, if it came with this entry."""
    takes: tuple[int, int] | None = None
    """The range that this entry took back, or brought back."""

    @field_validator("hidden")
    @classmethod
    def _in_order(cls, hidden: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        numbers = [number for each in hidden for number in each]
        if numbers != sorted(numbers):
            raise ValueError("out of order")
        return hidden


class CheckpointEntry(_Envelope):
    """Someone has marked this point of the history."""

    type: Literal["checkpoint"] = "checkpoint"
    id: str
    position: int
    """The number of the newest item that was seen here; 0 if there was none."""
    data: dict[str, Any]
    label: str | None = None


class MergeEntry(_Envelope):
    """What a branch has said was brought home. The same entry stands in both sessions."""

    type: Literal["merge"] = "merge"
    id: str
    source: tuple[str, str]
    """Agent and id of the session that it comes from."""
    target: tuple[str, str]
    """Agent and id of the session that it went to."""
    strategy: Literal["summary", "select", "append"]
    range: tuple[int, int]
    """First and last number, in the source, of what was merged."""
    items: int
    """How many items the target has gained, in front of this entry."""
    select: tuple[int, ...] = ()
    """The numbers that were chosen, in the source."""


class RedactionEntry(_Envelope):
    """Text was removed from the history for good, at this time."""

    type: Literal["redaction"] = "redaction"
    entries: tuple[int, ...]
    """The numbers of the entries that have changed."""


HistoryEntry: TypeAlias = (
    ItemEntry
    | HandoffEntry
    | UsageEntry
    | DecisionEntry
    | TurnEntry
    | ViewEntry
    | CheckpointEntry
    | MergeEntry
    | RedactionEntry
)

_RECORDS: dict[
    str, type[UsageEntry | DecisionEntry | TurnEntry | ViewEntry | CheckpointEntry | MergeEntry | RedactionEntry]
] = {
    "usage": UsageEntry,
    "decision": DecisionEntry,
    "turn": TurnEntry,
    "view": ViewEntry,
    "checkpoint": CheckpointEntry,
    "merge": MergeEntry,
    "redaction": RedactionEntry,
}


Role = Literal["user", "assistant", "system", "developer"]

CONVERSATION: tuple[Role, ...] = ("user", "assistant")
"""The roles of what is said in a conversation. The others instruct the model."""


class Message(_Value):
    """A message of the conversation, as a chat window would show it."""

    seq: int
    at: datetime
    role: Role
    text: str
    agent: str | None = None
    turn: str | None = None


def typed(entry: Entry) -> HistoryEntry:
    """Return a stored entry as a typed value."""
    envelope = {name: entry[name] for name in ("seq", "at", "agent", "turn") if name in entry}
    if "item" in entry:
        return ItemEntry.model_validate({**envelope, "item": entry["item"]})
    record: dict[str, Any] = dict(entry["record"])
    if record["type"] == "handoff":
        record["from_agent"], record["to_agent"] = record.pop("from"), record.pop("to")
        return HandoffEntry.model_validate({**envelope, **record})
    return _RECORDS[record["type"]].model_validate({**envelope, **record})


def flaw_of(entry: Entry) -> str | None:
    """Return what would keep an entry from being shown, or None. An item may hold anything."""
    if "item" in entry and _is_as_stored(entry):
        return None
    try:
        typed({"seq": 1, "at": _EPOCH, **entry, "item": {}} if "item" in entry else {"seq": 1, "at": _EPOCH, **entry})
    except ValidationError as error:
        return f"an invalid value of {invalid_fields(error)}"
    except (KeyError, TypeError):
        return "a record that is incomplete or of no known type"
    return None


def _is_as_stored(entry: Entry) -> bool:
    """Tell whether the labels of an entry are those that a store gives, as nearly all are: then no model need look."""
    labels = (entry.get("agent", ""), entry.get("turn", ""), at := entry.get("at", _EPOCH))
    if (
        not all(type(label) is str for label in labels)
        or type(entry.get("seq", 1)) is not int
        or len(at) != len(_EPOCH)
    ):
        return False
    try:
        return timestamp(parse_time(at)) == at
    except ValueError:
        return False


def invalid_fields(error: ValidationError) -> str:
    """Return the names of the fields that a validation refused, and none of their values."""
    places = [problem["loc"] for problem in error.errors(include_input=False)]
    return ", ".join(str(place[0]) if place else "a name that is not text" for place in places)


def refusals(error: ValidationError) -> dict[str, str]:
    """Return what each field that a validation refused must be. No value is quoted."""
    found: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False):
        field = str(problem["loc"][0]) if problem["loc"] else "a name"
        found.setdefault(field, _requirement(problem["type"], problem["msg"]))
    return found


def _requirement(kind: str, text: str) -> str:
    if kind == "invalid-json-value":
        return "must be JSON data"
    if kind == "string_unicode":
        return "must be a valid string"
    if kind == "value_error":
        return text.replace("Value error, ", "is ", 1)
    return text.replace("Input should be", "must be", 1)


def messages(entries: Iterable[Entry], roles: Collection[Role] = CONVERSATION) -> list[Message]:
    """Return the messages of some roles among some entries, and the answers that are no messages."""
    said = (part for entry in entries if (part := _said_in(entry)) is not None)
    return [Message.model_validate(part) for part in said if part["role"] in roles]


def _said_in(entry: Entry) -> dict[str, Any] | None:
    """Return what an entry is in a conversation, if it is something."""
    if "item" in entry:
        return {**entry, "role": item_kind(entry["item"]), "text": text_of(entry["item"])}
    record = entry["record"]
    if record["type"] != "turn" or (answer := record.get("answer")) is None:
        return None
    return {**entry, "role": "assistant", "text": answer, "agent": record.get("last_agent")}


def text_of(item: dict[str, Any]) -> str:
    """Return the text of a message, with a word for each picture or file in it; empty for any other item."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts, media = [], []
    for part in content:
        if isinstance(part, dict):
            said = part.get("text", part.get("refusal"))
            texts += [said] if isinstance(said, str) else []
            media += [] if isinstance(said, str) else _media_of(part)
    return " ".join([*media, *filter(None, ["".join(texts)])])


_MEDIA = {"input_image": "[image]", "input_file": "[file]", "input_audio": "[audio]"}


def _media_of(part: dict[str, Any]) -> list[str]:
    """Return a word for a part that is not text, so that a chat does not show nothing; none for an unknown part."""
    name = part.get("filename")
    word = f"[file {name}]" if isinstance(name, str) else _MEDIA.get(str(part.get("type")))
    return [] if word is None else [word]
