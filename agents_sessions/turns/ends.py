"""End a turn that nobody goes on with: its process died, or it awaits approval and is given up.

All that is needed stands in the history. So it can be done whatever has become of the run state, of the agents, or of
the SDK that made them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from agents_sessions.model.view import kept
from agents_sessions.run_states import RUN_STATE
from agents_sessions.turns.past import given_up, interrupted, newest_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry, Item
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock

logger = logging.getLogger("agents_sessions")


def awaits_approval(info: SessionInfo) -> bool:
    """Tell whether the history says that the last turn awaits approval."""
    return info.context.last_status == "awaiting_approval" and info.context.open_turn is None


async def last_end(store: SessionStore, key: SessionKey) -> Entry | None:
    """Return the end of the last turn that was not taken back. Items of another session may stand behind it."""
    count = 4
    while True:
        entries = await store.entries(key, limit=count)
        if (end := newest_end(kept(entries))) is not None:
            return end
        if len(entries) < count:
            return None
        count *= 4


async def end_interrupted(store: SessionStore, lock: TurnLock, info: SessionInfo, turn: str) -> SessionInfo:
    """End a turn whose process died."""
    key = lock.key
    text = "turn %s of session %r of agent %r was interrupted before its end was stored"
    logger.warning(text, turn, key.session_id, key.agent_id)
    end = interrupted(await _of_turn(store, key, turn), agent=info.context.last_agent, turn=turn)
    await store.delete_sidecar(key, RUN_STATE, turn=lock)
    return await _append(store, lock, info, end)


async def give_up(
    store: SessionStore, lock: TurnLock, info: SessionInfo, reason: str, message: Sequence[Item] = ()
) -> SessionInfo:
    """End the turn that awaits approval: its calls are rejected, and answered.

    What it was sent and has not stored, and the message that is to start a new turn, are in the record of its end.
    """
    key = lock.key
    end = await last_end(store, key)
    turn = "" if end is None else end.get("turn", "")
    text = "turn %s of session %r of agent %r is given up: %s"
    logger.warning(text, turn, key.session_id, key.agent_id, reason)
    entries = await _of_turn(store, key, turn)
    ended = given_up(entries, agent=info.context.last_agent, turn=turn, reason=reason, message=message)
    info = await _append(store, lock, info, ended)
    await store.delete_sidecar(key, RUN_STATE, turn=lock)
    return info


async def _of_turn(store: SessionStore, key: SessionKey, turn: str) -> list[Entry]:
    return [entry for entry in await store.entries(key) if entry.get("turn") == turn]


async def _append(store: SessionStore, lock: TurnLock, info: SessionInfo, entries: list[Entry]) -> SessionInfo:
    stored = await store.append(lock.key, entries, turn=lock)
    return info.model_copy(update={"seq": stored.seq, "context": stored.context})
