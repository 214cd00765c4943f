"""Sessions in PostgreSQL, for any number of processes and machines."""

from typing import Any, Self

from agents_sessions.stores.base import Durability
from agents_sessions.stores.codec import PLAIN, Codec
from agents_sessions.stores.leases.lease import Terms
from agents_sessions.stores.leases.store import LeaseStore
from agents_sessions.stores.postgres.database import Database
from agents_sessions.stores.postgres.engine import PostgresEngine
from agents_sessions.stores.rows.settings import check_durability, check_name


class PostgresStore(LeaseStore):
    """Sessions in PostgreSQL 13 or newer, for any number of processes and machines.

    Args:
        server: A connection string, `postgresql://…` or `host=… dbname=…`; or a `psycopg_pool.ConnectionPool` of yours,
            which stays open.
        create_tables: Whether schema and tables are made if they are missing. Without, that is a `SchemaError`.
        schema: The schema of the tables.
        table_prefix: What their names begin with.
        durability: `full` waits for the disk of the server; `process` does not (`synchronous_commit = off`), so that a
            crash of the server may lose the last moments. A pool of yours says that by itself.
        lease: Seconds for which the lock of a turn holds without being renewed: how long it stays taken if its process
            dies, and how long the server may be away before a turn is lost.
        retry_for: Seconds for which an operation is tried again while the server does not answer.
        codec: How bodies, facts and sidecars become bytes.
    """

    def __init__(
        self,
        server: Any,
        *,
        create_tables: bool = False,
        schema: str = "agents_sessions",
        table_prefix: str = "",
        durability: Durability = "full",
        lease: float = Terms().lease,
        retry_for: float = 10.0,
        codec: Codec = PLAIN,
    ) -> None:
        check_durability(durability)
        check_name("schema", schema)
        if table_prefix:
            check_name("table_prefix", table_prefix)
        terms = Terms(lease)
        terms.check()
        dsn, pool = (server, None) if isinstance(server, str) else (None, server)
        database = Database(
            dsn,
            pool,
            schema=schema,
            prefix=table_prefix,
            create_tables=create_tables,
            synchronous=durability == "full",
            retry_for=retry_for,
        )
        place = ("postgresql", dsn or id(pool), schema, table_prefix)
        super().__init__(PostgresEngine(database, terms, place), codec=codec)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Return a store on the server of a URL: what the class itself does, by the name that the SDK has for it."""
        return cls(url, **options)
