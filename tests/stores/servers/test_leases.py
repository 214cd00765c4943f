"""The lock of a turn, across processes that are stopped, killed, blocked and cut off."""

import asyncio
import multiprocessing
import os
import re
import signal
import time

import pytest
from backends import Postgres, Redis
from builders import KEY, info_of, said
from holders import hold_and_append, take_turns
from servers import postgres, running, valkey

from agents_sessions.errors import SessionBusyError, StoreUnavailableError, TurnLostError

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["holders", "backends"])  # imported once, and not by each of the processes


class Other:
    """A process of its own, with a pipe to it."""

    def __init__(self, target, *arguments):
        self.pipe, theirs = FORKS.Pipe()
        self.process = FORKS.Process(target=target, args=(*arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def hear(self):
        assert self.pipe.poll(30), "it says nothing"
        return self.pipe.recv()

    def end(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


async def contents(store):
    return [entry["item"]["content"] for entry in await store.entries(KEY)]


def test_a_holder_that_slept_through_its_lease_stores_nothing(backend):
    async def work():
        async with backend.open(lease=0.5) as store:
            await store.create(info_of(), [said("a")])
            other = Other(hold_and_append, backend.opener(lease=0.5))
            try:
                other.hear()
                os.kill(other.process.pid, signal.SIGSTOP)
                async with store.turn_lock(KEY, timeout=5) as lock:
                    await store.append(KEY, [said("in between")], turn=lock)
                    os.kill(other.process.pid, signal.SIGCONT)
                    other.pipe.send("go on")
                    assert await asyncio.to_thread(other.hear) == "TurnLostError"
            finally:
                other.end()
            assert await contents(store) == ["a", "in between"]

    asyncio.run(work())


def test_a_turn_that_blocks_its_event_loop_for_three_leases_keeps_its_lock(backend):
    async def work():
        async with backend.open(lease=0.4) as store, backend.open_elsewhere(lease=0.4) as other:
            await store.create(info_of(), [said("a")])
            async with store.turn_lock(KEY) as lock:
                time.sleep(1.2)
                with pytest.raises(SessionBusyError):
                    async with other.turn_lock(KEY, timeout=0):
                        pass
                await store.append(KEY, [said("b")], turn=lock)

    asyncio.run(work())


def test_a_loop_that_never_comes_back_gives_up_its_turns(backend):
    async def block(store, other):
        async with store.turn_lock(KEY):
            time.sleep(1.5)
            async with other.turn_lock(KEY, timeout=0):
                pass
            await asyncio.sleep(5)

    async def work():
        async with backend.open(lease=0.3) as store, backend.open_elsewhere(lease=0.3) as other:
            store._engine.terms = store._engine.terms._replace(patience=0.5)
            await store.create(info_of())
            with pytest.raises(TurnLostError):
                await block(store, other)

    asyncio.run(work())


def test_a_busy_session_tells_host_process_and_age(backend):
    async def work():
        async with backend.open() as store, backend.open_elsewhere() as other:
            await store.create(info_of())
            async with store.turn_lock(KEY):
                await asyncio.sleep(0.1)
                with pytest.raises(SessionBusyError) as caught:
                    async with other.turn_lock(KEY, timeout=0):
                        pass
            assert re.search(rf"by process {os.getpid()} on \S+ for 0\.[1-9] s", str(caught.value))

    asyncio.run(work())


def test_the_lock_of_a_killed_process_is_free_when_its_lease_has_ended(backend):
    async def work():
        async with backend.open(lease=0.5) as store:
            await store.create(info_of())
            other = Other(hold_and_append, backend.opener(lease=0.5))
            other.hear()
            other.end()
            begun = time.monotonic()
            async with store.turn_lock(KEY, timeout=10):
                assert time.monotonic() - begun < 0.5 + 1.5

    asyncio.run(work())


def test_a_turn_that_was_thrown_away_with_its_loop_lets_go(backend):
    async def begin():
        store = backend.open(lease=0.3)
        await store.create(info_of())
        lock = store.turn_lock(KEY)
        await lock.__aenter__()
        return store, lock

    async def follow():
        async with backend.open(lease=0.3) as store:
            async with store.turn_lock(KEY, timeout=5):
                pass

    store, lock = asyncio.run(begin())
    asyncio.run(follow())
    del lock
    asyncio.run(store.aclose())


def test_turns_of_four_processes_with_four_threads_each_exclude_each_other(backend):
    async def prepare():
        async with backend.open() as store:
            await store.create(info_of(), [said("0")])

    async def look():
        async with backend.open() as store:
            return await contents(store)

    asyncio.run(prepare())
    others = [Other(take_turns, backend.opener(), 4, 3) for _ in range(4)]
    taken = sum(other.hear() for other in others)
    for other in others:
        other.end()
    assert taken == 48
    assert asyncio.run(look()) == [str(number) for number in range(49)]


@pytest.fixture(params=["postgres", "redis"])
def own(request):
    """A server of the test's own that syncs every write, and the stores on it."""
    make, kind, options = {
        "postgres": (postgres, Postgres, {"fsync": True}),
        "redis": (valkey, Redis, {"appendfsync": "always"}),
    }[request.param]
    with running(make, **options) as server:
        yield server, kind(server.url)


def test_a_server_that_is_killed_loses_nothing_acknowledged_and_may_be_away_for_less_than_a_lease(own):
    server, backend = own

    async def work():
        async with backend.open(durability="full", lease=20) as store:
            await store.create(info_of(), [said("0")])
            async with store.turn_lock(KEY) as lock:
                await store.append(KEY, [said("1")], turn=lock)
                for number in range(2):
                    server.kill()
                    starting = asyncio.create_task(asyncio.to_thread(server.start))
                    await store.append(KEY, [said(str(number + 2))], turn=lock)
                    await starting
            assert await contents(store) == ["0", "1", "2", "3"]

    asyncio.run(work())


def test_a_server_that_is_away_for_longer_than_a_lease_ends_the_turn(own):
    server, backend = own

    async def outlast(store):
        async with store.turn_lock(KEY):
            server.kill()
            with pytest.raises(StoreUnavailableError):
                await store.load(KEY)
            await asyncio.sleep(10)

    async def work():
        async with backend.open(lease=1, retry_for=0.3) as store:
            await store.create(info_of(), [said("0")])
            begun = time.monotonic()
            with pytest.raises(TurnLostError):
                await outlast(store)
            assert time.monotonic() - begun < 5
            server.start()
            async with store.turn_lock(KEY, timeout=5):
                assert await contents(store) == ["0"]

    asyncio.run(work())
