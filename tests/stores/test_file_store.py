from functools import partial

from agents_sessions.stores.file_store import FileStore
from agents_sessions.testing import StoreContract


class TestFileStore(StoreContract):
    def make_store(self, folder):
        return FileStore(folder)

    def opener(self, store):
        return partial(FileStore, store.root, durability=store.durability)


class TestFileStoreWithoutSyncing(TestFileStore):
    def make_store(self, folder):
        return FileStore(folder, durability="process")
