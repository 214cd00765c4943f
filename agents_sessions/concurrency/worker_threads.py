"""The threads that do the blocking work of all stores of a process, and nothing else.

The default executor of an event loop will not do: the SDK runs tools of the user there, and a tool that waits for a
store would occupy the very thread that the store needs. `ThreadPoolExecutor` will not do either: it makes two futures
for each job, with locks and callbacks, which were a third of all calls of an append.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from agents_sessions.concurrency.asyncio_internals import at_end_of_threads
from agents_sessions.concurrency.forks import renew_in_child
from agents_sessions.concurrency.settle import Outcome

_T = TypeVar("_T")
_Job = tuple[Outcome[Any], Callable[[], Any]]

MOST = min(32, (os.cpu_count() or 1) + 4)
"""The largest number of threads. More of them would only pass the interpreter lock around."""


def in_thread(operation: Callable[[], _T]) -> Outcome[_T]:
    """Run an operation in a thread. An interpreter that exits waits for the operations that have begun."""
    return FILE_THREADS.start(operation)


class WorkerThreads:
    """Threads that start when they are needed, and then stay.

    There is no mutex here: the garbage collector may finalise a coroutine at any bytecode, and its clean-up may call
    `start`, while the same thread is inside `start` already. A `SimpleQueue` and a `deque` need none for one step.

    Args:
        most: How many there may be.
        name: What they are called.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._renew()
        renew_in_child(self)
        at_end_of_threads(self._end)

    def start(self, operation: Callable[[], _T]) -> Outcome[_T]:
        """Run an operation in one of these threads; see `in_thread`."""
        outcome: Outcome[_T] = Outcome()
        self._run((outcome, operation))
        return outcome

    def _run(self, job: _Job) -> None:
        if self._ended:
            raise RuntimeError("the interpreter is exiting, and its worker threads have ended")
        try:
            self._free.pop()
        except IndexError:
            if len(self._all) < self._most:
                self._add()
        self._jobs.put(job)

    def _add(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._all)}")
        thread.start()
        self._all.append(thread)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _carry_out(*job)
            del job  # A thread that waits for its next job must not keep the objects of this one alive.
            self._free.append(True)

    def _end(self) -> None:
        self._ended = True
        for _ in self._all:
            self._jobs.put(None)
        for thread in self._all:
            thread.join()

    def _renew(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._free: deque[bool] = deque()  # one value for each thread that has no job
        self._all: list[threading.Thread] = []  # The threads of the parent do not run in a forked child.
        self._ended = False


def _carry_out(outcome: Outcome[Any], operation: Callable[[], Any]) -> None:
    if outcome.cancelled():
        return
    result, error = None, None
    try:
        result = operation()
    except BaseException as raised:  # noqa: BLE001 -- the caller that awaits the outcome gets it
        error = raised
    try:  # noqa: SIM105 -- `suppress` is three calls more, for every operation
        outcome.get_loop().call_soon_threadsafe(outcome.tell, result, error)
    except RuntimeError:  # The loop is closed, so nobody awaits the outcome any more.
        pass
    del error  # Its traceback references this frame, which would reference it: a circle.


FILE_THREADS = WorkerThreads(MOST, "agents-sessions")
"""Those that work on files."""

SERVER_THREADS = WorkerThreads(16, "agents-sessions-server")
"""Those that wait for servers. They compute little: there may be more of them than cores, and as many connections."""
