"""What a session does at this moment. Nothing of it is stored, so that no killed process can leave it wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from agents_sessions.turns.approvals import load_awaiting

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.stores.base import SessionStore

Activity = Literal["idle", "running", "awaiting_approval", "interrupted"]
"""`running`: a turn, or a change that must not meet one, holds the session. `awaiting_approval`: tool calls of the last
turn wait for a decision. `interrupted`: the process of the last turn died, and the next message will say so in the
history. `idle`: nothing of these."""


async def activity_of(store: SessionStore, key: SessionKey) -> Activity:
    """Return what a session does.

    Raises:
        SessionNotFoundError: There is no such session.
        SessionCorruptedError: What is kept of a turn that awaits approval is damaged.
    """
    seen = -1
    while True:
        running = await store.is_running(key)
        info = await store.existing(key)
        if running:
            return "running"
        if info.context.open_turn is None:
            return "idle" if await load_awaiting(store, info) is None else "awaiting_approval"
        # It may have begun since the lock was looked at. Only one that stands still without a holder has died.
        if info.seq == seen:
            return "interrupted"
        seen = info.seq
