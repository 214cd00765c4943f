import subprocess
import sys

from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing import StoreContract


class TestMemoryStore(StoreContract):
    async def make_store(self, folder):
        return MemoryStore()


def in_a_child_forked_amid(step):
    """Return what a forked child prints that reads, and appends to, a session which a thread was about to change."""
    script = f"""if True:
        import asyncio, os, signal, threading
        from agents_sessions.model.entries import item_entry
        from agents_sessions.model.info import SessionInfo
        from agents_sessions.keys import SessionKey
        from agents_sessions.stores.memory import MemoryStore

        key, store = SessionKey("a", "s"), MemoryStore()
        asyncio.run(store.create(SessionInfo(agent_id="a", id="s"), [item_entry({{"text": "kept"}})]))
        inside, over = threading.Event(), threading.Event()
        kept = store._sessions[key]

        class Half:
            # A session of which a thread changes one half only.
            def __setattr__(self, name, value):
                vars(self)[name] = value
                if name == "{step}":
                    inside.set()
                    over.wait(20)

        half = Half.__new__(Half)
        vars(half).update(vars(kept))
        store._sessions[key] = half
        writer = threading.Thread(target=lambda: asyncio.run(store.append(key, [item_entry({{"text": "new"}})] * 2)))
        writer.start()
        inside.wait(20)
        child = os.fork()
        if child == 0:
            signal.alarm(20)

            async def work():
                await store.append(key, [item_entry({{"text": "mine"}})])
                entries = await store.entries(key)
                print(*(entry["item"]["text"] for entry in entries), *(entry["seq"] for entry in entries), flush=True)
            inside.set = over.wait = lambda *_: None
            asyncio.run(work())
            os._exit(0)
        os.waitpid(child, 0)
        over.set()
        writer.join()
    """
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    return run.stdout


def test_a_child_that_is_forked_while_a_thread_appends_has_nothing_of_it_and_can_append():
    assert in_a_child_forked_amid("lines") == "kept mine 1 2\n"


def test_a_child_that_is_forked_after_a_thread_has_appended_has_all_of_it():
    assert in_a_child_forked_amid("info") == "kept new new mine 1 2 3 4\n"
