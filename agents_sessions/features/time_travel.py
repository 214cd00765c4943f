"""Go back and forth in a history: undo, redo, rewind, remove. Nothing is lost by any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.turn_list import TurnInfo, spans, turn_info
from agents_sessions.model.view import NOTHING_HIDDEN, kept, view_of
from agents_sessions.turns import rewinding
from agents_sessions.turns.lock import exclusive_turn
from agents_sessions.turns.positions import newest_spans

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.positions import Position


class TimeTravel:
    """What `manager.undo`, `redo`, `rewind`, `remove` and `get_turns` do."""

    def __init__(self, store: SessionStore, lock_timeout: float | None) -> None:
        self._store = store
        self._lock_timeout = lock_timeout

    async def undo(self, key: SessionKey, turns: int) -> list[TurnInfo]:
        """Take the newest turns back."""
        if type(turns) is not int or turns < 1:
            raise InvalidValueError({"turns": f"must be a number of turns from 1 on, not {turns!r:.80}"})
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            return await rewinding.undo(self._store, lock, turns)

    async def redo(self, key: SessionKey) -> list[TurnInfo]:
        """Bring back what was taken back last."""
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            return await rewinding.redo(self._store, lock)

    async def rewind(self, key: SessionKey, position: Position) -> list[TurnInfo]:
        """Take back all turns behind a position."""
        position.check()
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            return await rewinding.rewind(self._store, lock, position)

    async def remove(self, key: SessionKey, seq: int) -> list[int]:
        """Take one item and its partners out."""
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            return await rewinding.remove(self._store, lock, seq)

    async def turns(self, key: SessionKey, limit: int | None, *, taken_back: bool) -> list[TurnInfo]:
        """Return the turns of a history."""
        if limit is not None and not taken_back:
            return [turn_info(span, NOTHING_HIDDEN) for span in await newest_spans(self._store, key, limit)]
        entries = await self._store.entries(key)
        view = view_of(entries)
        found = [turn_info(span, view) for span in spans(entries if taken_back else kept(entries, view))]
        return found if limit is None else found[max(0, len(found) - limit) :]
