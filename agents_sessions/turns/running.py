"""The turns that a manager runs, so that it can be closed: it takes no more, and waits for those that run."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from agents_sessions.errors import ManagerClosedError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Running:
    """A turn, from before it waits for its session until the session is free."""

    task: ref[asyncio.Task[Any]]
    """Weakly: a turn whose loop was closed must be collected, which frees its session."""
    loop: asyncio.AbstractEventLoop
    ended: Future[None] = field(default_factory=Future)
    """Done when the session is free. Other threads than the one of the turn wait for it."""

    def cancel(self) -> None:
        task = self.task()
        if task is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(task.cancel)


_inside: ContextVar[tuple[_Running, ...]] = ContextVar("agents_sessions_running", default=())
"""The turns that the caller works for: they end after it."""


class RunningTurns:
    """The turns that run, as long as more may begin.

    Args:
        among: Those of a manager of which this one is a view: its turns run among them, and end with them.
    """

    def __init__(self, among: RunningTurns | None = None) -> None:
        self._among = among
        self._turns: WeakSet[_Running] = WeakSet()
        self._closed = False

    @contextlib.contextmanager
    def entered(self, session_id: str) -> Iterator[None]:
        """Count the caller's turn among those that run.

        Raises:
            ManagerClosedError: No more may begin.
        """
        self.check_open(session_id)
        turn = _Running(ref(_current_task()), asyncio.get_running_loop())
        self._add(turn)
        _inside.set((*_inside.get(), turn))
        try:
            yield
        finally:
            _inside.set(tuple(each for each in _inside.get() if each is not turn))
            turn.ended.set_result(None)
            self._discard(turn)

    def check_open(self, session_id: str) -> None:
        """Refuse a turn that has not begun yet.

        Raises:
            ManagerClosedError: No more may begin.
        """
        if self._closed:
            raise ManagerClosedError(session_id)
        if self._among is not None:
            self._among.check_open(session_id)

    def close(self) -> None:
        """Let no more begin."""
        self._closed = True

    async def drain(self, timeout: float | None) -> bool:
        """Wait for those that run, but not for those that the caller works for; tell whether they have ended.

        Nor for those of a loop that does not run at present: they end when it goes on, or are discarded with it.
        """
        ends = [asyncio.wrap_future(turn.ended) for turn in self._others()]
        if not ends:
            return True
        _, left = await asyncio.wait(ends, timeout=timeout)
        return not left

    def cancel(self) -> None:
        """Cancel those that run."""
        for turn in self._others():
            turn.cancel()

    def _add(self, turn: _Running) -> None:
        self._turns.add(turn)
        if self._among is not None:
            self._among._add(turn)

    def _discard(self, turn: _Running) -> None:
        self._turns.discard(turn)
        if self._among is not None:
            self._among._discard(turn)

    def _others(self) -> list[_Running]:
        own = _inside.get()
        return [turn for turn in tuple(self._turns) if turn not in own and turn.loop.is_running()]


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 -- whoever awaits a turn is in a task
    return task
