"""The threads that work on files: some for all stores of a process, and for nothing else.

Not the event loop's own: tools of the user run there, and one that waits for a store, as an SDK tool does that calls
back into its loop, would occupy the thread that the store needs. And no `ThreadPoolExecutor`: its futures are of two
kinds, each with locks and callbacks, and made a third of all calls of an append.
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
"""How many threads there may be. More of them only hand the interpreter lock around."""


def in_thread(operation: Callable[[], _T]) -> Outcome[_T]:
    """Run an operation in a thread. The end of the interpreter waits for what has begun."""
    return FILE_THREADS.start(operation)


class WorkerThreads:
    """Threads that are started as they are needed, and stay.

    Args:
        most: How many there may be.
        name: What they are called.

    No mutex: a coroutine that the garbage collector throws away may come here at any bytecode. A `SimpleQueue` and a
    `deque` take and give in one step.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._renew()
        renew_in_child(self)
        at_end_of_threads(self._end)

    def start(self, operation: Callable[[], _T]) -> Outcome[_T]:
        """Run an operation in one of these threads. The end of the interpreter waits for what has begun."""
        outcome: Outcome[_T] = Outcome()
        self._run((outcome, operation))
        return outcome

    def _run(self, job: _Job) -> None:
        if self._ended:
            raise RuntimeError("the interpreter ends, and its threads with it")
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
            del job  # whoever waits for the next one holds nothing of this one
            self._free.append(True)

    def _end(self) -> None:
        self._ended = True
        for _ in self._all:
            self._jobs.put(None)
        for thread in self._all:
            thread.join()

    def _renew(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._free: deque[bool] = deque()  # one for each thread that no job is on its way to
        self._all: list[threading.Thread] = []  # those of the parent do nothing in a forked child
        self._ended = False


def _carry_out(outcome: Outcome[Any], operation: Callable[[], Any]) -> None:
    if outcome.cancelled():
        return
    result, error = None, None
    try:
        result = operation()
    except BaseException as raised:  # noqa: BLE001 -- whoever waits for the outcome gets it
        error = raised
    try:  # noqa: SIM105 -- `suppress` is three calls more, for every operation
        outcome.get_loop().call_soon_threadsafe(outcome.tell, result, error)
    except RuntimeError:  # the loop is closed, and no one waits any more
        pass
    del error  # its traceback holds this frame


FILE_THREADS = WorkerThreads(MOST, "agents-sessions")
"""Those that work on files."""

SERVER_THREADS = WorkerThreads(16, "agents-sessions-server")
"""Those that wait for servers. They compute little: there may be more of them than cores, and as many connections."""
