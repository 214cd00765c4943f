"""No test waits for ever: what it runs and what it waits for has a bound, and a bound that is passed is a failure."""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, ParamSpec, TypeVar

PATIENCE = 10.0
"""Seconds after which something that a test waits for inside its process is taken for lost."""

LONGEST = 2 * PATIENCE
"""Seconds that a whole test may take, and that it waits for another process, which has to start first."""

MARGIN = 2.0
"""Seconds more than a promise of a time allows, for a machine that is busy."""

_given_up: list[asyncio.Runner] = []

_T = TypeVar("_T")
_Given = ParamSpec("_Given")


class NotKeptInTimeError(AssertionError):
    """A test did not come to its end. The cause shows where it waited."""


def run(work: Coroutine[Any, Any, _T], *, within: float = LONGEST) -> _T:
    """Run a coroutine in an event loop of its own, and give it up after so many seconds.

    Raises:
        NotKeptInTimeError: It did not come to its end.
    """
    runner = asyncio.Runner()
    task = runner.run(_bounded(work, within))
    if not task.done():
        # Closing a runner waits for its tasks, and this one ignores its cancellation. So the runner stays open, and
        # is kept, since one that is collected warns of it in the middle of another test.
        _given_up.append(runner)
        raise NotKeptInTimeError(f"it did not end within {within:g} seconds, and ignores its cancellation")
    runner.close()
    try:
        return task.result()
    except asyncio.CancelledError as cancelled:
        raise NotKeptInTimeError(f"it did not end within {within:g} seconds") from cancelled


async def _bounded(work: Coroutine[Any, Any, _T], within: float) -> asyncio.Task[_T]:
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=within)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=MARGIN)
    return task


def as_test(promise: Callable[_Given, Coroutine[Any, Any, None]]) -> Callable[_Given, None]:
    """Let a coroutine be a test without a plugin; if it does not end, the failure says what was promised."""

    @functools.wraps(promise)
    def test(*args: _Given.args, **kwargs: _Given.kwargs) -> None:
        try:
            run(promise(*args, **kwargs))
        except NotKeptInTimeError as error:
            sentence = promise.__name__.removeprefix("test_").replace("_", " ")
            raise NotKeptInTimeError(f"{sentence}: {error}") from error.__cause__

    return test


async def ends(*tasks: asyncio.Task[Any]) -> None:
    """Wait until tasks have ended, however they end."""
    _, running = await asyncio.wait(tasks, timeout=PATIENCE)
    assert not running, f"{len(running)} of {len(tasks)} tasks did not end within {PATIENCE:g} seconds"


def in_threads(count: int, work: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine in each of several threads, every one with an event loop of its own."""
    failures: list[BaseException] = []

    def thread(number: int) -> None:
        try:
            run(work(number))
        except BaseException as error:  # noqa: BLE001 -- pytest.fail raises no Exception; all are raised below
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(number,), daemon=True) for number in range(count)]
    for each in threads:
        each.start()
    deadline = monotonic() + LONGEST + 2 * MARGIN
    for each in threads:
        each.join(max(0.0, deadline - monotonic()))
    if failures:
        raise failures[0]
    assert not any(each.is_alive() for each in threads), "a thread did not end"
