"""What a child that is forked in the middle of a turn or of a write has of its parent's locks."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

from builders import KEY
from file_sessions import create, on_disk

FORKING = """
    import asyncio, os, sys, time
    from agents_sessions.errors import SessionBusyError
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import item_entry
    from agents_sessions.stores.file.store import FileStore

    store, key = FileStore(sys.argv[1]), SessionKey("support", "order-42")

    async def can_take():
        try:
            async with store.turn_lock(key, timeout=0):
                return True
        except SessionBusyError:
            return False

    def in_child(work):
        if (pid := os.fork()) == 0:
            work()
            os._exit(0)
        return pid
"""


def run_forking(store, script):
    source = textwrap.dedent(FORKING) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", source, str(store.root)], stdout=subprocess.PIPE, text=True
    )


def test_a_forked_child_neither_has_nor_releases_the_locks_of_its_parent(store):
    create(store)
    script = """
        async def turn():
            lock = store.turn_lock(key)
            await lock.__aenter__()
            def work():
                asyncio.set_event_loop(None)
                asyncio.events._set_running_loop(None)
                print("child takes it:", asyncio.run(can_take()), flush=True)
                lock.gen.ag_frame  # the child's copy of the turn is given up by its exit
            os.waitpid(in_child(work), 0)
            print("parent takes it:", await can_take(), flush=True)
            await lock.__aexit__(None, None, None)
            print("free:", await can_take(), flush=True)
        asyncio.run(turn())
    """
    out, _ = run_forking(store, script).communicate(timeout=60)
    assert out.splitlines() == ["child takes it: False", "parent takes it: False", "free: True"]


def test_a_child_that_leaves_the_turn_of_its_parent_keeps_a_turn_of_its_own(store):
    """The lock of the child may have the number that the one of its parent had."""
    create(store)
    script = """
        from agents_sessions.stores.file.disk import syscalls as file_io
        from agents_sessions.stores.file import turn_lock as file_turns
        folder = file_io.open_directory(sys.argv[1], "support")
        turn = file_turns.try_turn(folder, "other.json")
        def work():
            mine = file_turns.try_turn(folder, "order-42.json")
            print(mine.fd == turn.fd)
            turn.release()
            print(asyncio.run(can_take()), flush=True)
        os.waitpid(in_child(work), 0)
    """
    out, _ = run_forking(store, script).communicate(timeout=60)
    assert out.splitlines() == ["True", "False"]


def test_a_child_that_leaves_the_turn_of_its_parent_does_not_release_it(store):
    create(store)
    script = """
        from agents_sessions.stores.file.disk import syscalls as file_io, locks as file_locks
        folder = file_io.open_directory(sys.argv[1], "support")
        fd = file_locks.open_lock_file(folder, ".order-42.json.turn", b"{}")
        os.waitpid(in_child(lambda: file_locks.close_lock_file(folder, ".order-42.json.turn", fd)), 0)
        print(asyncio.run(can_take()), flush=True)
    """
    out, _ = run_forking(store, script).communicate(timeout=60)
    assert out.splitlines() == ["False"]


def test_the_turn_lock_of_a_killed_process_is_free_at_once(store):
    create(store)
    holder = run_forking(
        store,
        """
        async def turn():
            async with store.turn_lock(key):
                print("taken", flush=True)
                time.sleep(600)
        asyncio.run(turn())
        """,
    )
    assert holder.stdout.readline() == "taken\n"
    holder.kill()
    holder.communicate(timeout=60)

    async def take():
        async with store.turn_lock(KEY, timeout=0):
            pass

    asyncio.run(take())


def test_the_lock_of_a_killed_parent_is_free_while_its_child_lives(store):
    create(store)
    script = """
        async def turn():
            async with store.turn_lock(key):
                print(in_child(lambda: time.sleep(600)), flush=True)
                time.sleep(600)
        asyncio.run(turn())
    """
    parent = run_forking(store, script)
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait(60)

        async def take():
            # The child may be a moment behind: it lets go of what it inherited as the first thing it does.
            async with store.turn_lock(KEY, timeout=20):
                pass

        asyncio.run(take())
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_a_child_forked_beside_a_writer_can_write(store, path):
    create(store)
    script = """
        async def work():
            from agents_sessions.concurrency import process
            async with process.writers.hold(store.place(key)):
                def write():
                    asyncio.events._set_running_loop(None)
                    asyncio.run(asyncio.wait_for(store.append(key, [item_entry({"content": "child"})]), 20))
                with process.file_ends._mutex:
                    os.waitpid(in_child(write), 0)
            await store.append(key, [item_entry({"content": "parent"})])
        asyncio.run(work())
    """
    forking = run_forking(store, script)
    forking.communicate(timeout=60)
    assert forking.returncode == 0
    assert on_disk(path) == ["child", "parent"]
