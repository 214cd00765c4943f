"""What is wrong in a history, and what puts it right. Pure.

The totals of a session tell most: only where they do not add up, or where all is to be looked at, the history is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.calls import call_id_of
from agents_sessions.model.entries import item_entry
from agents_sessions.model.findings import Finding
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.turns.past import lost_outputs, orphaned, unanswered

if TYPE_CHECKING:
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo


def adds_up(info: SessionInfo) -> bool:
    """Tell whether the totals say that there are as many outputs as function calls, and no calls of other kinds."""
    context = info.context
    return context.function_calls == context.function_call_outputs and not context.other_items


def findings_of(info: SessionInfo, entries: Sequence[Entry], *, waits: bool) -> list[Finding]:
    """Return what is wrong in a history; `waits` says that it awaits approval, so that calls are open by right."""
    found = [Finding("orphan-output", info.key, call_id_of(entries[place]["item"])) for place in orphaned(entries)]
    if not waits and info.context.open_turn is None:
        found += [Finding("unanswered-call", info.key, call_id) for call_id in unanswered(without_orphans(entries))]
    if not _are_right(info.context, entries):
        found.append(Finding("wrong-totals", info.key))
    return found


def _are_right(context: ContextStats, entries: Sequence[Entry]) -> bool:
    try:
        return fold(ContextStats(), entries) == context
    except InvalidItemError:
        return False


def without_orphans(entries: Sequence[Entry]) -> list[Entry]:
    """Return a history without the outputs that have no call."""
    orphans = set(orphaned(entries))
    return [entry for place, entry in enumerate(entries) if place not in orphans]


def missing_outputs(entries: Sequence[Entry]) -> list[Entry]:
    """Return outputs for the calls that have none. They say that the output was lost."""
    # Without labels: an entry with the label of a turn would open that turn again.
    calls = unanswered(without_orphans(entries))
    return [item_entry(lost["item"]) for lost in lost_outputs(calls, (), agent=None, turn="")]
