"""What a turn is sent when it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents_sessions.errors import NothingToResumeError

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import TurnRecord
    from agents_sessions.stores.base import SessionStore


async def last_message(store: SessionStore, key: SessionKey) -> Any:
    """Return the message of the last turn if the history does not have it: see `TurnRecord`.

    Raises:
        NothingToResumeError: It was too large to be kept, or the end of its turn was removed.
    """
    record = await _last_end(store, key)
    if record.get("message_lost"):
        raise NothingToResumeError(key, "the message of its last turn was too large to be kept; send it again")
    return record.get("message", [])


async def _last_end(store: SessionStore, key: SessionKey) -> TurnRecord:
    """Return the end of the last turn. Behind it there may be items that came through another session object."""
    count = 4
    while True:
        entries = await store.entries(key, limit=count)
        for entry in reversed(entries):
            if "record" in entry and entry["record"]["type"] == "turn":
                return entry["record"]
        if len(entries) < count:
            raise NothingToResumeError(key, "the end of its last turn was removed")
        count *= 4
