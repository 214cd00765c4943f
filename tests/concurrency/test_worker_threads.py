"""The threads that work on files."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading

from builders import KEY, info_of, said

from agents_sessions.concurrency import worker_threads as file_threads
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
    assert file_threads._pool() is file_threads._pool()


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
