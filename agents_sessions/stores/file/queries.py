"""What a session is read for. Each question is answered from the end of a file whose seal holds, or from all of it."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import JsonObject
from agents_sessions.model.view import View, shown_items, summary_entry
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
    read_some_items,
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
    """Ask for the SDK items that the model sees, or the newest `limit` of them."""

    def of_sealed(read: Read, sealed: Sealed, codec: SessionCodec = PLAIN_SESSION) -> list[Item]:
        view = sealed.tail.context.view
        if view is not None:
            return newest_of(_shown_items(read, sealed.tail, view, limit, codec), limit)
        if limit is None:
            return read_items(read, sealed.tail, codec)
        return newest_of(read_newest_items(read, sealed.tail, limit, codec), limit)

    return Query(of_sealed, lambda whole: newest_of(shown_items(whole.entries), limit))


def _shown_items(read: Read, tail: Tail, view: View, limit: int | None, codec: SessionCodec) -> list[Item]:
    """Return at least the newest `limit` items of a view, or all. What it hides is not read, however much it is."""
    found: list[Item] = []
    for first, last in view.windows(tail.seq):
        if limit is not None and len(found) >= limit:
            return found
        part = tail._replace(
            body=find_line(read, tail, first), end=find_line(read, tail, last + 1), seq=last - first + 1
        )
        items = (
            read_some_items(read, part, codec)
            if limit is None
            else read_newest_items(read, part, limit - len(found), codec)
        )
        found = items + found
    if not view.summary or (limit is not None and len(found) >= limit):
        return found
    at_summary = find_line(read, tail, view.summary)
    summary = summary_entry(read_oldest(read, tail, 1, at_summary, codec)[:1], view) if at_summary < tail.end else None
    if summary is None:  # someone has removed its record: the originals are seen again
        return _shown_items(read, tail, view.uncompacted(), limit, codec)
    return [summary["item"], *found]


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
