"""What a caller chooses for a turn, and what of it the Runner is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast, get_args

from agents import Agent, MultiProvider, OpenAIProvider, RunContextWrapper
from agents.models import get_default_model

from agents_sessions.errors import InvalidValueError

if TYPE_CHECKING:
    from agents import RunConfig, RunErrorHandlers, RunHooks

    from agents_sessions.model.info import SessionInfo

Start = Literal["last", "entry"]
OnFailure = Literal["keep", "rollback"]
OnPending = Literal["error", "reject", "give_up"]

_CHOICES = {"start": get_args(Start), "on_failure": get_args(OnFailure), "on_pending": get_args(OnPending)}
_REFUSED = {
    "conversation_id": "the server would keep the history then, not the session",
    "previous_response_id": "the server would keep the history then, not the session",
    "auto_previous_response_id": "the server would keep the history then, not the session",
    "session": "the manager gives the Runner its own",
}


class RunArguments(TypedDict, total=False):
    """The arguments of `Runner.run` that pass through; see there. Per manager, and per call over those."""

    context: Any
    max_turns: int | None
    hooks: RunHooks[Any] | None
    run_config: RunConfig | dict[str, Any] | None
    error_handlers: RunErrorHandlers[Any] | None


class TurnOptions(RunArguments, total=False):
    """How a turn is run."""

    agent_id: str | None
    """Needed only if several agents have a session of this id."""
    lock_timeout: float | None
    """Seconds to wait for the turns before this one, None for ever; by default the manager's."""
    on_failure: OnFailure
    """What becomes of a failed turn's items: `keep` (default), since its tools may have acted, or `rollback`."""


class RetryOptions(TurnOptions, total=False):
    """How a turn is run that is not sent a message."""

    start: Start
    """Go on with the agent that ended the `last` turn (default), or begin at the session's own: `entry`."""
    agent: Agent[Any] | str | None
    """The agent that takes the message, or its name. Not together with `start`."""


class SendOptions(RetryOptions, total=False):
    """How a turn with a new message is run."""

    on_pending: OnPending
    """While tool calls wait for approval, a message is an `error` (default), or it `reject`s them and the turn goes on
    with it, or the turn is given up (`give_up`) and a new one starts with it, whatever has become of the agents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSettings:
    """How one turn is run: the options of its call over those of the manager."""

    runner: RunArguments
    """What `Runner.run` is given beside agent, input, session and our hooks."""
    agent_id: str | None = None
    lock_timeout: float | None = None
    on_failure: OnFailure = "keep"
    start: Start = "last"
    agent: Agent[Any] | str | None = None
    on_pending: OnPending = "error"

    @classmethod
    def of(
        cls, kind: type[Mapping[str, Any]], session_id: str, defaults: Mapping[str, Any], given: TurnOptions
    ) -> TurnSettings:
        """Lay the options of a call over the defaults, for one session.

        Raises:
            TypeError: An option is not one of this `kind`, or is refused because the session takes its place.
            InvalidValueError: An option has none of its values.
        """
        check_options(kind, given)
        merged: dict[str, Any] = {**defaults, **given}
        runner = {name: merged.pop(name) for name in RunArguments.__annotations__ if name in merged}
        runner["run_config"] = _grouped(runner.get("run_config"), session_id)
        return cls(runner=cast("RunArguments", runner), **merged)

    def of_session(self, info: SessionInfo) -> TurnSettings:
        """Return the same with the session's own `max_turns`, where neither the call nor the manager has one."""
        if info.max_turns is None or "max_turns" in self.runner:
            return self
        return dataclasses.replace(self, runner={**self.runner, "max_turns": info.max_turns})

    @property
    def model(self) -> str | None:
        """The model that the run config names for all agents."""
        model = self._config("model")
        return model if isinstance(model, str) else None

    @property
    def fallback_model(self) -> str | None:
        """The model of agents that name none: the SDK's default, unless a provider of another maker decides."""
        provider = self._config("model_provider")
        known = provider is None or isinstance(provider, (MultiProvider, OpenAIProvider))
        return get_default_model() if known else None

    def _config(self, name: str) -> object:
        config = self.runner.get("run_config")
        return config.get(name) if isinstance(config, dict) else getattr(config, name, None)


def check_options(kind: type[Mapping[str, Any]], given: Mapping[str, Any]) -> None:
    """Refuse options that are not of a kind; see `TurnSettings.of`."""
    for name, value in given.items():
        if name in _REFUSED:
            raise TypeError(f"{name} cannot be combined with a session: {_REFUSED[name]}")
        if name not in kind.__annotations__:
            raise TypeError(f"unknown option {name!r}; known: {', '.join(sorted(kind.__annotations__))}")
        if kind is RunArguments and isinstance(value, RunContextWrapper):
            raise TypeError(
                "context must be the object itself for many turns: a RunContextWrapper counts one run's usage"
            )
        if name == "agent" and not isinstance(value, Agent | str | None):
            raise InvalidValueError({name: f"must be an Agent or its name, not a {type(value).__name__!r}"})
        if name in _CHOICES and value not in _CHOICES[name]:
            allowed = ", ".join(map(repr, _CHOICES[name]))
            raise InvalidValueError({name: f"must be one of {allowed}, not {value!r:.80}"})
    if given.get("agent") is not None and given.get("start", "last") != "last":
        raise InvalidValueError({"agent": "cannot be given together with start=: both say who takes the message"})


def _grouped(config: RunConfig | dict[str, Any] | None, session_id: str) -> RunConfig | dict[str, Any]:
    """Return a run config whose traces are grouped by session, unless it names a group itself.

    A dict stays one: only then the Runner closes the model provider that it makes for the run.
    """
    if config is None or isinstance(config, dict):
        return {"group_id": session_id, **(config or {})}
    return config if config.group_id is not None else dataclasses.replace(config, group_id=session_id)
