"""Private parts of asyncio (Python 3.11 to 3.13), each in one place and under one test."""

import asyncio
from typing import Any


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None.

    `asyncio.get_running_loop` raises where there is none, and a raised error is too much on the way of every write.
    """
    return asyncio._get_running_loop()


def hide_from_loop(task: asyncio.Task[Any]) -> None:
    """Keep a task out of the list of tasks that the end of `asyncio.run` cancels.

    There is no public way. Whoever calls this must await the task.
    """
    asyncio._unregister_task(task)
