"""Where in a history something is meant: at a turn, an entry or a checkpoint. Every position is the end of a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agents_sessions.errors import (
    CheckpointNotFoundError,
    InvalidValueError,
    PositionNotFoundError,
    PositionTakenBackError,
)
from agents_sessions.model.turn_list import TurnSpan, spans
from agents_sessions.model.view import NOTHING_HIDDEN, View, kept, view_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import CheckpointRecord, Entry
    from agents_sessions.stores.base import SessionStore

_FIRST_LOOK = 64


class Position(NamedTuple):
    """What a caller has said: exactly one of the three."""

    turn: str | None = None
    seq: int | None = None
    checkpoint: str | None = None

    def check(self, *, needed: bool = True) -> None:
        """Refuse more than one of the three, or none where one is needed.

        Raises:
            InvalidValueError: It is so.
        """
        given = sum(each is not None for each in self)
        if given > 1 or (needed and not given):
            raise InvalidValueError({"the position": "must be exactly one of turn=, seq= and checkpoint="})
        if self.seq is not None and (type(self.seq) is not int or self.seq < 0):
            raise InvalidValueError({"seq": "must be the number of an entry, or 0 for the beginning"})


class Cut(NamedTuple):
    """The end of a turn."""

    seq: int
    """The last number that stays; 0 for the beginning of the history."""
    turn: str | None
    """The turn that ends there."""
    moved: bool
    """Whether the position was inside the turn."""
    taken_back: bool
    """Whether the turn was taken back."""


async def cut_at(store: SessionStore, key: SessionKey, position: Position) -> Cut:
    """Return the end of the turn that a position is in.

    Raises:
        PositionNotFoundError, CheckpointNotFoundError: There is no such position.
        SessionNotFoundError: There is no such session.
    """
    if position.checkpoint is not None:
        _, checkpoint = await find_checkpoint(store, key, position.checkpoint)
        return await _cut_at_item(store, key, checkpoint["position"], f"checkpoint {position.checkpoint!r}")
    if position.seq is not None:
        return await _cut_at_item(store, key, position.seq, f"seq={position.seq}")
    name = position.turn
    found, view = await _back_to(store, key, lambda span: span.id == name)
    place = next((place for place, span in enumerate(found) if span.id == name), None)
    if place is None:
        raise PositionNotFoundError(key, f"there is no turn {name!r:.80}; see get_turns()")
    return _end_of(found, place, view, None)


async def _cut_at_item(store: SessionStore, key: SessionKey, seq: int, what: str) -> Cut:
    if seq == 0:
        return Cut(0, None, moved=False, taken_back=False)
    entry = await store.entries(key, after=seq - 1, before=seq + 1)
    if not entry:
        raise PositionNotFoundError(key, f"the entry of {what} is not there; it was removed, or never was")
    view = (await store.existing(key)).context.view or NOTHING_HIDDEN
    found = await _around(store, key, seq)
    started = [place for place, span in enumerate(found) if span.first <= seq]
    if not started:
        return Cut(seq, None, moved=False, taken_back=False)
    inside = [place for place in started if any(each["seq"] == seq for each in found[place].entries)]
    return _end_of(found, (inside or started)[-1], view, seq)


def not_taken_back(key: SessionKey, cut: Cut) -> Cut:
    """Return a cut that is in what is seen.

    Raises:
        PositionTakenBackError: It is in what was taken back.
    """
    if cut.taken_back:
        reason = f"turn {cut.turn!r} was taken back; branches.fork(…, turn={cut.turn!r}) makes a session of it"
        raise PositionTakenBackError(key, reason)
    return cut


async def newest_spans(store: SessionStore, key: SessionKey, count: int) -> list[TurnSpan]:
    """Return the newest turns that were not taken back, at most so many, whole and in order."""
    asked = _FIRST_LOOK
    while True:
        entries = await store.entries(key, limit=asked)
        found = spans(kept(entries))
        if len(entries) < asked:
            return found[max(0, len(found) - count) :]
        if len(found) > count:  # the oldest one may have begun before
            return found[len(found) - count :]
        asked *= 4


async def find_checkpoint(store: SessionStore, key: SessionKey, checkpoint_id: str) -> tuple[Entry, CheckpointRecord]:
    """Return the entry of a checkpoint, and its record.

    Raises:
        CheckpointNotFoundError: The session has none of this id.
        SessionNotFoundError: There is no such session.
    """
    info = await store.existing(key)
    before = info.context.newest_checkpoint + 1
    while info.context.checkpoints and before > 1:
        page = await store.entries(key, before=before, limit=_FIRST_LOOK * 4)
        for entry in reversed(page):
            record = entry.get("record")
            if record is not None and record["type"] == "checkpoint" and record["id"] == checkpoint_id:
                return entry, record
        if not page:
            break
        before = page[0]["seq"]
    raise CheckpointNotFoundError(key, f"there is no checkpoint {checkpoint_id!r:.80}; see checkpoints.list()")


async def _back_to(
    store: SessionStore, key: SessionKey, wanted: Callable[[TurnSpan], bool]
) -> tuple[list[TurnSpan], View]:
    """Return the newest turns, those that were taken back included, back to one that is wanted; and the view."""
    count = _FIRST_LOOK
    entries = await store.entries(key, limit=count)
    view = view_of(entries)
    while True:
        found = spans(entries)
        if len(entries) < count or any(map(wanted, found[1:])):
            return found, view
        before, count = entries[0]["seq"], count * 4
        entries = [*await store.entries(key, before=before, limit=count - len(entries)), *entries]


async def _around(store: SessionStore, key: SessionKey, seq: int) -> list[TurnSpan]:
    """Return the turns around an entry: whole are that of the entry and, at least, the beginning of the next one."""
    count = _FIRST_LOOK
    while True:
        below = await store.entries(key, before=seq + 1, limit=count)
        above = await store.entries(key, after=seq, limit=count)
        found = spans([*below, *above])
        starts_inside = len(below) < count or any(span.first <= seq for span in found[1:])
        ends_inside = len(above) < count or found[-1].first > seq
        if starts_inside and ends_inside:
            return found
        count *= 4


def _end_of(found: list[TurnSpan], place: int, view: View, asked: int | None) -> Cut:
    span = found[place]
    last = span.last
    while crossing := [other.last for other in found if other.first <= last < other.last]:
        last = max(crossing)
    return Cut(last, span.id, asked is not None and asked != last, view.is_taken_back(span.first))
