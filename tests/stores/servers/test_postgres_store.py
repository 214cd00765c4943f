import functools
import os

import psycopg
import pytest

from agents_sessions.stores.postgres.store import PostgresStore
from agents_sessions.testing import StoreContract

SCHEMA = f"contract_{os.getpid()}"


def open_store(dsn, schema=SCHEMA):
    return PostgresStore(dsn, schema=schema, create_tables=True, lease=2)


class TestPostgresStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_dsn):
        self.dsn = postgres_dsn

    async def make_store(self, folder):
        store = open_store(self.dsn)
        await store.ping()
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"DELETE FROM {SCHEMA}.session")
        return store

    def opener(self, store):
        return functools.partial(open_store, self.dsn, SCHEMA)
