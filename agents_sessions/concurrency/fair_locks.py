"""First come, first served, inside one process.

A gate is a mutex with a queue, for tasks of any event loop in any thread: an `asyncio.Lock` belongs to one loop,
and a `threading.Lock` would stop the loop and serves in any order. FairLocks are made on demand and forgotten when
the last one leaves.
"""

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Hashable

from agents_sessions.concurrency.asyncio_internals import running_loop
from agents_sessions.concurrency.forks import renew_in_child

LOOK_AGAIN = 1.0
"""Seconds after which one who waits looks whether the first in line can still come."""


class FairLocks:
    """One gate per name.

    The garbage collector can finalise a waiting coroutine between any two bytecodes, even inside this class, and its
    finaliser re-enters us. Arrivals and departures are therefore queued, which is one atomic append, and handled one at
    a time by whoever holds the mutex and is not handling them already further up its stack.
    """

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._settling = False
        self._news: deque[_Ticket] = deque()
        self._queues: dict[Hashable, deque[_Ticket]] = {}
        renew_in_child(self)

    def __len__(self) -> int:
        return len(self._queues)

    def hold(self, name: Hashable, timeout: float | None = None) -> "_Hold":
        """Wait for the gate, in the order of coming, and hold it: ``async with gates.hold(name):``.

        Raises:
            TimeoutError: It did not come free within `timeout` seconds.
        """
        hash(name)  # refused here, and not by whoever sees to the news
        return _Hold(self, _Ticket(name), timeout)

    def _come_alone(self, ticket: "_Ticket") -> bool:
        """Enter a gate at which no one is, in one step, as nearly all do. Else return False, with nothing done."""
        if self._news or not self._mutex.acquire(blocking=False):
            return False
        try:
            if not self._settling:
                line = deque((ticket,))
                ticket.came = ticket.called = self._queues.setdefault(ticket.name, line) is line
        finally:
            self._mutex.release()
        if self._news:
            self._settle(wait=False)  # they were left to the owner of the mutex
        return ticket.called

    def _look(self, ticket: "_Ticket") -> None:
        """See to one who comes or waits, and to who is first in its line."""
        self._news.append(ticket)
        self._settle(wait=True)

    def _leave(self, ticket: "_Ticket") -> None:
        ticket.left = True
        self._news.append(ticket)
        # Never block here: this may run in a finaliser, above code that holds a lock the mutex's owner is waiting for.
        self._settle(wait=False)

    def _settle(self, *, wait: bool) -> None:
        # The owner of the mutex asks once more when it has released it, so news may be left to it.
        while self._news and self._mutex.acquire(wait):
            try:
                if self._settling:
                    return
                self._see_to_all()
            finally:
                self._mutex.release()

    def _see_to_all(self) -> None:
        self._settling = True
        try:
            while self._news:
                self._see_to(self._news[0])
                self._news.popleft()  # not before: one who comes waits for the mutex as long as there are news
        finally:
            self._settling = False

    def _see_to(self, ticket: "_Ticket") -> None:
        queue = self._queues.get(ticket.name)
        if not (ticket.left or ticket.came):
            ticket.came = True
            queue = self._queues.setdefault(ticket.name, deque())
            queue.append(ticket)
        elif queue is None:
            return  # a forked child forgot the gates that its parent holds
        elif ticket.left and ticket in queue:
            queue.remove(ticket)
        self._call_first(ticket.name, queue)

    def _call_first(self, name: Hashable, queue: "deque[_Ticket]") -> None:
        while queue:
            queue[0].call()
            if not queue[0].is_lost():
                return
            queue.popleft()
        del self._queues[name]

    def _renew(self) -> None:
        self._mutex = threading.RLock()
        self._settling = False
        self._news.clear()
        self._queues = {}


class _Ticket:
    """One who comes to a gate, until it leaves."""

    __slots__ = ("_loop", "called", "came", "left", "name", "waiter")

    def __init__(self, name: Hashable) -> None:
        loop = running_loop()
        # Hold the loop weakly: being garbage-collected is how an abandoned holder releases its place.
        self._loop = None if loop is None else weakref.ref(loop)
        self.waiter: asyncio.Future[None] | None = None
        self.name = name
        self.came = False
        self.called = False
        self.left = False

    async def wait(self, gates: FairLocks) -> None:
        """Wait to be called."""
        # Strongly while it waits: nothing else may keep its task.
        waiter = self.waiter = asyncio.get_running_loop().create_future()
        while not self.called:
            done, _ = await asyncio.wait([waiter], timeout=LOOK_AGAIN)
            if not done:
                gates._look(self)
        self.waiter = None

    def call(self) -> None:
        """Say once that it is its turn. One that was cancelled in this moment leaves by itself."""
        if self.called:
            return
        self.called = True
        waiter = self.waiter
        if waiter is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)

    def is_lost(self) -> bool:
        """Tell whether its loop was closed, so that it will neither come nor leave, at whatever place it was."""
        if self._loop is None:
            return False
        loop = self._loop()
        return loop is None or loop.is_closed()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Hold:
    """One stay in a gate. A class and not a generator: it stands in the way of every write."""

    __slots__ = ("_gates", "_ticket", "_timeout")

    def __init__(self, gates: FairLocks, ticket: _Ticket, timeout: float | None) -> None:
        self._gates = gates
        self._ticket = ticket
        self._timeout = timeout

    async def __aenter__(self) -> None:
        if self._gates._come_alone(self._ticket):
            return
        self._gates._look(self._ticket)
        if self._ticket.called:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._ticket.wait(self._gates)
        except BaseException:
            self._gates._leave(self._ticket)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._gates._leave(self._ticket)

    def __del__(self) -> None:
        # A coroutine that awaits something while it is thrown away is never run to its end.
        if not self._ticket.left:
            self._gates._leave(self._ticket)
