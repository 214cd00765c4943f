"""The two stores that keep their sessions on a server, for tests of what both promise."""

import functools
import os
import secrets

import psycopg
import redis
from proxy import Proxy

from agents_sessions.stores.leases.lease import new_claim
from agents_sessions.stores.postgres.store import PostgresStore
from agents_sessions.stores.redis.store import RedisStore

SPACE = f"test_{os.getpid()}_{secrets.token_hex(2)}"


def open_postgres(dsn, schema, **options):
    return PostgresStore(dsn, schema=schema, create_tables=True, **options)


def open_redis(url, prefix, **options):
    return RedisStore(url, key_prefix=prefix, **{"durability": "process", **options})


class Backend:
    """One server, and stores on it."""

    def __init__(self, url, space=SPACE):
        self.url = url
        self.space = space

    def opener(self, **options):
        return functools.partial(type(self).function, self.url, self.space, **options)

    def open(self, **options):
        return self.opener(**options)()

    def open_elsewhere(self, **options):
        """Return a store that knows nothing of the others of this process, as one on another machine."""
        store = self.open(**options)
        store._engine.place = object()
        return store

    def take_over(self, store, key):
        """End the lease of whoever has the lock of a session, and take it, as another machine would."""
        self.expire(key)
        return store._engine.acquire(new_claim(key), "another host").fence


class Postgres(Backend):
    name = "postgres"
    function = staticmethod(open_postgres)

    def sql(self, statement, *values):
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement, values)

    def empty(self):
        store = self.open()
        store._engine.ping()
        store.close()
        self.sql(f"DELETE FROM {self.space}.session")

    def expire(self, key):
        past = "UPDATE {}.session SET lease_until = now() - interval '1 hour' WHERE session_id = %s"
        self.sql(past.format(self.space), key.session_id)

    def proxied(self, folder):
        """Return this backend behind a proxy, and the proxy."""
        parts = psycopg.conninfo.conninfo_to_dict(self.url)
        proxy = Proxy(f"{parts['host']}/.s.PGSQL.5432", f"{folder}/.s.PGSQL.5432")
        return Postgres(psycopg.conninfo.make_conninfo(self.url, host=str(folder)), self.space), proxy


class Redis(Backend):
    name = "redis"
    function = staticmethod(open_redis)

    def empty(self):
        with redis.Redis.from_url(self.url) as client:
            for key in client.scan_iter(f"{self.space}:*"):
                client.delete(key)

    def expire(self, key):
        with redis.Redis.from_url(self.url) as client:
            client.hset(f"{self.space}:{{{key.agent_id}/{key.session_id}}}:h", "lease_until", 0)

    def proxied(self, folder):
        proxy = Proxy(self.url.removeprefix("unix://"), f"{folder}/s")
        return Redis(f"unix://{folder}/s", self.space), proxy
