import functools

from agents_sessions.stores.sqlite.store import SQLiteStore
from agents_sessions.testing import StoreContract


class TestSQLiteStore(StoreContract):
    async def make_store(self, folder):
        return SQLiteStore(folder / "sessions.db", durability="process")

    def opener(self, store):
        return functools.partial(SQLiteStore, store.path, durability="process")
