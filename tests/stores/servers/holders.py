"""Other processes that hold turns, for tests that stop, kill and outwait them."""

import asyncio
import threading

from builders import KEY, said

from agents_sessions.errors import SessionError


def hold_and_append(open_store, reporting):
    """Hold a turn; when told to go on, append to it, and report what came of it."""

    async def hold():
        store = open_store()
        try:
            async with store.turn_lock(KEY) as lock:
                reporting.send(1)
                while not reporting.poll(0):
                    await asyncio.sleep(0.02)
                await store.append(KEY, [said("late")], turn=lock)
        except SessionError as error:
            reporting.send(type(error).__name__)
        else:
            reporting.send("stored")

    asyncio.run(hold())


def take_turns(open_store, threads, turns, reporting):
    """Take turns in several threads: read, append a number that is one larger, and report how many were taken."""

    async def work(store):
        for _ in range(turns):
            async with store.turn_lock(KEY, timeout=60) as lock:
                newest = (await store.entries(KEY, limit=1))[0]["item"]["content"]
                await store.append(KEY, [said(str(int(newest) + 1))], turn=lock)

    store = open_store()
    workers = [threading.Thread(target=lambda: asyncio.run(work(store))) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    asyncio.run(store.aclose())
    reporting.send(threads * turns)
