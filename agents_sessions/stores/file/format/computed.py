"""What a tail says, for files whose tail cannot be believed: the totals, the time and the newest number."""

from collections.abc import Iterable
from datetime import datetime

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import MAX_GIVEN_SEQ, Entry, timestamp
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.header import Damage

NO_TOTALS = ContextStats()
"""The totals of a session without entries."""


def count_totals(entries: Iterable[Entry], before: ContextStats = NO_TOTALS) -> ContextStats:
    """Return the totals of some entries, added to those of the entries before them.

    Raises:
        Damage: A record lacks a part that the totals need.
    """
    try:
        return fold(before, entries)
    except InvalidItemError:
        raise Damage("a record of its history is incomplete") from None


def time_or_now(value: object) -> str:
    """Return a time as we write it. If the value is not a time, return the present one."""
    try:
        return timestamp(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return timestamp()


def seq_of(part: object) -> int:
    """Return the `seq` of a document, a seal or an entry, or 0 if that is not a number that we could have given."""
    seq = part.get("seq") if isinstance(part, dict) else None
    return seq if type(seq) is int and 0 < seq <= MAX_GIVEN_SEQ else 0
