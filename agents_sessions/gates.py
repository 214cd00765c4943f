"""First come, first served, inside one process.

A gate is a mutex with a queue, for tasks of any event loop in any thread: an `asyncio.Lock` belongs to one loop,
and a `threading.Lock` would stop the loop and serves in any order. Gates are made on demand and forgotten when
the last one leaves.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Hashable
from concurrent.futures import Future, InvalidStateError
from typing import TypeVar

from agents_sessions.forks import renew_in_child

_Result = TypeVar("_Result")


class Gates:
    """One gate per name."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._queues: dict[Hashable, deque[Future[None]]] = {}
        renew_in_child(self)

    def __len__(self) -> int:
        return len(self._queues)

    def hold(self, name: Hashable, timeout: float | None = None) -> "_Hold":
        """Wait for the gate, in the order of coming, and hold it: ``async with gates.hold(name):``.

        Raises:
            TimeoutError: It did not come free within `timeout` seconds.
        """
        return _Hold(self, name, timeout)

    def _join(self, name: Hashable) -> Future[None]:
        ticket: Future[None] = Future()
        with self._mutex:
            queue = self._queues.setdefault(name, deque())
            queue.append(ticket)
            if queue[0] is ticket:
                ticket.set_result(None)
        return ticket

    def _leave(self, name: Hashable, ticket: Future[None]) -> None:
        with self._mutex:
            queue = self._queues.get(name)
            if queue is None or ticket not in queue:
                return  # a forked child forgot the gates that its parent holds
            was_first = queue[0] is ticket
            queue.remove(ticket)
            if not queue:
                del self._queues[name]
            elif was_first:
                # One that was cancelled in this moment leaves by itself, and calls the next one then.
                with contextlib.suppress(InvalidStateError):
                    queue[0].set_result(None)

    def _renew(self) -> None:
        self._mutex = threading.Lock()
        self._queues = {}


class _Hold:
    """One stay in a gate. A class and not a generator: it stands in the way of every write."""

    __slots__ = ("_gates", "_name", "_ticket", "_timeout")

    def __init__(self, gates: Gates, name: Hashable, timeout: float | None) -> None:
        self._gates = gates
        self._name = name
        self._timeout = timeout

    async def __aenter__(self) -> None:
        self._ticket = self._gates._join(self._name)
        if self._ticket.done():
            return
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wrap_future(self._ticket)
        except BaseException:
            self._gates._leave(self._name, self._ticket)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._gates._leave(self._name, self._ticket)


async def settled(begun: Awaitable[_Result]) -> _Result:
    """Wait for the outcome of something that must not be left half done, however often the caller is cancelled.

    A cancellation is raised after the outcome is known; it wins over the outcome.
    """
    task = asyncio.ensure_future(begun)
    if isinstance(task, asyncio.Task):
        # The end of a loop cancels every task that it knows, and would so cut what may not be cut. It waits for us.
        asyncio._unregister_task(task)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        cancelled = error
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # seen, so that the loop does not report it as lost
    raise cancelled
