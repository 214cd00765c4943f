"""A history as turns. Pure.

The entries of a managed turn bear its id. Where they bear none, because a bare session wrote them, a turn begins at a
user message, and its id is made of the number of its first entry: `at-12`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from agents_sessions.model.entries import Entry, Item, TurnRecord, TurnStatus, item_kind
from agents_sessions.model.history import text_of
from agents_sessions.model.usage import RequestRow, TokenUsage, sum_rows
from agents_sessions.model.view import View, is_about_the_history

FIRST_WORDS = 80
"""How many characters of a turn's message its listing shows."""


@dataclass(slots=True)
class TurnSpan:
    """The entries of one turn."""

    id: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The number of its first entry."""
        return self.entries[0]["seq"]

    @property
    def last(self) -> int:
        """The number of its newest entry."""
        return self.entries[-1]["seq"]


class TurnInfo(BaseModel):
    """One turn of a history, as a list of turns shows it."""

    model_config = ConfigDict(frozen=True)

    id: str
    """What `turn=` takes: the turn's id or, in a history without turn ids, `at-` and the number of its first entry."""
    first: int
    """The number of its first entry."""
    last: int
    """The number of its newest entry."""
    at: datetime
    """When its first entry was stored."""
    text: str
    """The first words of its message."""
    status: TurnStatus | None
    """How it ended; None while it runs, and for a turn without an id, which has no end."""
    agent: str | None
    """The agent that ended it."""
    usage: TokenUsage
    """What it has cost."""
    duration_ms: int
    """How long its runs took together, without the time that it awaited approval."""
    taken_back: bool
    """Whether an undo or a rewind has taken it out of what is seen."""


def spans(entries: Iterable[Entry]) -> list[TurnSpan]:
    """Return the turns of some entries, in the order in which they began.

    An entry without a turn id belongs to the turn that began last. What only speaks of the history belongs to none.
    What a bare session has said inside a turn, while that awaited approval, is a part of it, so that no cut can part
    the two halves of the turn.
    """
    found: list[TurnSpan] = []
    named: dict[str, TurnSpan] = {}
    for entry in entries:
        if is_about_the_history(entry):
            continue
        name = entry.get("turn")
        if name is not None and name in named:
            span = named[name]
            if found[-1] is not span:
                _take_in(span, found, named)
        elif name is not None or not found or ("item" in entry and item_kind(entry["item"]) == "user"):
            span = TurnSpan(name or f"at-{entry['seq']}")
            found.append(span)
            named[span.id] = span
        else:
            span = found[-1]
        span.entries.append(entry)
    return found


def _take_in(span: TurnSpan, found: list[TurnSpan], named: dict[str, TurnSpan]) -> None:
    """Let a turn that goes on have what a bare session has said since it began."""
    place = next(number for number, each in enumerate(found) if each is span)
    for inside in [each for each in found[place + 1 :] if "turn" not in each.entries[0]]:
        found.remove(inside)
        span.entries += inside.entries
        named[inside.id] = span


def turn_info(span: TurnSpan, view: View) -> TurnInfo:
    """Return one turn as a listing shows it."""
    ends = _ends_of(span)
    agents = [entry["agent"] for entry in span.entries if "agent" in entry]
    last_agent = ends[-1].get("last_agent") if ends else None
    return TurnInfo(
        id=span.id,
        first=span.first,
        last=span.last,
        at=datetime.fromisoformat(span.entries[0]["at"]),
        text=_first_words(span),
        status=_status_of(span),
        agent=last_agent or (agents[-1] if agents else None),
        usage=sum_rows(_requests_of(span)),
        duration_ms=sum(end["duration_ms"] for end in ends),
        taken_back=view.is_taken_back(span.first),
    )


def message_of(span: TurnSpan) -> list[Entry]:
    """Return the items that a turn was sent: those that no agent has produced and that stand before all others."""
    message = []
    for entry in span.entries:
        if "item" not in entry:
            continue
        if "agent" in entry or item_kind(entry["item"]) not in ("user", "system", "developer"):
            break
        message.append(entry)
    return message


def unstored_message_of(span: TurnSpan) -> list[Item]:
    """Return what a turn was sent, if only the record of its end has it."""
    ends = _ends_of(span)
    return ends[-1].get("message", []) if ends else []


def _ends_of(span: TurnSpan) -> list[TurnRecord]:
    """Return the records of its end, and of the points where it stopped to await approval."""
    records = (entry["record"] for entry in span.entries if "record" in entry)
    return [record for record in records if record["type"] == "turn"]


def _status_of(span: TurnSpan) -> TurnStatus | None:
    newest = span.entries[-1].get("record")
    ends = _ends_of(span)
    if not ends or (ends[-1] is not newest and ends[-1]["status"] == "awaiting_approval"):
        return None
    return ends[-1]["status"]


def _requests_of(span: TurnSpan) -> list[RequestRow]:
    records = [entry["record"] for entry in span.entries if "record" in entry]
    return [row for record in records if record["type"] == "usage" for row in record["requests"]]


def _first_words(span: TurnSpan) -> str:
    message = [entry["item"] for entry in message_of(span)] or unstored_message_of(span)
    words = " ".join(" ".join(map(text_of, message)).split())
    return words if len(words) <= FIRST_WORDS else words[: FIRST_WORDS - 1] + "…"
