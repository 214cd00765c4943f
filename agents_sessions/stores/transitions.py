"""What create, append and rewrite make of a session, the same for every backend. Pure.

A backend reads where the session stands, calls one of these, and writes what comes back in one transaction.
"""

from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from agents_sessions.errors import InvalidItemError, InvalidValueError, SessionConflictError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, check_entries, timestamp
from agents_sessions.model.history import flaw_of, refusals
from agents_sessions.model.ids import check_key
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import check_json, decode_json, encode_json
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.base import Appended, Change, Entries, History, Standing

RESERVED_FACTS = frozenset({"format", "salt", "history", "seal", "codec"})
"""Names that the session file needs for itself. No backend takes them, so that every session can move to a file."""

_T = TypeVar("_T")


def new_session(info: SessionInfo) -> SessionInfo:
    """Return the facts of a new session as they are to be stored; no container in them is the caller's.

    Raises:
        SessionIdError: An id is invalid.
        InvalidValueError: A value does not fit its field or JSON, or an extra field has a reserved name.
    """
    check_key(info.key)
    check_facts(info)
    return info.model_copy(update={"context": ContextStats()}, deep=True)


def numbered(entries: Iterable[Entry], at: str, given: int = 0, last: int = 0) -> Iterator[Entry]:
    """Yield entries with their numbers and times.

    An entry keeps its number as long as the numbers grow; a new entry, or one out of place, gets the next one that was
    never used. An entry keeps its time; one without a time gets `at`. `given` is the newest number that was ever given,
    `last` that of the entry in front of these.
    """
    newest = given
    for entry in entries:
        seq = entry.get("seq", 0)
        if seq <= last:
            seq = newest = max(newest, last) + 1
        last = seq
        yield entry if entry.get("seq") == seq and "at" in entry else {"at": at, **entry, "seq": seq}


def created(info: SessionInfo, entries: Sequence[Entry], at: str) -> History:
    """Return a new session, with the numbers, times and totals of its first entries.

    Raises:
        SessionIdError, InvalidValueError, InvalidItemError: See `new_session` and `check_new`.
    """
    check_new(entries)
    fresh = new_session(info)
    stored = list(numbered(entries, at, fresh.seq))
    return History(fresh.model_copy(update=_counted(stored, fresh.seq)), stored)


def appended(
    key: SessionKey, standing: Standing, entries: Sequence[Entry], at: datetime, expected_seq: int | None = None
) -> Appended:
    """Return a batch as it is to be stored behind a session that stands at `standing`.

    The entries must have passed `check_new`. A number that one brings along is replaced.

    Raises:
        SessionConflictError: The session does not stand at `expected_seq`.
        InvalidItemError: A record makes a total too large.
    """
    check_expected(key, standing.seq, expected_seq)
    if not entries:
        return Appended([], standing)
    text = timestamp(at)
    batch: list[Entry] = [{"at": text, **entry, "seq": standing.seq + place} for place, entry in enumerate(entries, 1)]
    # The time of the change, and not the largest one: a clock that was ahead once would date everything for ever.
    after = Standing(standing.seq + len(batch), at, fold(standing.context, batch))
    return Appended(batch, after)


def rewritten(before: History, change: Change, at: datetime) -> History | None:
    """Return a session as `change` makes it, with numbers, times and totals; None if there is nothing to do.

    Raises:
        InvalidItemError: What `change` returned cannot be stored without loss.
        ValueError: It has another id or agent.
        Exception: Whatever `change` raised to refuse.
    """
    after = change(before)
    if after is before:
        return None
    check_change(before.info.key, after)
    entries = list(numbered(after.entries, timestamp(at), before.info.seq))
    facts = {**_counted(entries, before.info.seq), "updated_at": at}
    return History(after.info.model_copy(update=facts), entries)


def _counted(entries: Sequence[Entry], given: int) -> dict[str, object]:
    newest = entries[-1]["seq"] if entries else 0
    return {"seq": max(given, newest), "context": fold(ContextStats(), entries)}


def standing_of(info: SessionInfo) -> Standing:
    """Return where a session stands."""
    return Standing(info.seq, info.updated_at, info.context)


def copied(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries that share no object with the given ones, exactly as they would be stored and read."""
    return [decode_json(encode_json(entry)) for entry in entries]


async def collected(entries: Entries) -> list[Entry]:
    """Return entries as a list, whether they are at hand or come as a stream."""
    if isinstance(entries, AsyncIterable):
        return [entry async for entry in entries]
    return list(entries)


def window(entries: Sequence[Entry], after: int | None, before: int | None, limit: int | None) -> list[Entry]:
    """Return the entries of a history that `SessionStore.entries` is asked for."""
    found = [
        entry
        for entry in entries
        if (after is None or entry["seq"] > after) and (before is None or entry["seq"] < before)
    ]
    return oldest_of(found, limit) if after is not None else newest_of(found, limit)


def oldest_of(found: list[_T], limit: int | None) -> list[_T]:
    """Return the first `limit` of a list; all of it without a limit."""
    return found if limit is None else found[: max(0, limit)]


def newest_of(found: list[_T], limit: int | None) -> list[_T]:
    """Return the last `limit` of a list; all of it without a limit."""
    return found if limit is None else found[max(0, len(found) - max(0, limit)) :]


# --- checks ------------------------------------------------------------------------------------------------------


def check_facts(info: SessionInfo) -> None:
    """Refuse facts that cannot be stored without loss, before anything is touched.

    Raises:
        InvalidValueError: A value does not fit its field or JSON, or an extra field has a reserved name.
    """
    extra = info.model_extra or {}
    reserved = sorted(RESERVED_FACTS & extra.keys())
    try:
        check_json(info.metadata)
        check_json(info.extensions)
        check_json(extra)
        SessionInfo.model_validate(dict(info))
        info.header()
    except ValidationError as error:
        raise InvalidValueError(refusals(error)) from None
    except AttributeError:
        # `model_copy` can leave `created_at` an ISO string, which pydantic accepts and nothing here can format.
        raise InvalidValueError({"created_at": "must be a valid datetime"}) from None
    except (ValueError, OverflowError) as error:
        raise InvalidValueError({"metadata": str(error)}) from None
    if reserved:
        raise InvalidValueError(dict.fromkeys(reserved, "is a name of the file format"))


def check_new(entries: Sequence[Entry]) -> None:
    """Refuse entries that cannot be stored without loss, or could never be shown, before anything is touched.

    Raises:
        InvalidItemError: See `check_entries`; also for a record that is incomplete or of an unknown type, and for an
            `at` that is not a time.
    """
    check_entries(entries)
    for number, entry in enumerate(entries, 1):
        if ("record" in entry or "at" in entry) and (flaw := flaw_of(entry)):
            raise InvalidItemError(f"item {number} of {len(entries)}", f"has {flaw}")


def check_change(key: SessionKey, after: History) -> None:
    """Refuse what a `change` returned, if it cannot be stored.

    Raises:
        InvalidItemError, InvalidValueError: See `check_new` and `check_facts`.
        ValueError: It has another id or agent.
    """
    if after.info.key != key:
        raise ValueError("a rewrite cannot change the id or the agent of a session")
    check_entries(after.entries)
    check_new([entry for entry in after.entries if "seq" not in entry])
    check_facts(after.info)


def check_expected(key: SessionKey, actual: int, expected: int | None) -> None:
    """Refuse to append if someone has written since the caller looked.

    Raises:
        SessionConflictError: The session does not stand at `expected`.
    """
    if expected is not None and expected != actual:
        raise SessionConflictError(key, expected, actual)
