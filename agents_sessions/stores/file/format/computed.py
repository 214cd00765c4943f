"""What the tail of a file says, computed without it."""

from collections.abc import Iterable
from datetime import datetime

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import MAX_GIVEN_SEQ, Entry, timestamp
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.header import Damage

NOTHING = ContextStats()


def refold(entries: Iterable[Entry], context: ContextStats = NOTHING) -> ContextStats:
    """Return totals with those of more entries.

    Raises:
        Damage: A record lacks a part.
    """
    try:
        return fold(context, entries)
    except InvalidItemError:
        raise Damage("a record of its history is incomplete") from None


def seq_of(part: object) -> int:
    """Return the number that a part of a file says, 0 if it says none that can be one."""
    seq = part.get("seq") if isinstance(part, dict) else None
    return seq if type(seq) is int and 0 < seq <= MAX_GIVEN_SEQ else 0


def time_or_now(value: object) -> str:
    """Return a time as we write it, now if the value is not a time."""
    try:
        return timestamp(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return timestamp()
