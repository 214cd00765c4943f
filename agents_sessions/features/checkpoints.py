"""Named points of a history, with data of the application: `manager.checkpoints`.

A checkpoint is a record in the history itself: saving one is an append, and a fork takes those before its point along.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from agents_sessions.errors import InvalidValueError, SessionLimitError, TooManyError
from agents_sessions.model.entries import CheckpointRecord, parse_time, record_entry
from agents_sessions.model.lossless_json import check_json, encode_json
from agents_sessions.model.view import View, is_about_the_history, kept
from agents_sessions.turns import rewinding
from agents_sessions.turns.lock import exclusive_turn
from agents_sessions.turns.positions import Position, find_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import Entry
    from agents_sessions.stores.base import History, SessionStore

MAX_CHECKPOINTS = 1000
"""How many checkpoints a session may have."""
MAX_CHECKPOINT_BYTES = 1 << 20
"""How large the data of a checkpoint may be, as JSON, its label included."""


class Checkpoint(BaseModel):
    """A point of a history, with data of the application."""

    model_config = ConfigDict(frozen=True)

    id: str
    label: str | None
    data: dict[str, Any]
    at: datetime
    """When it was saved, UTC."""
    seq: int
    """The number of its own entry."""
    position: int
    """The number of the newest entry of the conversation then; 0 if there was none."""
    taken_back: bool = False
    """Whether an undo or a rewind has taken this point back since. Then it can be forked, and not restored."""


class Checkpoints:
    """Save, find, restore and delete the checkpoints of sessions."""

    def __init__(self, store: SessionStore, lookup: SessionLookup, lock_timeout: float | None) -> None:
        self._store = store
        self._lookup = lookup
        self._lock_timeout = lock_timeout

    async def save(
        self,
        session_id: str,
        data: dict[str, Any] | None = None,
        *,
        label: str | None = None,
        agent_id: str | None = None,
    ) -> str:
        """Mark the present point of a history, and return the id of the checkpoint. A turn may be running.

        Args:
            session_id: The session.
            data: What the application wants to have again at this point: JSON data.
            label: A name for people.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            InvalidValueError: The data is no dict of JSON data, or the label is no text.
            SessionLimitError: Data and label have more than `MAX_CHECKPOINT_BYTES`.
            TooManyError: The session has `MAX_CHECKPOINTS`.
            SessionNotFoundError: There is no such session.
        """
        given = {} if data is None else data
        record: CheckpointRecord = {"type": "checkpoint", "id": uuid4().hex[:12], "position": 0, "data": given}
        if label is not None:
            record["label"] = label
        _check(record)
        key = await self._lookup.key(session_id, agent_id)
        if (size := len(encode_json(record))) > MAX_CHECKPOINT_BYTES:
            raise SessionLimitError(key, "a checkpoint", size, "MAX_CHECKPOINT_BYTES", MAX_CHECKPOINT_BYTES)
        if (await self._store.existing(key)).context.checkpoints >= MAX_CHECKPOINTS:
            raise TooManyError(key, "checkpoints", MAX_CHECKPOINTS, "delete some, or clear them")
        record["position"] = await _newest_position(self._store, key)
        await self._store.append(key, [record_entry(record)])
        return record["id"]

    async def get(self, session_id: str, checkpoint_id: str, *, agent_id: str | None = None) -> Checkpoint:
        """Return a checkpoint.

        Raises:
            CheckpointNotFoundError: The session has none of this id.
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        entry, record = await find_checkpoint(self._store, key, checkpoint_id)
        return _checkpoint(entry, record, (await self._store.existing(key)).context.view)

    async def latest(self, session_id: str, *, agent_id: str | None = None) -> Checkpoint | None:
        """Return the checkpoint that was saved last, or None if there is none. The cost does not grow with the history.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        context = (await self._store.existing(key)).context
        seq = context.newest_checkpoint
        found = await self._store.entries(key, after=seq - 1, before=seq + 1) if seq else []
        return next((_checkpoint(entry, record, context.view) for entry, record in _among(found)), None)

    async def list(self, session_id: str, *, agent_id: str | None = None) -> list[Checkpoint]:
        """Return all checkpoints of a session, the oldest first.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        context = (await self._store.existing(key)).context
        if not context.checkpoints:
            return []
        found = await self._store.entries(key, before=context.newest_checkpoint + 1)
        return [_checkpoint(entry, record, context.view) for entry, record in _among(found)]

    async def restore(self, session_id: str, checkpoint_id: str, *, agent_id: str | None = None) -> dict[str, Any]:
        """Take back all turns behind a checkpoint, and return its data. `redo` brings them back until the next turn.

        A checkpoint that was saved inside a turn stands for the end of that turn.

        Raises:
            CheckpointNotFoundError: The session has none of this id.
            PositionTakenBackError: Its point was taken back: `branches.fork(…, checkpoint=)` makes a session of it.
            PositionNotFoundError: What stood at its point was removed.
            SessionBusyError: A turn runs on the session and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            _, record = await find_checkpoint(self._store, key, checkpoint_id)
            await rewinding.rewind(self._store, lock, Position(checkpoint=checkpoint_id))
        return record["data"]

    async def delete(self, session_id: str, checkpoint_id: str, *, agent_id: str | None = None) -> None:
        """Remove a checkpoint and its data, for good. The history stays as it is.

        Raises:
            CheckpointNotFoundError: The session has none of this id.
            SessionBusyError: A turn runs on the session and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        await find_checkpoint(self._store, key, checkpoint_id)
        await self._remove(key, lambda record: record["id"] == checkpoint_id)

    async def clear(self, session_id: str, *, agent_id: str | None = None) -> int:
        """Remove all checkpoints of a session, for good, and return how many there were.

        Raises:
            SessionBusyError: A turn runs on the session and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        key = await self._lookup.key(session_id, agent_id)
        count = (await self._store.existing(key)).context.checkpoints
        await self._remove(key, lambda record: True)
        return count

    async def _remove(self, key: SessionKey, is_gone: Callable[[CheckpointRecord], bool]) -> None:
        def change(history: History) -> History:
            gone = {entry["seq"] for entry, record in _among(history.entries) if is_gone(record)}
            return history.with_entries([e for e in history.entries if e["seq"] not in gone]) if gone else history

        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            await self._store.rewrite(key, change, turn=lock)


def _check(record: CheckpointRecord) -> None:
    if not isinstance(record["data"], dict):
        raise InvalidValueError({"data": f"must be a dict of JSON data, not a {type(record['data']).__name__!r}"})
    if not isinstance(record.get("label", ""), str):
        raise InvalidValueError({"label": f"must be a text, not a {type(record['label']).__name__!r}"})
    try:
        check_json(record)
    except ValueError as error:
        raise InvalidValueError({"data": str(error)}) from None


async def _newest_position(store: SessionStore, key: SessionKey) -> int:
    count = 8
    while True:
        entries = await store.entries(key, limit=count)
        found = [entry["seq"] for entry in kept(entries) if not is_about_the_history(entry)]
        if found or len(entries) < count:
            return found[-1] if found else 0
        count *= 4


def _among(entries: list[Entry]) -> list[tuple[Entry, CheckpointRecord]]:
    records = ((entry, entry["record"]) for entry in entries if "record" in entry)
    return [(entry, record) for entry, record in records if record["type"] == "checkpoint"]


def _checkpoint(entry: Entry, record: CheckpointRecord, view: View | None) -> Checkpoint:
    return Checkpoint(
        id=record["id"],
        label=record.get("label"),
        data=record["data"],
        at=parse_time(entry["at"]),
        seq=entry["seq"],
        position=record["position"],
        taken_back=view is not None and view.is_taken_back(record["position"]),
    )
