"""Make a session that begins as the copy of another one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from agents_sessions.errors import PositionNotFoundError
from agents_sessions.model.entries import now, record_entry
from agents_sessions.model.info import ForkPoint, SessionInfo
from agents_sessions.model.totals import ContextStats
from agents_sessions.model.view import NOTHING_HIDDEN, View, summary_entry
from agents_sessions.turns.positions import Cut, Position, cut_at, newest_spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents_sessions.model.entries import Entry, Item
    from agents_sessions.stores.base import SessionStore

logger = logging.getLogger("agents_sessions")


async def fork(
    store: SessionStore, info: SessionInfo, position: Position, facts: dict[str, Any], child_id: str
) -> SessionInfo:
    """Create the fork of a session at a position, or at the end of its last turn that has ended."""
    cut = await _cut(store, info, position)
    point = ForkPoint(seq=cut.seq, turn=cut.turn, moved=cut.moved)
    if cut.moved:
        text = "the fork of session %r of agent %r was moved to entry %d, where turn %s ends"
        logger.info(text, info.id, info.agent_id, cut.seq, cut.turn)
    at = now()
    kept = {"refreshed_at": None, "archived_at": None, "archive": None}  # what was done to the parent alone
    given = {"status": "active", "pinned": False, **kept, **facts}
    own = {"id": child_id, "parent_id": info.id, "forked_at": point, "created_at": at, "updated_at": at}
    child = info.model_copy(update={**given, **own, "seq": 0, "context": ContextStats()})
    behind = await _view_behind(store, info, cut)
    return await store.copy(info.key, child, before=cut.seq + 1, behind=behind)


async def _cut(store: SessionStore, info: SessionInfo, position: Position) -> Cut:
    running = info.context.open_turn
    if any(each is not None for each in position):
        cut = await cut_at(store, info.key, position)
        if running is not None and cut.turn == running:
            raise PositionNotFoundError(info.key, f"turn {running!r} has not ended; fork at the one before it")
        return cut
    ended = [span for span in await newest_spans(store, info.key, 2) if span.id != running]
    if not ended:
        return Cut(0, None, moved=False, taken_back=False)
    return Cut(ended[-1].last, ended[-1].id, moved=False, taken_back=False)


async def _view_behind(store: SessionStore, info: SessionInfo, cut: Cut) -> Callable[[ContextStats], list[Entry]]:
    """Return what makes the view of a copy that of today, as far as the copy goes.

    A fork of what was taken back sees it as it was seen then, and needs no such record.
    """
    view = (info.context.view or NOTHING_HIDDEN).until(cut.seq)
    summary: Item | None = None
    if view.summary > cut.seq:
        found = summary_entry(await store.entries(info.key, after=view.summary - 1, before=view.summary + 1), view)
        summary = None if found is None else found["item"]
        view = View(view.hidden, view.compacted) if summary is not None else view.uncompacted()

    def behind(context: ContextStats) -> list[Entry]:
        if cut.taken_back or (summary is None and (context.view or NOTHING_HIDDEN) == view):
            return []
        record = view.record("fork")
        if summary is not None:
            record["summary"] = summary
        return [record_entry(record)]

    return behind
