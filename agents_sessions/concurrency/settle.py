"""Await an operation that must not be left half done, even if its caller is cancelled."""

import asyncio
import contextlib
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from agents_sessions.concurrency.asyncio_internals import hide_from_loop

_Result = TypeVar("_Result")


class Outcome(asyncio.Future[_Result]):
    """The result of an operation in a worker thread. A caller can await it so that a cancellation does not end it."""

    _settling = False
    _cancelled_with: tuple[Any, ...] | None = None

    def tell(self, result: Any, error: BaseException | None) -> None:
        """Set the result or the error, unless the caller has given up waiting."""
        if self.done():
            return
        if error is None:
            self.set_result(result)
        else:
            self.set_exception(error)

    def cancel(self, msg: Any = None) -> bool:
        """Give up waiting. While `settled` awaits this, only note that its caller is to be cancelled afterwards."""
        if not self._settling or self.done():
            return super().cancel(msg)
        self._cancelled_with = () if msg is None else (msg,)
        return True

    async def settled(self) -> _Result:
        """Wait for the outcome, however often the caller is cancelled; see `settle`."""
        self._settling = True
        try:
            result = await self
        except Exception:
            if self._cancelled_with is None:
                raise
        except asyncio.CancelledError:  # The caller was cancelled after the outcome was set.
            if not self.cancelled():
                self.exception()  # Without this, asyncio would report the error as never retrieved.
            raise
        if self._cancelled_with is not None:
            raise asyncio.CancelledError(*self._cancelled_with)
        return result


class Done:
    """What a call has already done, for those who await it."""

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


async def settle(operation: Awaitable[_Result]) -> _Result:
    """Await an operation that must not be left half done, however often the caller is cancelled.

    The cancellation is raised once the operation has ended, instead of its result or error.
    """
    if isinstance(operation, Outcome):
        outcome: Outcome[_Result] = operation
        return await outcome.settled()
    task = asyncio.ensure_future(operation)
    if isinstance(task, asyncio.Task):
        # On exit, `asyncio.run` cancels every task that it can see, and would interrupt the write inside this one. It
        # does wait for the caller's task, and the caller waits here.
        hide_from_loop(task)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        cancelled = error
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # Without this, asyncio would report the error as never retrieved.
    raise cancelled
