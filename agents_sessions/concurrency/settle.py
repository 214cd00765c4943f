"""Wait for what must not be left half done."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TypeVar

_Result = TypeVar("_Result")


async def settle(begun: Awaitable[_Result]) -> _Result:
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
