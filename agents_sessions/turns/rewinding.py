"""Take turns back and bring them back: one view record each, under the lock of the session's turns.

What was taken back stays in the history, as a hidden branch. Usage stays spent. What the history says of who has the
conversation goes back with the turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_sessions.errors import (
    InvalidValueError,
    NothingToRedoError,
    NothingToUndoError,
    PositionNotFoundError,
    PositionTakenBackError,
    TooManyError,
)
from agents_sessions.model.entries import ViewRecord, record_entry
from agents_sessions.model.pairs import with_partners
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.model.turn_list import spans, turn_info
from agents_sessions.model.view import NOTHING_HIDDEN, View, is_about_the_history, kept
from agents_sessions.run_states import delete_run_states
from agents_sessions.turns.ends import awaits_approval, end_interrupted, give_up
from agents_sessions.turns.positions import cut_at, newest_spans, not_taken_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry, TurnStatus, ViewReason
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.model.turn_list import TurnInfo, TurnSpan
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.positions import Position

MAX_RANGES = 1000
"""How many ranges a view may have: every write of the session carries them."""

_LOOK_BACK = 64
_TAKING: tuple[ViewReason, ...] = ("undo", "rewind", "remove")


async def at_rest(store: SessionStore, lock: TurnLock) -> SessionInfo:
    """Return a session whose turns have all ended: one whose process died, and one that awaits approval, are ended.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    info = await store.existing(lock.key)
    if (turn := info.context.open_turn) is not None:
        return await end_interrupted(store, lock, info, turn)
    return await give_up(store, lock, info, "taken back") if awaits_approval(info) else info


async def undo(store: SessionStore, lock: TurnLock, turns: int) -> list[TurnInfo]:
    """Take the newest turns back, and return them.

    Raises:
        NothingToUndoError: There are fewer.
    """
    info = await at_rest(store, lock)
    found = await newest_spans(store, lock.key, turns)
    if len(found) < turns:
        there = "no turn" if not found else f"{len(found)} turn{'s' * (len(found) > 1)}"
        raise NothingToUndoError(lock.key, f"there is {there} to take back, not {turns}")
    await _take_back(store, lock, info, found[0].first, "undo")
    return _listed(found)


async def rewind(store: SessionStore, lock: TurnLock, position: Position) -> list[TurnInfo]:
    """Take back all turns behind a position, and return them.

    Raises:
        PositionNotFoundError, CheckpointNotFoundError: There is no such position, or it was taken back.
    """
    cut = not_taken_back(lock.key, await cut_at(store, lock.key, position))
    behind = await store.entries(lock.key, after=cut.seq)
    gone = spans(kept(behind))
    if not gone:
        return []
    info = await at_rest(store, lock)
    if info.seq != behind[-1]["seq"]:  # the end of a turn was stored just now
        gone = spans(kept(await store.entries(lock.key, after=cut.seq)))
    await _take_back(store, lock, info, cut.seq + 1, "rewind")
    return _listed(gone)


async def _take_back(store: SessionStore, lock: TurnLock, info: SessionInfo, first: int, why: ViewReason) -> None:
    """Take back all from a number on. Turns may stand there that were taken back before."""
    view = await _before(store, lock.key, info.context.view or NOTHING_HIDDEN, first)
    await change_view(store, lock, info, view.without(first, info.seq), why, (first, info.seq), speaker=True)
    await delete_run_states(store, lock.key, turn=lock)


def _listed(found: list[TurnSpan]) -> list[TurnInfo]:
    return [turn_info(span, NOTHING_HIDDEN) for span in found]


async def redo(store: SessionStore, lock: TurnLock) -> list[TurnInfo]:
    """Bring back what was taken back last, and return the turns.

    Raises:
        NothingToRedoError: Nothing was, or something was said since.
    """
    info = await store.existing(lock.key)
    taken, before = await _newest_taking(store, lock.key)
    await change_view(store, lock, info, before, "redo", _range_of(taken), speaker=True)
    first, last = _range_of(taken)
    back = spans(kept(await store.entries(lock.key, after=first - 1, before=last + 1), before))
    return [turn_info(span, before) for span in back]


