"""What a session is read for. Each question is answered from the end of a file whose seal holds, or from all of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.history import invalid_fields
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.base import Totals
from agents_sessions.stores.file.format.document import Document
from agents_sessions.stores.file.format.header import Damage, facts_of, parse_header
from agents_sessions.stores.file.format.sealed import Sealed, read_entries, read_items, read_newest
from agents_sessions.stores.file.format.tail import Read, Tail

_T = TypeVar("_T")


class Query(NamedTuple, Generic[_T]):
    """A question to a session, answered from a file whose seal holds, or else from all of it."""

    of_sealed: Callable[[Read, Sealed], _T]
    of_whole: Callable[[Document], _T]


def entries_query(*, last: int | None, after: int) -> Query[list[Entry]]:
    """Ask for the entries with a number above `after`, or the `last` of them."""

    def of_sealed(read: Read, sealed: Sealed) -> list[Entry]:
        if last is None and after <= 0:
            return read_entries(read, sealed.tail)
        count = sealed.tail.seq - after if last is None else last
        return chosen(read_newest(read, sealed.tail, count, items_only=False))

    def chosen(entries: list[Entry]) -> list[Entry]:
        return _newest([entry for entry in entries if entry["seq"] > after] if after > 0 else entries, last)

    return Query(of_sealed, lambda whole: chosen(whole.entries))


def items_query(*, last: int | None) -> Query[list[Item]]:
    """Ask for the SDK items, or the `last` of them."""

    def of_sealed(read: Read, sealed: Sealed) -> list[Item]:
        if last is None:
            return read_items(read, sealed.tail)
        return _newest(_items_of(read_newest(read, sealed.tail, last, items_only=True)), last)

    return Query(of_sealed, lambda whole: _newest(_items_of(whole.entries), last))


def _info_of_sealed(_read: Read, sealed: Sealed) -> SessionInfo:
    # Decoded anew, because the header that was seen is shared, and what a caller gets is its own.
    return _make_info(facts_of(parse_header(sealed.line)), totals_of(sealed.tail))


def info_of(whole: Document) -> SessionInfo:
    """Return what a session is, and its totals."""
    totals = Totals(whole.seq, datetime.fromisoformat(whole.updated_at), whole.context)
    return _make_info(whole.header, totals)


INFO_QUERY = Query(_info_of_sealed, info_of)
"""Ask what a session is, and for its totals."""


def _make_info(facts: JsonObject, totals: Totals) -> SessionInfo:
    try:
        return SessionInfo.model_validate(
            {**facts, "seq": totals.seq, "updated_at": totals.updated_at, "context": totals.context}
        )
    except ValidationError as error:
        raise Damage(f"its header has an invalid value: {invalid_fields(error)}") from None


def totals_of(tail: Tail) -> Totals:
    """Return the totals that a tail says."""
    return Totals(tail.seq, datetime.fromisoformat(tail.updated_at), tail.context)


def _items_of(entries: list[Entry]) -> list[Item]:
    return [entry["item"] for entry in entries if "item" in entry]


def _newest(found: list[_T], last: int | None) -> list[_T]:
    return found if last is None else found[max(0, len(found) - last) :]
