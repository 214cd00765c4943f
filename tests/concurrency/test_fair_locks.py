import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import time
from functools import wraps

import pytest

from agents_sessions.concurrency import fair_locks as module
from agents_sessions.concurrency.fair_locks import FairLocks
from agents_sessions.concurrency.settle import settle


def in_loop(test):
    @wraps(test)
    def run():
        asyncio.run(asyncio.wait_for(test(), 60))

    return run


async def steps(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def stay(locks, name, until=None, timeout=None):
    async with locks.hold(name, timeout):
        if until is not None:
            await until.wait()


def begin(coroutine):
    """Run a coroutine until it waits or ends."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


def drive(coroutine):
    """Run a coroutine that waits for nothing."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


@in_loop
async def test_a_lock_lets_one_in():
    locks, inside = FairLocks(), []

    async def work(number):
        async with locks.hold("x"):
            inside.append(number)
            assert inside == [number]
            await steps()
            inside.remove(number)

    await asyncio.gather(*(work(number) for number in range(50)))


@in_loop
async def test_a_lock_serves_in_the_order_of_coming():
    locks, served = FairLocks(), []

    async def work(number):
        async with locks.hold("x"):
            await asyncio.sleep(0)
            served.append(number)

    await asyncio.gather(*(work(number) for number in range(50)))
    assert served == list(range(50))


@in_loop
async def test_two_names_are_two_locks():
    locks = FairLocks()
    async with locks.hold("x"), locks.hold("y", 0):
        assert len(locks) == 2


@in_loop
async def test_a_lock_that_no_one_needs_is_forgotten():
    locks = FairLocks()
    async with locks.hold("x"):
        assert len(locks) == 1
    assert len(locks) == 0


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_a_wait_is_bounded(timeout):
    async def work():
        locks = FairLocks()
        async with locks.hold("x"):
            with pytest.raises(TimeoutError):
                async with locks.hold("x", timeout):
                    pytest.fail("two in one lock")
        async with locks.hold("x", 0):
            pass
        assert len(locks) == 0

    asyncio.run(work())


@in_loop
async def test_an_error_inside_opens_the_lock():
    locks = FairLocks()
    with pytest.raises(ZeroDivisionError):
        async with locks.hold("x"):
            raise ZeroDivisionError
    assert len(locks) == 0


@in_loop
async def test_a_cancelled_waiter_leaves_the_queue():
    locks, served = FairLocks(), []

    async def work(number):
        async with locks.hold("x"):
            served.append(number)

    async with locks.hold("x"):
        waiters = [asyncio.create_task(work(number)) for number in range(5)]
        await steps()
        for number in (0, 2, 4):
            waiters[number].cancel()
        await steps()
    await asyncio.wait(waiters)
    assert served == [1, 3]
    assert len(locks) == 0


@in_loop
async def test_one_who_is_cancelled_as_the_turn_comes_calls_the_next():
    locks, served = FairLocks(), []

    async def work(number):
        async with locks.hold("x"):
            served.append(number)

    async with locks.hold("x"):
        waiters = [asyncio.create_task(work(number)) for number in range(3)]
        await steps()
    waiters[0].cancel()  # the lock was given to it, it has not run yet
    await asyncio.wait(waiters)
    assert served in ([1, 2], [0, 1, 2])
    assert len(locks) == 0


@in_loop
async def test_a_waiter_that_is_thrown_away_leaves_the_queue():
    locks = FairLocks()
    async with locks.hold("x"):
        waiting = locks.hold("x").__aenter__()
        waiting.send(None)
        waiting.close()
        del waiting
        gc.collect()
    assert len(locks) == 0


def test_a_lock_is_one_for_the_loops_of_all_threads():
    locks, inside, met = FairLocks(), [], []

    async def work():
        for _ in range(100):
            async with locks.hold("x", 60):
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
    assert len(locks) == 0


@in_loop
async def test_one_who_leaves_a_lock_that_was_forgotten_does_no_harm():
    locks = FairLocks()
    async with locks.hold("x"):
        locks._renew()
    async with locks.hold("x", 0):
        pass


@in_loop
async def test_one_who_leaves_a_lock_that_was_forgotten_lets_no_one_in():
    locks = FairLocks()
    forgotten = locks.hold("x")
    await forgotten.__aenter__()
    locks._renew()
    async with locks.hold("x"):
        await forgotten.__aexit__()
        with pytest.raises(TimeoutError):
            async with locks.hold("x", 0):
                pytest.fail("two in one lock")


@in_loop
async def test_one_whose_wait_is_over_and_who_has_not_left_yet_does_not_keep_the_lock():
    locks = FairLocks()
    async with locks.hold("x"):
        waiting = asyncio.create_task(stay(locks, "x"))
        await steps()
        waiting.cancel()  # and the holder leaves before it runs
    async with locks.hold("x", 60):
        assert waiting.cancelled()


def test_a_thread_that_comes_waits_while_another_one_changes_a_queue():
    locks = FairLocks()
    thread = threading.Thread(target=drive, args=(stay(locks, "x"),))
    with locks._mutex:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert len(locks) == 0
    thread.join(10)
    assert not thread.is_alive()


def test_a_thread_that_leaves_does_not_wait_and_changes_nothing_while_another_one_changes_a_queue():
    locks = FairLocks()
    hold = locks.hold("x")
    drive(hold.__aenter__())
    thread = threading.Thread(target=drive, args=(hold.__aexit__(),))
    with locks._mutex:
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        assert len(locks) == 1
    drive(stay(locks, "x"))  # it comes after one who has left
    assert len(locks) == 0


def test_who_changes_a_queue_sees_to_what_came_meanwhile_before_it_goes():
    locks = FairLocks()
    first, second = locks.hold("x"), locks.hold("y")
    drive(first.__aenter__())
    drive(second.__aenter__())

    class Mutex:
        """Lets another thread leave when all news are seen to, and the mutex is not free yet."""

        def __init__(self, mutex):
            self.acquire, self._release = mutex.acquire, mutex.release

        def release(self):
            self.release = self._release
            thread = threading.Thread(target=drive, args=(second.__aexit__(),))
            thread.start()
            thread.join(10)
            self._release()

    locks._mutex = Mutex(locks._mutex)
    drive(first.__aexit__())
    assert len(locks) == 0


def test_a_name_that_has_no_hash_is_refused_and_does_no_harm():
    locks = FairLocks()
    with pytest.raises(TypeError):
        locks.hold([])
    drive(stay(locks, "x"))


# --- coroutines that the garbage collector throws away ---


def amid(number, act, between):
    """Act, and at one of the bytecodes of `locks.py` do something else, as the garbage collector may.

    Returns:
        Whether there were so many bytecodes.
    """
    seen = 0

    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            seen += 1
            if seen == number:
                between()
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # else Python 3.12 does not heed the first frame that asks for them
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return seen >= number


def at_every_bytecode(scenario):
    """Play a scenario with the first bytecode, the second and so on; it must end, and not wait for itself for ever."""
    done = []

    def act():
        number = 1
        while asyncio.run(scenario(number)):
            number += 1
        done.append(number)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(60)
    assert done
    assert done[0] > 100


@pytest.mark.parametrize("name", ["x", "y", "z"])
def test_a_holder_that_is_thrown_away_at_any_bytecode_leaves(name):
    """While another one comes to its own lock, to one that is free, or to one that is held."""

    async def scenario(number):
        locks = FairLocks()
        forgotten, other = stay(locks, "x", asyncio.Event()), stay(locks, "z", asyncio.Event())
        forgotten.send(None)
        other.send(None)
        waiting = [asyncio.create_task(stay(locks, "x")) for _ in range(2)]
        await steps()
        coming = stay(locks, name, timeout=0)
        reached = amid(number, lambda: begin(coming), forgotten.close)
        coming.close()
        forgotten.close()
        other.close()
        await asyncio.wait_for(asyncio.gather(*waiting), 20)
        assert len(locks) == 0
        return reached

    at_every_bytecode(scenario)


def test_a_waiter_that_is_thrown_away_at_any_bytecode_of_a_leave_leaves():
    async def scenario(number):
        locks = FairLocks()
        holder, forgotten = stay(locks, "x", asyncio.Event()), stay(locks, "x")
        holder.send(None)
        begin(forgotten)
        waiting = asyncio.create_task(stay(locks, "x"))
        await steps()
        reached = amid(number, holder.close, forgotten.close)
        forgotten.close()
        await asyncio.wait_for(waiting, 20)
        assert len(locks) == 0
        return reached

    at_every_bytecode(scenario)


@in_loop
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_holder_that_awaits_while_it_is_thrown_away_leaves():
    locks = FairLocks()

    async def hold():
        async with locks.hold("x"):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)

    forgotten = hold()
    forgotten.send(None)
    assert len(locks) == 1
    del forgotten
    gc.collect()
    assert len(locks) == 0