async def remove(store: SessionStore, lock: TurnLock, seq: int) -> list[int]:
    """Take one item out of what is seen, with those that cannot be there without it; return their numbers.

    Raises:
        PositionNotFoundError: There is no such item, or it was taken back.
        InvalidValueError: The entry is no item.
        TooManyError: Too many items were taken out one by one.
    """
    info = await store.existing(lock.key)
    if awaits_approval(info) and seq >= (await newest_spans(store, lock.key, 1))[0].first:
        info = await at_rest(store, lock)  # a call that is taken out cannot be approved any more
    seen = info.context.view or NOTHING_HIDDEN
    items = [entry for entry in kept(await store.entries(lock.key), seen) if "item" in entry]
    places = [place for place, entry in enumerate(items) if entry["seq"] == seq]
    if not places:
        await _refuse_removal(store, lock.key, seq, seen)
    gone = sorted(items[place]["seq"] for place in with_partners([entry["item"] for entry in items], places))
    view = seen
    for each in gone:
        view = view.without(each, each)
    if len(view.hidden) > MAX_RANGES:
        advice = "fork the session, which leaves them behind"
        raise TooManyError(lock.key, "items that were removed one by one", MAX_RANGES, advice)
    await change_view(store, lock, info, view, "remove", (gone[0], gone[-1]))
    return gone


async def _refuse_removal(store: SessionStore, key: SessionKey, seq: int, seen: View) -> None:
    entries = await store.entries(key, after=seq - 1, before=seq + 1)
    if not entries:
        raise PositionNotFoundError(key, f"there is no entry {seq}")
    if seen.is_taken_back(seq):
        raise PositionTakenBackError(key, f"entry {seq} was taken back already")
    raise InvalidValueError({"seq": f"must be the number of an item, and entry {seq} is a record"})


async def change_view(
    store: SessionStore,
    lock: TurnLock,
    info: SessionInfo,
    view: View,
    why: ViewReason,
    takes: tuple[int, int],
    *,
    speaker: bool = False,
) -> None:
    """Store a new view of a session that stands as `info` says; perhaps with who has the conversation in it.

    Raises:
        SessionConflictError: Someone has written since.
    """
    record = view.record(why, takes)
    if speaker:
        record["last_agent"], record["last_status"] = await _speaker(store, info, view)
    await store.append(lock.key, [record_entry(record)], expected_seq=info.seq, turn=lock)


async def _before(store: SessionStore, key: SessionKey, seen: View, first: int) -> View:
    """Return the view without a summary of what is to be taken back: the one before it, or the originals."""
    if first > seen.compacted:
        return seen
    async for entry in _backwards(store, key):
        record = entry.get("record")
        if record is not None and record["type"] == "view":
            earlier = View.of(record, entry["seq"])
            if earlier.compacted < first:
                return View(seen.hidden, earlier.compacted, earlier.summary)
    return seen.uncompacted()


async def _newest_taking(store: SessionStore, key: SessionKey) -> tuple[ViewRecord, View]:
    """Return the newest record that has taken something back and still holds, and the view before it.

    Every redo that follows cancels one of them, the newest first.
    """
    redone = 0
    taken: ViewRecord | None = None
    async for entry in _backwards(store, key):
        record = entry.get("record")
        if record is None or record["type"] != "view":
            if taken is None and not is_about_the_history(entry):
                raise NothingToRedoError(key, "nothing was taken back since the last turn")
        elif taken is not None:
            return taken, View.of(record, entry["seq"])
        elif record["why"] == "redo":
            redone += 1
        elif record["why"] in _TAKING and redone:
            redone -= 1
        elif record["why"] in _TAKING:
            taken = record
    if taken is None:
        raise NothingToRedoError(key, "nothing was taken back")
    return taken, NOTHING_HIDDEN


async def _backwards(store: SessionStore, key: SessionKey, before: int | None = None) -> AsyncIterator[Entry]:
    """Yield a history from its newest entry on, or from the one below a number; a page at a time."""
    while page := await store.entries(key, before=before, limit=_LOOK_BACK):
        for entry in reversed(page):
            yield entry
        before = page[0]["seq"]


def _range_of(record: ViewRecord) -> tuple[int, int]:
    first, last = record["takes"]
    return first, last


async def _speaker(store: SessionStore, info: SessionInfo, view: View) -> tuple[str | None, TurnStatus | None]:
    """Return who has the conversation in a view, and how its last turn ended."""
    if info.context.turns == 0 and info.context.last_agent is None:
        return None, None
    seen: list[Entry] = []
    for first, last in View(view.hidden).windows(info.seq):
        async for entry in _backwards(store, info.key, before=last + 1):
            if entry["seq"] < first:
                break
            seen += [] if is_about_the_history(entry) else [entry]
            if _names_speaker(entry):
                stats = fold(ContextStats(), reversed(seen))
                return stats.last_agent, stats.last_status
    stats = fold(ContextStats(), reversed(seen))
    return stats.last_agent, stats.last_status


def _names_speaker(entry: Entry) -> bool:
    return "record" in entry and entry["record"]["type"] == "turn" and "last_agent" in entry["record"]
