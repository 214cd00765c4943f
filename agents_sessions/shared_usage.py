"""What each of several runs spends that grow one `Usage`.

An agent used as a tool grows the usage of the run around it, and several of them do so side by side. What a usage has
gained does not say who has spent it; a context variable does, since each run and all that it begins have a context of
their own.

A rule that comes from the SDK (openai-agents 0.24): a run adds each model request to its usage by `Usage.add`, in its
own context, after it has asked its session for the history.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

from agents.usage import Usage

from agents_sessions.model.usage import UsageMark, rows_since

if TYPE_CHECKING:
    from collections.abc import Hashable

    from agents.run_context import RunContextWrapper

    from agents_sessions.model.usage import RequestRow


@dataclass(slots=True, eq=False)
class Run:
    """A run that keeps its history in a session."""

    wrapper: ref[RunContextWrapper[Any]]
    usage: Usage
    place: Hashable
    """What names the session."""
    turn: str | None
    """The managed turn that the run is of."""
    spent: list[RequestRow] = field(default_factory=list)
    """What the run and the runs inside it have spent, as far as no session has taken it."""

    def take(self) -> list[RequestRow]:
        """Return what was spent, once."""
        taken, self.spent = self.spent, []
        return taken


_runs: ContextVar[tuple[Run, ...]] = ContextVar("agents_sessions_runs", default=())
"""The run that the caller works for, behind those that wait for it."""


def run_of(wrapper: RunContextWrapper[Any], place: Hashable, turn: str | None = None) -> Run:
    """Return the account of a run with its history at a place: that of a run around the caller, or a new one."""
    for run in _runs.get():
        if run.usage is wrapper.usage and run.wrapper() is wrapper and (run.place, run.turn) == (place, turn):
            return run
    _watch(wrapper.usage)
    return Run(ref(wrapper), wrapper.usage, place, turn)


def enter_run(run: Run) -> None:
    """Note that the current task works for a run. What it calls inherits the note."""
    around = tuple(each for each in _runs.get() if each.usage is run.usage)
    if run not in around:
        _runs.set((*around, run))


def outer_run(wrapper: RunContextWrapper[Any], place: Hashable) -> Run | None:
    """Return the run with its history at a place that waits for this one, and shares its usage."""
    for run in _runs.get():
        if run.usage is wrapper.usage and run.place == place and run.wrapper() is not wrapper:
            return run
    return None


class _WatchedUsage(Usage):
    """A usage that tells the runs of the caller what is added to it. To its users it is a `Usage` like any other."""

    __hash__ = None  # type: ignore[assignment]

    def add(self, other: Usage) -> None:
        before = UsageMark.of(self)
        super().add(other)
        for run in _runs.get():
            if run.usage is self:
                run.spent += rows_since(before, self)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Usage) else NotImplemented

    def __reduce__(self) -> tuple[Any, ...]:
        return Usage, (), vars(self)  # a copy is counted by whoever enters a run with it


_WatchedUsage.__qualname__ = _WatchedUsage.__name__ = Usage.__name__  # what its repr shows


def _watch(usage: Usage) -> None:
    """Watch a usage, which stays the object that others hold. One of another maker is left: it counts as it likes."""
    if type(usage) is Usage:
        usage.__class__ = _WatchedUsage
