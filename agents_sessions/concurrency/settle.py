"""Wait for what must not be left half done."""

import asyncio
import contextlib
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from agents_sessions.concurrency.asyncio_internals import hide_from_loop

_Result = TypeVar("_Result")


class Outcome(asyncio.Future[_Result]):
    """What comes of an operation that runs elsewhere: a future that a cancellation need not end."""

    _kept = False
    _cancelled_with: tuple[Any, ...] | None = None

    def tell(self, result: Any, error: BaseException | None) -> None:
        """Set the outcome, unless no one waits for it any more."""
        if self.done():
            return
        if error is None:
            self.set_result(result)
        else:
            self.set_exception(error)

    def cancel(self, msg: Any = None) -> bool:
        """Give up waiting; or, for one who settles this, put down that he is to be cancelled when it is known."""
        if not self._kept or self.done():
            return super().cancel(msg)
        self._cancelled_with = () if msg is None else (msg,)
        return True

    async def settled(self) -> _Result:
        """Wait for the outcome, however often the caller is cancelled; see `settle`."""
        self._kept = True
        try:
            result = await self
        except Exception:
            if self._cancelled_with is None:
                raise
        except asyncio.CancelledError:  # it came when the outcome was known
            if not self.cancelled():
                self.exception()  # retrieved, so that asyncio does not report it as lost
            raise
        if self._cancelled_with is not None:
            raise asyncio.CancelledError(*self._cancelled_with)
        return result


class Done:
    """What a call has already done, for those who await it."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


async def settle(operation: Awaitable[_Result]) -> _Result:
    """Wait for the outcome of something that must not be left half done, however often the caller is cancelled.

    A cancellation is raised after the outcome is known; it wins over the outcome.
    """
    if isinstance(operation, Outcome):
        outcome: Outcome[_Result] = operation
        return await outcome.settled()
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
