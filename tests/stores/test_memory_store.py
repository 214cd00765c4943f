from agents_sessions.stores.memory_store import MemoryStore
from agents_sessions.testing import StoreContract


class TestMemoryStore(StoreContract):
    def make_store(self, folder):
        return MemoryStore()
