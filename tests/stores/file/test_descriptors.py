"""How many files a process has open for its turns, and what happens where it can have no more."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap

from builders import KEY, info_of
from file_sessions import create
from system import descriptors

from agents_sessions.keys import SessionKey
from agents_sessions.stores.file.store import FileStore

CROWD = """
    import asyncio, resource, sys
    from agents_sessions import FileStore, SessionInfo, SessionKey
    from agents_sessions.model.entries import item_entry

    async def turn(store, key):
        async with store.turn_lock(key) as lock:
            await asyncio.sleep(0.2)
            await store.append(key, [item_entry({"role": "user", "content": "x"})], turn=lock)
            return len(await store.items(key))

    async def main():
        store = FileStore(sys.argv[1], durability="process")
        keys = [SessionKey("a", str(number)) for number in range(120)]
        for key in keys:
            await store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        print(sum(await asyncio.gather(*(turn(store, key) for key in keys))))

    asyncio.run(main())
"""


def test_a_turn_holds_one_descriptor(store):
    async def held(count):
        keys = [SessionKey("a", str(number)) for number in range(count)]
        for key in keys:
            await store.create(info_of(key))
        before = len(descriptors())
        async with contextlib.AsyncExitStack() as stack:
            for key in keys:
                await stack.enter_async_context(store.turn_lock(key))
            return len(descriptors()) - before

    assert asyncio.run(held(9)) == 9


def test_more_turns_than_descriptors_wait_for_each_other_and_all_end(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CROWD), tmp_path], capture_output=True, text=True, timeout=60
    )
    assert (run.stdout, run.stderr) == ("120\n", "")
    # A lock that found no descriptor for its folder when it was released leaves its file: the next turn takes it over.
    left = [name for name in os.listdir(tmp_path / "a") if name.startswith(".")]

    async def take_over():
        store = FileStore(tmp_path)
        for name in left:
            async with store.turn_lock(SessionKey("a", name.split(".")[1]), timeout=0):
                pass

    asyncio.run(take_over())
    assert [name for name in os.listdir(tmp_path / "a") if name.startswith(".")] == []


def test_a_turn_whose_folder_is_gone_lets_go_of_its_lock(store, path):
    async def scenario():
        async with store.turn_lock(KEY):
            path.parent.rename(path.parent.with_name("elsewhere"))

    create(store, "a")
    before = descriptors()
    asyncio.run(scenario())
    assert descriptors().items() <= before.items()
