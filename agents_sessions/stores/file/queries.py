"""What a session is read for. Each question is answered from the end of a file whose seal holds, or from all of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.stores.base import Standing
from agents_sessions.stores.codec import PLAIN_SESSION, SessionCodec
from agents_sessions.stores.codec import info_of as session_info
from agents_sessions.stores.file.format.document import Document
from agents_sessions.stores.file.format.header import Damage, facts_of, parse_header
from agents_sessions.stores.file.format.sealed import (
    Sealed,
    find_line,
    read_entries,
    read_items,
    read_newest,
    read_newest_items,
    read_oldest,
    read_since,
)
from agents_sessions.stores.file.format.tail import Read, Tail
from agents_sessions.stores.transitions import newest_of, window

_T = TypeVar("_T")


class Query(NamedTuple, Generic[_T]):
    """A question to a session, answered from a file whose seal holds, or from all of it."""

    of_sealed: Callable[[Read, Sealed, SessionCodec], _T]
    of_whole: Callable[[Document], _T]


def entries_query(after: int | None, before: int | None, limit: int | None) -> Query[list[Entry]]:
    """Ask for entries; see `SessionStore.entries`."""

    def of_sealed(read: Read, sealed: Sealed, codec: SessionCodec = PLAIN_SESSION) -> list[Entry]:
        return window(candidates(read, sealed.tail, codec), after, before, limit)

    def candidates(read: Read, tail: Tail, codec: SessionCodec) -> list[Entry]:
        """Return the entries in question, and possibly some more."""
        first = 1 if after is None else after + 1
        if after is None and limit is not None:
            end = tail.end if before is None else find_line(read, tail, before)
            return read_newest(read, tail, limit, end=end, codec=codec)
        if first <= 1 and before is None and limit is None:
            return read_entries(read, tail, codec)
        if limit is None and before is None:
            return read_since(read, tail, first, codec)
        count = tail.seq if limit is None else limit
        if before is not None:
            count = min(count, max(0, before - first))
        return read_oldest(read, tail, count, find_line(read, tail, first), codec)

    return Query(of_sealed, lambda whole: window(whole.entries, after, before, limit))


def items_query(limit: int | None) -> Query[list[Item]]:
    """Ask for the SDK items, or the newest `limit` of them."""

    def of_sealed(read: Read, sealed: Sealed, codec: SessionCodec = PLAIN_SESSION) -> list[Item]:
        if limit is None:
            return read_items(read, sealed.tail, codec)
        return newest_of(read_newest_items(read, sealed.tail, limit, codec), limit)

    return Query(of_sealed, lambda whole: newest_of(_items_of(whole.entries), limit))


def _info_of_sealed(_read: Read, sealed: Sealed, codec: SessionCodec = PLAIN_SESSION) -> SessionInfo:
    # Decoded anew, because the header that was seen is shared, and what a caller gets is its own.
    return _make_info(codec.decode_facts(facts_of(parse_header(sealed.line))), standing_of(sealed.tail))


def info_of(whole: Document) -> SessionInfo:
    """Return what a session is, and its totals."""
    standing = Standing(whole.seq, datetime.fromisoformat(whole.updated_at), whole.context)
    return _make_info(whole.header, standing)


INFO_QUERY = Query(_info_of_sealed, info_of)
"""Ask what a session is, and for its totals."""


def _make_info(facts: JsonObject, standing: Standing) -> SessionInfo:
    try:
        return session_info(facts, standing)
    except ValueError as error:
        reason = str(error)
    raise Damage(reason)


def standing_of(tail: Tail) -> Standing:
    """Return where a session stands, as its tail says."""
    return Standing(tail.seq, datetime.fromisoformat(tail.updated_at), tail.context)


def _items_of(entries: list[Entry]) -> list[Item]:
    return [entry["item"] for entry in entries if "item" in entry]
