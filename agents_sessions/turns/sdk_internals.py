"""Private parts of the SDK (openai-agents 0.24), each in one place and under one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import Agent, Handoff, ModelResponse, RunContextWrapper, RunState


def set_max_turns(state: RunState[Any, Any], max_turns: int) -> None:
    """Limit the model rounds of a resumed run, counted from the start of its turn.

    The Runner reads the limit of a resumed run from its state and ignores its own argument (0.24).
    """
    state._max_turns = max_turns


def wrapper_of(state: RunState[Any, Any]) -> RunContextWrapper[Any] | None:
    """Return the wrapper of a suspended run, with the usage that grows on when it is resumed.

    If the resumed part triggers no hook of ours, this is the only place where its usage shows (0.24).
    """
    return state._context


def last_response_of(state: RunState[Any, Any]) -> ModelResponse | None:
    """Return what the model said last before a run was suspended.

    The public `to_json` has it as plain data only, without the types that our hooks compare (0.24).
    """
    return state._model_responses[-1] if state._model_responses else None


def target_of(handoff: Handoff[Any, Any]) -> Agent[Any] | None:
    """Return the agent of a handoff, if it still exists and the handoff was made by `handoff()`.

    The SDK keeps the agent in a weak reference and nowhere else; a handoff made by hand has none (0.24).
    """
    reference = getattr(handoff, "_agent_ref", None)
    return None if reference is None else reference()
