"""Do one thing to many sessions, some at a time, with an outcome for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents_sessions.concurrency.settle import settle

if TYPE_CHECKING:
    from agents_sessions.model.info import SessionInfo

AT_ONCE = 16
"""How many sessions are worked on at a time."""


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """What became of one session among many."""

    session_id: str | None
    """Its id; None for a new one that could not be made and had none."""
    info: SessionInfo | None = None
    """The session that was made."""
    error: Exception | None = None
    """Why it was not done; nothing was changed then."""

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None


class Job:
    """What is to be done to one session.

    Args:
        session_id: Its id, if it is known.
        act: Does it, and returns the session if it made one.
    """

    def __init__(self, session_id: str | None, act: Callable[[], Awaitable[SessionInfo | None]]) -> None:
        self._session_id = session_id
        self._act = act

    async def run(self, gate: asyncio.Semaphore) -> SessionOutcome:
        """Do it, and tell what became of it."""
        async with gate:
            try:
                info = await self._act()
            except Exception as error:  # noqa: BLE001 -- it is the outcome
                return SessionOutcome(self._session_id, error=error)
        return SessionOutcome(self._session_id if info is None else info.id, info)


async def outcomes(jobs: Iterable[Job]) -> list[SessionOutcome]:
    """Do all jobs, some at a time, and return what became of each, in their order.

    Who is cancelled meanwhile begins no other one, and waits for those that have begun.
    """
    gate = asyncio.Semaphore(AT_ONCE)
    tasks = [asyncio.ensure_future(job.run(gate)) for job in jobs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await settle(asyncio.gather(*tasks, return_exceptions=True))
