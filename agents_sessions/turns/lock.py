"""One turn at a time on a session.

The store's turn lock makes turns wait for each other, in this process and in others. The store cannot know that the
holder calls the waiter: a tool that sends to its own session would wait for itself. A context variable knows, because
the tool runs in the context of the turn.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from agents_sessions.errors import SessionBusyError, SessionReentryError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore, TurnLock


@dataclass(slots=True)
class _Holding:
    place: Hashable
    since: float
    active: bool = True
    """False once the turn is over: a task that outlives the turn still has it in its context."""


_open: dict[Hashable, _Holding] = {}
"""The sessions that this process holds, for the age in `SessionBusyError`: a store's lock need not know it."""

_holdings: ContextVar[tuple[_Holding, ...]] = ContextVar("agents_sessions_turns", default=())


def open_turns() -> int:
    """Return how many sessions this process holds for a turn."""
    return len(_open)


def check_reentry(store: SessionStore, key: SessionKey) -> None:
    """Refuse to wait for a turn that waits for the caller.

    Raises:
        SessionReentryError: The caller runs inside a turn on this very session.
    """
    place = store.place(key)
    if any(holding.active and holding.place == place for holding in _holdings.get()):
        raise SessionReentryError(key)


def current_task() -> asyncio.Task[Any] | None:
    """Return the task that runs, if any.

    If it is not the task that a coroutine started in, the garbage collector is finalising that coroutine after its
    loop was closed. It must not await anything, and another turn may already own the session: let the error through
    and write nothing.
    """
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no running loop
        return None


@contextlib.asynccontextmanager
async def exclusive_turn(store: SessionStore, key: SessionKey, lock_timeout: float | None) -> AsyncIterator[TurnLock]:
    """Hold a session for one turn, or for one change of its history. Every write in between carries the lock.

    Raises:
        SessionReentryError: The caller runs inside a turn on this very session.
        SessionBusyError: It did not come free within `lock_timeout` seconds.
    """
    check_reentry(store, key)
    async with contextlib.AsyncExitStack() as stack:
        try:
            lock = await stack.enter_async_context(store.turn_lock(key, lock_timeout))
        except SessionBusyError as error:
            raise _with_age(error, store.place(key)) from None
        with _noted(store.place(key)):
            yield lock


@contextlib.contextmanager
def _noted(place: Hashable) -> Iterator[None]:
    """Note who holds a session, for the checks of this module."""
    holding = _Holding(place, monotonic())
    token = _holdings.set((*_holdings.get(), holding))
    _open[place] = holding
    try:
        yield
    finally:
        # A coroutine that is finalised with its loop may find the next turn here, and must leave that one alone.
        if _open.get(place) is holding:
            del _open[place]
        holding.active = False
        with contextlib.suppress(ValueError):  # such a coroutine ends in another context
            _holdings.reset(token)


def _with_age(error: SessionBusyError, place: Hashable) -> SessionBusyError:
    holding = _open.get(place)
    if error.held_for is not None or holding is None:
        return error
    age = timedelta(seconds=monotonic() - holding.since)
    return SessionBusyError(error.key or error.session_id, error.waited, error.holder, age)
