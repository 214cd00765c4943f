"""One turn at a time on a session.

The store's turn lock makes turns wait for each other, in this process and in others. What it cannot know is
that the waiter is called by the holder: a tool that sends to its own session would wait for itself. A context
variable knows, because the tool runs in the context of the turn.
"""

import contextlib
from collections.abc import AsyncIterator, Hashable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from agents_sessions.errors import SessionBusyError, SessionReentryError
from agents_sessions.info import SessionKey
from agents_sessions.stores.base import SessionStore


@dataclass(slots=True)
class _Holding:
    place: Hashable
    active: bool = True
    """False once the turn is over: a task that it left behind still has it in its context."""


_begun: dict[Hashable, float] = {}
"""Since when this process holds which sessions: what a store's lock need not know."""

_holdings: ContextVar[tuple[_Holding, ...]] = ContextVar("agents_sessions_turns", default=())


def check_reentry(store: SessionStore, key: SessionKey) -> None:
    """Refuse to wait for a turn that waits for the caller.

    Raises:
        SessionReentryError: The caller runs inside a turn on this very session.
    """
    place = store.place(key)
    if any(holding.active and holding.place == place for holding in _holdings.get()):
        raise SessionReentryError(key.session_id, key.agent_id)


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
    holding = _Holding(place)
    token = _holdings.set((*_holdings.get(), holding))
    _begun[place] = monotonic()
    try:
        yield
    finally:
        del _begun[place]
        holding.active = False
        with contextlib.suppress(ValueError):  # a turn that is thrown away with its loop ends in another context
            _holdings.reset(token)


def _aged(error: SessionBusyError, place: Hashable) -> SessionBusyError:
    begun = _begun.get(place)
    if error.held_for is not None or begun is None:
        return error
    age = timedelta(seconds=monotonic() - begun)
    return SessionBusyError(error.session_id, error.agent_id, error.waited, error.holder, age)
