import subprocess
import sys

from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing import StoreContract


class TestMemoryStore(StoreContract):
    async def make_store(self, folder):
        return MemoryStore()


def test_a_child_that_is_forked_while_a_thread_appends_has_all_of_the_append_or_nothing_and_can_append():
    """The thread holds the store's mutex at the fork: in the child, no one would ever release it."""
    script = """if True:
        import asyncio, os, signal, threading
        from agents_sessions.keys import SessionKey
        from agents_sessions.model.entries import item_entry
        from agents_sessions.model.info import SessionInfo
        from agents_sessions.stores import memory

        key, store = SessionKey("a", "s"), memory.MemoryStore()
        asyncio.run(store.create(SessionInfo(agent_id="a", id="s"), [item_entry({"text": "kept"})]))
        inside, over, encode = threading.Event(), threading.Event(), memory.encode_entry

        def slow(*arguments):
            inside.set()
            over.wait(20)
            return encode(*arguments)

        memory.encode_entry = slow
        writer = threading.Thread(target=lambda: asyncio.run(store.append(key, [item_entry({"text": "new"})] * 2)))
        writer.start()
        inside.wait(20)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            memory.encode_entry = encode

            async def work():
                await store.append(key, [item_entry({"text": "mine"})])
                entries = await store.entries(key)
                print(*(entry["item"]["text"] for entry in entries), *(entry["seq"] for entry in entries), flush=True)
            asyncio.run(work())
            os._exit(0)
        os.waitpid(child, 0)
        over.set()
        writer.join()
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout == "kept mine 1 2\n"
