"""Sessions in Redis or Valkey, for any number of processes and machines."""

import re
from typing import Any, Self

from agents_sessions.stores.base import Durability
from agents_sessions.stores.codec import PLAIN, Codec
from agents_sessions.stores.leases.lease import Terms
from agents_sessions.stores.leases.store import LeaseStore
from agents_sessions.stores.redis.database import Database
from agents_sessions.stores.redis.engine import RedisEngine
from agents_sessions.stores.rows.settings import check_durability

_PREFIX = re.compile(r"[^{}\s\0]{1,100}")


class RedisStore(LeaseStore):
    """Sessions in Redis 6.2 or newer, or Valkey, for any number of processes and machines.

    Args:
        server: A URL, `redis://…`, `rediss://…` or `unix://…`; or a `redis.Redis` or `redis.cluster.RedisCluster` of
            yours, which stays open. It may decode responses or not.
        key_prefix: What all keys begin with.
        ttl: Seconds after its last change for which a session stays; None for ever. The server removes it then, without
            asking: neither the trash nor `pinned` protects it.
        durability: `full` acknowledges what is on the disk of the server: it must sync always or know `WAITAOF`, and
            evict nothing, or the first use is a `DurabilityError`. `process` takes the server as it is.
        lease: Seconds for which the lock of a turn holds without being renewed: how long it stays taken if its process
            dies, and how long the server may be away before a turn is lost.
        retry_for: Seconds for which an operation is tried again while the server does not answer.
        codec: How bodies, facts and sidecars become bytes.
    """

    def __init__(
        self,
        server: Any,
        *,
        key_prefix: str = "agents_sessions",
        ttl: float | None = None,
        durability: Durability = "full",
        lease: float = Terms().lease,
        retry_for: float = 10.0,
        codec: Codec = PLAIN,
    ) -> None:
        check_durability(durability)
        if _PREFIX.fullmatch(key_prefix) is None:
            raise ValueError(
                f"key_prefix must be 1 to 100 characters without braces and spaces, not {key_prefix!r:.80}"
            )
        if ttl is not None and not ttl > 0:
            raise ValueError(f"ttl must be a positive number of seconds, or None, not {ttl!r}")
        terms = Terms(lease)
        terms.check()
        url, client = (server, None) if isinstance(server, str) else (None, _synchronous(server))
        database = Database(url, client, durable=durability == "full", retry_for=retry_for)
        place = ("redis", url or id(client), key_prefix)
        super().__init__(RedisEngine(database, terms, place, prefix=key_prefix, ttl=ttl), codec=codec)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Return a store on the server of a URL: what the class itself does, by the name that the SDK has for it."""
        return cls(url, **options)


def _synchronous(client: Any) -> Any:
    if type(client).__module__.startswith("redis.asyncio"):
        raise TypeError(
            "a RedisStore works in threads of its own: give it a URL or a redis.Redis, not an asyncio client"
        )
    return client
