"""Where the state of a run is kept that awaits approval, beside its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.stores.base import SessionStore, TurnLock

RUN_STATE = "run_state.json"
"""The sidecar of a managed turn that awaits approval."""

STATE = "state.json"
"""The sidecar of a run that awaits approval without a manager, as its application has saved it."""


async def delete_run_states(store: SessionStore, key: SessionKey, *, turn: TurnLock | None = None) -> None:
    """Forget what awaits approval: resumed into a history that is gone, it would run calls that no one sees."""
    for name in (RUN_STATE, STATE):
        await store.delete_sidecar(key, name, turn=turn)