def test_tasks_that_loops_leave_behind_close_no_lock():
    script = """if True:
        import asyncio, gc, logging, time
        from agents_sessions.concurrency.fair_locks import FairLocks
        logging.disable()
        gc.set_threshold(50, 2, 2)
        locks = FairLocks()

        async def hold(name):
            async with locks.hold(name):
                await asyncio.Event().wait()

        async def leave_behind():
            tasks = [asyncio.ensure_future(hold(object())) for _ in range(3)]
            await asyncio.sleep(0)

        async def go_on():
            for number in range(40):
                async with locks.hold(("x", number)):
                    pass

        until = time.monotonic() + 2
        while time.monotonic() < until:
            for _ in range(5):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(leave_behind())
                loop.close()
                del loop
            asyncio.run(go_on())
        gc.collect()
        print(len(locks))
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "0\n"


def test_a_forked_child_finds_no_lock_closed_whatever_its_parent_did():
    script = """if True:
        import asyncio, os, signal, threading
        from agents_sessions.concurrency.fair_locks import FairLocks
        locks, held, over = FairLocks(), threading.Event(), threading.Event()
        hold = locks.hold("x")
        asyncio.run(hold.__aenter__())

        async def work():
            async with locks.hold("x", 1):
                return 6 + len(locks)

        def settle():
            with locks._mutex:
                locks._handling = True
                held.set()
                over.wait()
                locks._handling = False

        thread = threading.Thread(target=settle)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(asyncio.run(work()))
        over.set()
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "7\n"


