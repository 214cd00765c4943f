"""One turn at a time on a session.

The store's turn lock makes turns wait for each other, in this process and in others. What it cannot know is
that the waiter is called by the holder: a tool that sends to its own session would wait for itself. A context
variable knows, because the tool runs in the context of the turn.
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
from agents_sessions.stores.base import SessionStore


@dataclass(slots=True)
class _Holding:
    place: Hashable
    begun: float
    active: bool = True
    """False once the turn is over: a task that it left behind still has it in its context."""


_begun: dict[Hashable, _Holding] = {}
"""Which sessions this process holds: what a store's lock need not know."""

_holdings: ContextVar[tuple[_Holding, ...]] = ContextVar("agents_sessions_turns", default=())


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

    A coroutine that does not find itself in the task it began in is thrown away, after its loop was closed: wherever
    the garbage was collected. It can await nothing, and another turn may have begun, which found this one open.
    """
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no running loop
        return None


@contextlib.asynccontextmanager
async def exclusive_turn(store: SessionStore, key: SessionKey, timeout: float | None) -> AsyncIterator[None]:
    """Hold a session for one turn, or for one change of its history.

    Raises:
        SessionReentryError: The caller runs inside a turn on this very session.
        SessionBusyError: It did not come free within `timeout` seconds.
    """
    check_reentry(store, key)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(store.turn_lock(key, timeout))
        except SessionBusyError as error:
            raise _aged(error, store.place(key)) from None
        with _held(store.place(key)):
            yield


@contextlib.contextmanager
def _held(place: Hashable) -> Iterator[None]:
    holding = _Holding(place, monotonic())
    token = _holdings.set((*_holdings.get(), holding))
    _begun[place] = holding
    try:
        yield
    finally:
        if _begun.get(place) is holding:  # else we are thrown away with our loop, and another turn has begun
            del _begun[place]
        holding.active = False
        with contextlib.suppress(ValueError):  # a turn that is thrown away with its loop ends in another context
            _holdings.reset(token)


def _aged(error: SessionBusyError, place: Hashable) -> SessionBusyError:
    holding = _begun.get(place)
    if error.held_for is not None or holding is None:
        return error
    age = timedelta(seconds=monotonic() - holding.begun)
    return SessionBusyError(error.key or error.session_id, error.waited, error.holder, age)
