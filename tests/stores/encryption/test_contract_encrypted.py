"""The whole contract of a store, with encryption on."""

from agents_sessions import KeyRing
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing import StoreContract

KEYS = {"k1": bytes(range(32))}


class TestAnEncryptedMemoryStore(StoreContract):
    async def make_store(self, folder):
        return MemoryStore(encryption=KeyRing(KEYS))


class TestAnEncryptedFileStore(StoreContract):
    async def make_store(self, folder):
        return FileStore(folder, encryption=KeyRing(KEYS), durability="process")
