"""Wait for what must not be left half done."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

from agents_sessions.concurrency.asyncio_internals import hide_from_loop

_Result = TypeVar("_Result")


async def settle(operation: Awaitable[_Result]) -> _Result:
    """Wait for the outcome of something that must not be left half done, however often the caller is cancelled.

    A cancellation is raised after the outcome is known; it wins over the outcome.
    """
    task = asyncio.ensure_future(operation)
    if isinstance(task, asyncio.Task):
        # `asyncio.run` cancels every task that it finds on exit, and would interrupt the write inside this one. It
        # still waits for our caller, and our caller waits for us.
        hide_from_loop(task)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        cancelled = error
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not report it as lost
    raise cancelled