# --- loops that are closed with tasks that wait ---


class Closing:
    """A loop of its own, to be closed with its tasks in it as they are."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()

    def begin(self, coroutine):
        task = self.loop.create_task(coroutine)
        task._log_destroy_pending = False
        self.loop.run_until_complete(steps())
        return task


@pytest.fixture
def closing():
    closing = Closing()
    yield closing
    closing.loop.close()


@pytest.fixture
def locks():
    return FairLocks()


@pytest.fixture
def held(locks):
    """A lock that is held by no loop."""
    hold = locks.hold("x")
    drive(hold.__aenter__())
    return hold


def test_a_waiter_whose_loop_is_closed_is_passed_over(locks, held, closing):
    task = closing.begin(stay(locks, "x"))
    closing.loop.close()
    drive(held.__aexit__())
    assert len(locks) == 0
    assert not task.done()


def test_those_behind_a_waiter_whose_loop_is_closed_are_served_in_the_order_of_coming(locks, held, closing):
    served = []

    async def work(number):
        async with locks.hold("x", 20):
            served.append(number)

    async def scenario():
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(work(number)))
            await steps()
            gone.append(await asyncio.to_thread(closing.begin, stay(locks, "x")))
        closing.loop.close()
        await held.__aexit__()
        await asyncio.gather(*tasks)

    gone = []
    asyncio.run(scenario())
    assert served == [0, 1, 2]
    assert len(locks) == 0


def test_one_who_comes_passes_over_one_who_was_called_in_a_loop_that_was_closed_then(locks, held, closing):
    task = closing.begin(stay(locks, "x"))
    drive(held.__aexit__())
    closing.loop.close()
    drive(stay(locks, "x", timeout=0))
    assert not task.done()
    assert len(locks) == 0


def test_those_who_wait_pass_over_one_who_was_called_in_a_loop_that_was_closed_then(locks, held, closing, monkeypatch):
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.01)

    async def scenario():
        waiting = [asyncio.create_task(stay(locks, "x", timeout=20)) for _ in range(2)]
        await steps()
        await held.__aexit__()
        closing.loop.close()
        await asyncio.gather(*waiting)

    task = closing.begin(stay(locks, "x"))
    asyncio.run(scenario())
    assert not task.done()
    assert len(locks) == 0


def test_one_who_waits_looks_about_once_a_second():
    assert 0.5 <= module.LOOK_AGAIN <= 2


def test_one_who_was_passed_over_leaves_no_one_elses_lock(locks, held, closing):
    task = closing.begin(stay(locks, "x"))
    closing.loop.close()
    drive(held.__aexit__())
    hold = locks.hold("x")
    drive(hold.__aenter__())
    task.get_coro().close()
    assert len(locks) == 1


@pytest.mark.parametrize("waits", [False, True])
def test_a_holder_whose_loop_is_closed_is_passed_over(locks, held, closing, waits):
    if not waits:
        drive(held.__aexit__())
    task = closing.begin(stay(locks, "x", asyncio.Event()))
    if waits:
        drive(held.__aexit__())
        closing.loop.run_until_complete(steps(5))
    with pytest.raises(TimeoutError):
        asyncio.run(stay(locks, "x", timeout=0))
    closing.loop.close()
    drive(stay(locks, "x", timeout=0))
    assert not task.done()


@pytest.mark.parametrize("waits", [False, True])
def test_a_holder_that_is_forgotten_with_its_loop_is_collected_and_leaves(locks, held, closing, waits):
    if not waits:
        drive(held.__aexit__())
    closing.begin(stay(locks, "x", asyncio.Event()))
    if waits:
        drive(held.__aexit__())
        closing.loop.run_until_complete(steps(5))
    assert len(locks) == 1
    closing.loop.close()
    closing.loop = asyncio.new_event_loop()
    gc.collect()
    assert len(locks) == 0


def test_a_waiter_that_nobody_else_knows_is_not_collected(locks, held):
    served = []

    async def work():
        async with locks.hold("x", 20):
            served.append(1)

    async def scenario():
        asyncio.create_task(work())  # noqa: RUF006
        await steps()
        gc.collect()
        await held.__aexit__()
        await steps(10)

    asyncio.run(scenario())
    assert served == [1]


# --- settled ---------------------------------------------------------------------------------------------------


@in_loop
async def test_an_outcome_is_passed_on():
    async def work():
        return 5

    assert await settle(work()) == 5


@in_loop
async def test_an_error_is_passed_on():
    async def work():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await settle(work())


@in_loop
async def test_a_cancellation_waits_for_the_outcome_however_often_it_comes():
    ready, done = asyncio.Event(), []

    async def work():
        await ready.wait()
        done.append(1)

    task = asyncio.create_task(settle(work()))
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

    task = asyncio.create_task(settle(work()))
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

    task = asyncio.create_task(settle(work()))
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
        task = asyncio.create_task(settle(asyncio.to_thread(work)))
        tasks.append(task)
        await asyncio.to_thread(begun.wait)
        task.add_done_callback(lambda _: done.append(2))  # and the loop ends, which cancels every task it knows

    tasks = []
    asyncio.run(main())
    assert tasks[0].cancelled()
    assert done == [1, 2]
