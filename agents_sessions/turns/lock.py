"""One turn at a time on a session.

The store's turn lock makes turns wait for each other, in this process and in others. The store cannot know that the
holder calls the waiter: a tool that sends to its own session would wait for itself, and two turns whose tools send to
each other's sessions would wait for each other. A context variable knows what a turn holds, because its tools run in
its context, and this module knows which turn of this process waits for which session.

Not all that runs in the context of a turn is awaited by it: a task that a tool begins may outlive the turn. Only the
turn's own task and the tasks that the SDK makes are known to be awaited. Any other waits; its timeout tells.
"""

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator, Hashable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any
from weakref import ref

from agents_sessions.concurrency import process
from agents_sessions.errors import SessionBusyError, SessionDeadlockError, SessionReentryError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore, TurnLock


@dataclass(slots=True)
class _Holding:
    place: Hashable
    key: SessionKey
    since: float
    task: ref[asyncio.Task[Any]] | None
    """The task that holds it, weakly: one whose loop was closed must be collected, which frees the session."""
    active: bool = True
    """False once the turn is over: a task that outlives the turn still has it in its context."""
    waits_for: list[Hashable] = field(default_factory=list)
    """The sessions that tools of the turn wait for."""


def _folder_of_the_sdk() -> str:
    """Return it with its last slash. It is found, not imported: who only locks a session does not need the SDK."""
    found = importlib.util.find_spec("agents")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("openai-agents is not installed", name="agents")
    return os.path.join(found.submodule_search_locations[0], "")  # noqa: PTH118 -- compared with a code object's text


_SDK = _folder_of_the_sdk()

_holdings: ContextVar[tuple[_Holding, ...]] = ContextVar("agents_sessions_turns", default=())


def open_turns() -> int:
    """Return how many sessions this process holds for a turn."""
    return len(process.open_turns)


def check_reentry(store: SessionStore, key: SessionKey) -> None:
    """Refuse to wait for a turn that waits for the caller.

    Raises:
        SessionReentryError: A turn on this very session awaits the caller.
        SessionDeadlockError: The turn on this session waits for a session that such a turn holds.
    """
    place, own = store.place(key), _awaiting_turns()
    if any(holding.place == place for holding in own):
        raise SessionReentryError(key)
    if circle := _circle(place, {holding.place for holding in own}):
        raise SessionDeadlockError(key, circle)


def _awaiting_turns() -> list[_Holding]:
    """Return the turns of this context that certainly await the current task."""
    task = current_task()
    inside = [holding for holding in _holdings.get() if holding.active]
    return (
        inside
        if _is_of_sdk(task)
        else [holding for holding in inside if _is_awaited(task, None if holding.task is None else holding.task())]
    )


def _is_awaited(task: asyncio.Task[Any] | None, holder: asyncio.Task[Any] | None) -> bool:
    """Tell whether a holder awaits a task: it is the holder, or runs in the thread of a tool that is not async."""
    return task is holder or task is None or holder is None or task.get_loop() is not holder.get_loop()


def _is_of_sdk(task: asyncio.Task[Any] | None) -> bool:
    """Tell whether the SDK made a task, to run a tool or a hook in it: it awaits what it makes."""
    code = getattr(None if task is None else task.get_coro(), "cr_code", None)
    return code is not None and code.co_filename.startswith(_SDK)


def _circle(place: Hashable, held: set[Hashable]) -> tuple[SessionKey, ...]:
    """Return the sessions by which the holder of a place waits for one of those that are held, or none."""
    paths: list[tuple[Hashable, tuple[SessionKey, ...]]] = [(place, ())]
    seen: set[Hashable] = set()
    for at, path in paths:
        holding = process.open_turns.get(at)
        if holding is None or at in seen:
            continue
        seen.add(at)
        if at in held:
            return (*path, holding.key)
        paths += [(further, (*path, holding.key)) for further in tuple(holding.waits_for)]
    return ()


@contextlib.contextmanager
def _waiting(place: Hashable) -> Iterator[None]:
    """Note that the turns that await the caller wait for a session."""
    own = _awaiting_turns()
    for holding in own:
        holding.waits_for.append(place)
    try:
        yield
    finally:
        for holding in own:
            holding.waits_for.remove(place)


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
        SessionReentryError: A turn on this very session awaits the caller, or began its task and did not end in time.
        SessionDeadlockError: The turn on this session waits for a turn that awaits the caller.
        SessionBusyError: It did not come free within `lock_timeout` seconds.
    """
    check_reentry(store, key)
    place = store.place(key)
    async with contextlib.AsyncExitStack() as stack:
        try:
            with _waiting(place):
                lock = await stack.enter_async_context(store.turn_lock(key, lock_timeout))
        except SessionBusyError as error:
            if any(holding.active and holding.place == place for holding in _holdings.get()):
                raise SessionReentryError(key, error.waited) from None
            raise _with_age(error, place) from None
        with _noted(place, key):
            yield lock


@contextlib.contextmanager
def _noted(place: Hashable, key: SessionKey) -> Iterator[None]:
    """Note who holds a session, for the checks of this module."""
    holding = _Holding(place, key, monotonic(), None if (task := current_task()) is None else ref(task))
    token = _holdings.set((*_holdings.get(), holding))
    process.open_turns[place] = holding
    try:
        yield
    finally:
        # A coroutine that is finalised with its loop may find the next turn here, and must leave that one alone.
        if process.open_turns.get(place) is holding:
            del process.open_turns[place]
        holding.active = False
        with contextlib.suppress(ValueError):  # such a coroutine ends in another context
            _holdings.reset(token)


def _with_age(error: SessionBusyError, place: Hashable) -> SessionBusyError:
    holding = process.open_turns.get(place)
    if error.held_for is not None or holding is None:
        return error
    age = timedelta(seconds=monotonic() - holding.since)
    return SessionBusyError(error.key or error.session_id, error.waited, error.holder, age)
