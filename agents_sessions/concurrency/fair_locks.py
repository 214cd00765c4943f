"""First come, first served, inside one process.

These locks serve the tasks of any event loop in any thread. An `asyncio.Lock` belongs to one loop, and a
`threading.Lock` would stop the loop and serves in any order. A lock exists from the first ticket in its queue to the
last one that leaves.
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
"""Seconds after which a waiting task checks whether the first in the queue can still run: its loop may be closed."""


class FairLocks:
    """One lock per name.

    The garbage collector can finalise a waiting coroutine between any two bytecodes, even inside this class, and the
    finaliser then calls this class again. So a ticket that arrives or leaves is only put into `_changes`, which is one
    atomic append. The thread that owns the mutex handles the changes one at a time, unless it already does so further
    up its stack.
    """

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._handling = False
        self._changes: deque[_Ticket] = deque()
        self._queues: dict[Hashable, deque[_Ticket]] = {}
        renew_in_child(self)

    def __len__(self) -> int:
        return len(self._queues)

    def hold(self, name: Hashable, timeout: float | None = None) -> "_Hold":
        """Wait for the lock, in the order of arrival, and hold it: ``async with locks.hold(name):``.

        Raises:
            TimeoutError: It did not come free within `timeout` seconds.
        """
        hash(name)  # A name that has no hash fails here, and not in the task that handles the changes of others.
        return _Hold(self, _Ticket(name), timeout)

    def is_held(self, name: Hashable) -> bool:
        """Tell whether someone of this process holds the lock or waits for it."""
        with self._mutex:
            queue = self._queues.get(name)
            return queue is not None and not all(ticket.left or ticket.is_lost() for ticket in tuple(queue))

    def _take_free(self, ticket: "_Ticket") -> bool:
        """Take a lock that has no queue, in one step. Return False, and change nothing, where that cannot be told."""
        if self._changes or not self._mutex.acquire(blocking=False):
            return False
        try:
            if not self._handling:
                queue = deque((ticket,))
                ticket.queued = ticket.called = self._queues.setdefault(ticket.name, queue) is queue
        finally:
            self._mutex.release()
        if self._changes:  # Others found the mutex taken, and left their changes to its owner.
            self._handle_changes(wait=False)
        return ticket.called

    def _queue_up(self, ticket: "_Ticket") -> None:
        """Put a ticket into its queue, if it is not there yet, and call the first one that can still run."""
        self._changes.append(ticket)
        self._handle_changes(wait=True)

    def _leave(self, ticket: "_Ticket") -> None:
        ticket.left = True
        self._changes.append(ticket)
        # Never block here. This may run in a finaliser, above code that holds a lock for which the owner of the mutex
        # waits: the two would wait for each other.
        self._handle_changes(wait=False)

    def _handle_changes(self, *, wait: bool) -> None:
        # The owner of the mutex looks for changes once more after it has released it. So a caller that cannot take the
        # mutex may leave its change to the owner.
        while self._changes and self._mutex.acquire(wait):
            try:
                if self._handling:
                    return
                self._handle_all()
            finally:
                self._mutex.release()

    def _handle_all(self) -> None:
        self._handling = True
        try:
            while self._changes:
                self._handle(self._changes[0])
                # Only now: as long as there is a change, `_take_free` stays away, so that nobody jumps the queue.
                self._changes.popleft()
        finally:
            self._handling = False

    def _handle(self, ticket: "_Ticket") -> None:
        queue = self._queues.get(ticket.name)
        if not (ticket.left or ticket.queued):
            ticket.queued = True
            queue = self._queues.setdefault(ticket.name, deque())
            queue.append(ticket)
        elif queue is None:
            return  # The ticket is from before a fork, and the child does not have the locks of its parent.
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
        self._handling = False
        self._changes.clear()
        self._queues = {}


class _Ticket:
    """The place of one task in the queue of a lock."""

    __slots__ = ("_loop", "called", "left", "name", "queued", "waiter")

    def __init__(self, name: Hashable) -> None:
        loop = running_loop()
        # A weak reference: when nobody uses the loop any more, the garbage collector frees it, and `is_lost` tells.
        self._loop = None if loop is None else weakref.ref(loop)
        self.waiter: asyncio.Future[None] | None = None
        self.name = name
        self.queued = False
        self.called = False
        self.left = False

    async def wait(self, locks: FairLocks) -> None:
        """Wait until the lock is this task's."""
        # The future references its loop, and so keeps the loop and this task alive while the task waits.
        waiter = self.waiter = asyncio.get_running_loop().create_future()
        while not self.called:
            done, _ = await asyncio.wait([waiter], timeout=LOOK_AGAIN)
            if not done:
                locks._queue_up(self)
        self.waiter = None

    def call(self) -> None:
        """Wake the task, once. A task that is cancelled at this moment leaves the queue by itself."""
        if self.called:
            return
        self.called = True
        waiter = self.waiter
        if waiter is not None:
            with contextlib.suppress(RuntimeError):  # Its loop is closed.
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)

    def is_lost(self) -> bool:
        """Tell whether its loop is closed: the task can then neither run nor leave the queue."""
        if self._loop is None:
            return False
        loop = self._loop()
        return loop is None or loop.is_closed()


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class _Hold:
    """What `FairLocks.hold` returns. It is a class, because every write enters it and a generator costs more calls."""

    __slots__ = ("_locks", "_ticket", "_timeout")

    def __init__(self, locks: FairLocks, ticket: _Ticket, timeout: float | None) -> None:
        self._locks = locks
        self._ticket = ticket
        self._timeout = timeout

    async def __aenter__(self) -> None:
        if self._locks._take_free(self._ticket):
            return
        self._locks._queue_up(self._ticket)
        if self._ticket.called:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._ticket.wait(self._locks)
        except BaseException:
            self._locks._leave(self._ticket)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._locks._leave(self._ticket)

    def __del__(self) -> None:
        # A coroutine that is closed while it awaits something in a `finally` never reaches `__aexit__`.
        if not self._ticket.left:
            self._locks._leave(self._ticket)
