"""The threads that work on files."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from builders import KEY, info_of, said

from agents_sessions.concurrency import worker_threads as file_threads
from agents_sessions.concurrency.settle import settle
from agents_sessions.stores.file.store import FileStore


async def new_session(store):
    await store.create(info_of())


def test_tools_that_wait_for_the_store_in_all_threads_of_the_loop_do_not_stop_it(tmp_path):
    store = FileStore(tmp_path)
    count = 2 * ((os.cpu_count() or 1) + 4)

    async def work():
        loop = asyncio.get_running_loop()
        all_wait = threading.Barrier(min(32, (os.cpu_count() or 1) + 4))

        def tool(number):
            if number < all_wait.parties:
                all_wait.wait(30)
            return asyncio.run_coroutine_threadsafe(store.append(KEY, [said(str(number))]), loop).result(30)

        await new_session(store)
        await asyncio.gather(*(asyncio.to_thread(tool, number) for number in range(count)))
        return await store.items(KEY)

    assert len(asyncio.run(work())) == count


def test_the_threads_have_a_name_and_are_shared_by_event_loops_and_stores(tmp_path):
    async def name():
        return await file_threads.in_thread(lambda: threading.current_thread().name)

    assert all(asyncio.run(name()).startswith("agents-sessions") for _ in range(3))
    assert len(file_threads.FILE_THREADS._all) <= file_threads.MOST


def in_new_process(script, *args):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_forked_child_has_threads_of_its_own(tmp_path):
    script = """
        import asyncio, os, sys
        from agents_sessions import FileSession

        session = FileSession("order-42", agent_id="support", root=sys.argv[1])
        asyncio.run(session.add_items([{"role": "user", "content": "parent"}]))
        pid = os.fork()
        if pid == 0:
            asyncio.run(asyncio.wait_for(session.add_items([{"role": "user", "content": "child"}]), 30))
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert in_new_process(script, str(tmp_path)) == "0\n"
    assert [item["content"] for item in asyncio.run(FileStore(tmp_path).items(KEY))] == ["parent", "child"]


def test_the_end_of_the_interpreter_waits_for_what_has_begun():
    script = """
        import asyncio, time
        from agents_sessions.concurrency.worker_threads import in_thread

        def slow():
            time.sleep(0.3)
            print("done", flush=True)

        async def main():
            in_thread(slow)

        asyncio.run(main())
        print("end", flush=True)
    """
    assert in_new_process(script) == "end\ndone\n"


async def begun(operation):
    """Return a task that settles an operation, once a thread has it."""
    inside, go_on = threading.Event(), threading.Event()

    def work():
        inside.set()
        go_on.wait(30)
        return operation()

    task = asyncio.create_task(settle(file_threads.in_thread(work)))
    while not inside.is_set():
        await asyncio.sleep(0.001)
    return task, go_on


@pytest.mark.parametrize("operation", [lambda: 5, lambda: 1 / 0])
def test_a_cancellation_is_raised_once_the_outcome_is_known_and_wins_over_it(operation):
    async def work():
        lost = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
        task, go_on = await begun(operation)
        for reason in ("first", "second"):
            assert task.cancel(reason)
            await asyncio.sleep(0.01)
            assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError, match="second"):
            await task
        return lost

    assert asyncio.run(work()) == []


def test_a_cancellation_in_the_moment_of_an_error_does_not_report_the_error_as_lost():
    async def work():
        lost = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
        outcome = file_threads.in_thread(lambda: None)
        task = asyncio.create_task(settle(outcome))
        await asyncio.sleep(0)
        outcome.tell(None, OSError("bad luck"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task, outcome
        await asyncio.sleep(0.01)
        return lost

    assert asyncio.run(work()) == []


def test_what_an_operation_raises_is_raised_where_it_is_awaited():
    async def work():
        await file_threads.in_thread(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(work())


def test_who_does_not_settle_an_outcome_need_not_wait_for_it():
    go_on = threading.Event()

    async def work():
        task = asyncio.ensure_future(file_threads.in_thread(go_on.wait))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    go_on.set()


def test_an_operation_that_was_given_up_before_a_thread_had_it_is_not_run():
    ran, go_on = [], threading.Event()

    async def work():
        busy = [file_threads.in_thread(lambda: go_on.wait(30)) for _ in range(file_threads.MOST)]
        late = file_threads.in_thread(lambda: ran.append(True))
        late.cancel()
        go_on.set()
        await asyncio.gather(*busy, file_threads.in_thread(int))

    asyncio.run(work())
    assert ran == []


def test_an_operation_whose_loop_was_closed_meanwhile_leaves_its_thread_to_others():
    go_on = threading.Event()

    async def leave():
        file_threads.in_thread(lambda: go_on.wait(30))

    async def ask():
        return await asyncio.gather(*(file_threads.in_thread(int) for _ in range(2 * file_threads.MOST)))

    for _ in range(file_threads.MOST):
        asyncio.run(leave())
    go_on.set()
    assert sum(asyncio.run(asyncio.wait_for(ask(), 30))) == 0
