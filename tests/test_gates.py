import asyncio
import gc
import subprocess
import sys
import threading
import time
from functools import wraps

import pytest

from agents_sessions.gates import Gates, settled


def in_loop(test):
    @wraps(test)
    def run():
        asyncio.run(asyncio.wait_for(test(), 60))

    return run


async def steps(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


@in_loop
async def test_a_gate_lets_one_in():
    gates, inside = Gates(), []

    async def work(number):
        async with gates.hold("x"):
            inside.append(number)
            assert inside == [number]
            await steps()
            inside.remove(number)

    await asyncio.gather(*(work(number) for number in range(50)))


@in_loop
async def test_a_gate_serves_in_the_order_of_coming():
    gates, served = Gates(), []

    async def work(number):
        async with gates.hold("x"):
            await asyncio.sleep(0)
            served.append(number)

    await asyncio.gather(*(work(number) for number in range(50)))
    assert served == list(range(50))


@in_loop
async def test_two_names_are_two_gates():
    gates = Gates()
    async with gates.hold("x"), gates.hold("y", 0):
        assert len(gates) == 2


@in_loop
async def test_a_gate_that_no_one_needs_is_forgotten():
    gates = Gates()
    async with gates.hold("x"):
        assert len(gates) == 1
    assert len(gates) == 0


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_a_wait_is_bounded(timeout):
    async def work():
        gates = Gates()
        async with gates.hold("x"):
            with pytest.raises(TimeoutError):
                async with gates.hold("x", timeout):
                    pytest.fail("two in one gate")
        async with gates.hold("x", 0):
            pass
        assert len(gates) == 0

    asyncio.run(work())


@in_loop
async def test_an_error_inside_opens_the_gate():
    gates = Gates()
    with pytest.raises(ZeroDivisionError):
        async with gates.hold("x"):
            raise ZeroDivisionError
    assert len(gates) == 0


@in_loop
async def test_a_cancelled_waiter_leaves_the_queue():
    gates, served = Gates(), []

    async def work(number):
        async with gates.hold("x"):
            served.append(number)

    async with gates.hold("x"):
        waiters = [asyncio.create_task(work(number)) for number in range(5)]
        await steps()
        for number in (0, 2, 4):
            waiters[number].cancel()
        await steps()
    await asyncio.wait(waiters)
    assert served == [1, 3]
    assert len(gates) == 0


@in_loop
async def test_one_who_is_cancelled_as_the_turn_comes_calls_the_next():
    gates, served = Gates(), []

    async def work(number):
        async with gates.hold("x"):
            served.append(number)

    async with gates.hold("x"):
        waiters = [asyncio.create_task(work(number)) for number in range(3)]
        await steps()
    waiters[0].cancel()  # the gate was given to it, it has not run yet
    await asyncio.wait(waiters)
    assert served in ([1, 2], [0, 1, 2])
    assert len(gates) == 0


@in_loop
async def test_a_waiter_that_is_thrown_away_leaves_the_queue():
    gates = Gates()
    async with gates.hold("x"):
        waiting = gates.hold("x").__aenter__()
        waiting.send(None)
        waiting.close()
        del waiting
        gc.collect()
    assert len(gates) == 0


def test_a_gate_is_one_for_the_loops_of_all_threads():
    gates, inside, met = Gates(), [], []

    async def work():
        for _ in range(100):
            async with gates.hold("x", 60):
                inside.append(1)
                met.append(len(inside))
                await asyncio.sleep(0)
                inside.pop()

    threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert met == [1] * 400
    assert len(gates) == 0


@in_loop
async def test_one_who_leaves_a_gate_that_was_forgotten_does_no_harm():
    gates = Gates()
    async with gates.hold("x"):
        gates._renew()
    async with gates.hold("x", 0):
        pass


@in_loop
async def test_one_who_leaves_a_gate_that_was_forgotten_lets_no_one_in():
    gates = Gates()
    forgotten = gates.hold("x")
    await forgotten.__aenter__()
    gates._renew()
    async with gates.hold("x"):
        await forgotten.__aexit__()
        with pytest.raises(TimeoutError):
            async with gates.hold("x", 0):
                pytest.fail("two in one gate")


@in_loop
async def test_one_whose_wait_is_over_and_who_has_not_left_yet_does_not_keep_the_gate():
    """As it is when the holder, in another thread, leaves between the two."""
    gates = Gates()
    async with gates.hold("x"):
        ticket = gates._join("x")
        ticket.cancel()
    gates._leave("x", ticket)
    async with gates.hold("x", 0):
        pass


@pytest.mark.parametrize("step", ["_join", "_leave"])
def test_a_thread_does_not_change_a_queue_while_another_one_does(step):
    gates = Gates()
    ticket = gates._join("x")
    change = {"_join": lambda: gates._join("x"), "_leave": lambda: gates._leave("x", ticket)}[step]
    thread = threading.Thread(target=change)
    with gates._mutex:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


def test_a_forked_child_finds_no_gate_closed_whatever_its_parent_did():
    script = """if True:
        import asyncio, os
        from agents_sessions.gates import Gates
        gates = Gates()
        asyncio.run(gates.hold("x").__aenter__())

        async def work():
            async with gates.hold("x", 1):
                return 6 + len(gates)

        with gates._mutex:
            child = os.fork()
            if child == 0:
                os._exit(asyncio.run(work()))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "7\n"


# --- settled ---------------------------------------------------------------------------------------------------


@in_loop
async def test_an_outcome_is_passed_on():
    async def work():
        return 5

    assert await settled(work()) == 5


@in_loop
async def test_an_error_is_passed_on():
    async def work():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await settled(work())


@in_loop
async def test_a_cancellation_waits_for_the_outcome_however_often_it_comes():
    ready, done = asyncio.Event(), []

    async def work():
        await ready.wait()
        done.append(1)

    task = asyncio.create_task(settled(work()))
    for _ in range(5):
        await steps()
        task.cancel()
    await steps()
    assert not task.done()
    ready.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert done == [1]


@in_loop
async def test_a_cancellation_wins_over_an_error():
    ready = asyncio.Event()

    async def work():
        await ready.wait()
        raise ZeroDivisionError

    task = asyncio.create_task(settled(work()))
    await steps()
    task.cancel()
    await steps()
    ready.set()
    await asyncio.wait({task})
    assert task.cancelled()


@in_loop
async def test_an_error_that_a_cancellation_wins_over_is_not_reported_as_lost():
    ready, lost = asyncio.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))

    async def work():
        await ready.wait()
        raise ZeroDivisionError

    task = asyncio.create_task(settled(work()))
    await steps()
    task.cancel()
    await steps()
    ready.set()
    await asyncio.wait({task})
    del task
    gc.collect()
    await steps()
    assert lost == []


def test_the_end_of_a_loop_waits_for_the_outcome():
    begun, done = threading.Event(), []

    def work():
        begun.set()
        time.sleep(0.05)
        done.append(1)

    async def main():
        task = asyncio.create_task(settled(asyncio.to_thread(work)))
        tasks.append(task)
        await asyncio.to_thread(begun.wait)
        task.add_done_callback(lambda _: done.append(2))  # and the loop ends, which cancels every task it knows

    tasks = []
    asyncio.run(main())
    assert tasks[0].cancelled()
    assert done == [1, 2]
