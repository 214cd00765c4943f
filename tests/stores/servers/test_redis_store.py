import functools
import os

import pytest
import redis

from agents_sessions.stores.redis.store import RedisStore
from agents_sessions.testing import StoreContract

PREFIX = f"contract_{os.getpid()}"


def open_store(url, prefix=PREFIX):
    return RedisStore(url, key_prefix=prefix, lease=2, durability="process")


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url):
        self.url = redis_url

    async def make_store(self, folder):
        with redis.Redis.from_url(self.url) as client:
            for key in client.scan_iter(f"{PREFIX}:*"):
                client.delete(key)
        return open_store(self.url)

    def opener(self, store):
        return functools.partial(open_store, self.url, PREFIX)
