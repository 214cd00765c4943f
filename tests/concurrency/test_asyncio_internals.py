"""Each private part of asyncio that the package uses: a version of Python without it fails here first."""

import asyncio

from agents_sessions.concurrency.asyncio_internals import hide_from_loop, running_loop


def test_the_running_loop_is_found():
    async def run():
        return running_loop() is asyncio.get_running_loop()

    assert asyncio.run(run())


def test_no_running_loop_is_none():
    assert running_loop() is None


def test_a_hidden_task_is_not_cancelled_by_the_end_of_the_loop():
    ended = []

    async def write():
        try:
            await asyncio.sleep(0.01)
            ended.append("whole")
        except asyncio.CancelledError:
            ended.append("cut")
            raise

    async def begin_and_leave():
        task = asyncio.ensure_future(write())
        hide_from_loop(task)

        async def wait():
            while not task.done():
                try:
                    await asyncio.wait({task})
                except asyncio.CancelledError:
                    continue

        waiting.append(asyncio.ensure_future(wait()))
        await asyncio.sleep(0)

    waiting = []
    asyncio.run(begin_and_leave())
    assert ended == ["whole"]
