"""Private parts of asyncio and threading (Python 3.11 to 3.13), each in one place and under one test."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

running_loop = asyncio._get_running_loop
"""Return the event loop that runs in this thread, or None.

`asyncio.get_running_loop` raises where there is none, and a raised error is too much on the way of every write.
"""


def hide_from_loop(task: asyncio.Task[Any]) -> None:
    """Keep a task out of the list of tasks that the end of `asyncio.run` cancels.

    There is no public way. Whoever calls this must await the task.
    """
    asyncio._unregister_task(task)


def at_end_of_threads(call: Callable[[], None]) -> None:
    """Call something when the main thread ends, before the interpreter waits for all other threads.

    `atexit` is too late: the interpreter would wait for threads that no one has told to end. `concurrent.futures` does
    the same.
    """
    threading._register_atexit(call)  # type: ignore[attr-defined]
