"""Find sessions: all that a question asks for, and the one that a person means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from agents_sessions.errors import AmbiguousPrefixError, InvalidValueError, SessionAmbiguousError, SessionNotFoundError
from agents_sessions.model.query import MAX_LIMIT, SessionQuery

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore

SHORTEST = 4
"""So many characters of an id may stand for it."""

_SHOWN = 8


async def every(store: SessionStore, query: SessionQuery) -> AsyncIterator[SessionInfo]:
    """Yield all sessions that a question asks for, whatever its limit, a page at a time."""
    query = replace(query, limit=MAX_LIMIT)
    while True:
        page = await store.query(query)
        for info in page:
            yield info
        if page.next_cursor is None:
            return
        query = replace(query, cursor=page.next_cursor)


async def resolve(store: SessionStore, typed: str) -> SessionInfo:
    """Return the session that someone means who typed this: see `SessionManager.resolve`."""
    if not isinstance(typed, str) or not typed.strip():
        raise InvalidValueError({"typed": "must be an id, the beginning of one, or a name"})
    typed = typed.strip()
    keys = await store.find(typed)
    if len(keys) == 1:
        return await store.existing(keys[0])
    if keys:
        raise SessionAmbiguousError(typed, tuple(key.agent_id for key in keys))
    found = await _meant(store, typed)
    if len(found) > 1:
        raise AmbiguousPrefixError(typed, tuple(found))
    if not found:
        raise SessionNotFoundError(typed, f"give {SHORTEST} or more characters of its id, or its whole name")
    return next(iter(found.values()))


async def _meant(store: SessionStore, typed: str) -> dict[SessionKey, SessionInfo]:
    """Return some of the sessions whose ids begin so, and of those that are called so."""
    queries = [SessionQuery(name=typed, limit=_SHOWN)]
    if len(typed) >= SHORTEST:
        queries.insert(0, SessionQuery(id_prefix=typed, sort="id", limit=_SHOWN))
    return {info.key: info for query in queries for info in await store.query(query)}
