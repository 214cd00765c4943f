"""The threads that work on files: one pool for all stores of a process, and for nothing else.

Not the event loop's own: tools of the user run there, and one that waits for a store, as an SDK tool does that calls
back into its loop, would occupy the thread that the store needs.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from agents_sessions.concurrency.forks import run_in_child

_T = TypeVar("_T")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="agents-sessions")


run_in_child(_pool.cache_clear)  # its threads are the parent's, and do nothing in the child


def in_thread(operation: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Run an operation in a thread of the pool. The end of the interpreter waits for what has begun."""
    # The executor's own future and no coroutine around it: that would be a task, and the end of the event loop
    # cancels all tasks, also one that waits for a write that has begun.
    return asyncio.get_running_loop().run_in_executor(_pool(), operation)
