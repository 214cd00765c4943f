import asyncio
import functools
import multiprocessing

import psycopg
import pytest
from backends import SPACE, Postgres, open_postgres
from builders import KEY, info_of, said
from scrambled import WORDS, Scrambled

from agents_sessions.errors import (
    DurabilityError,
    OutcomeUnknownError,
    SchemaError,
    SessionIdError,
    StoreClosedError,
    StoreError,
    StoreUnavailableError,
)
from agents_sessions.stores.postgres.store import PostgresStore
from agents_sessions.testing import StoreContract
from agents_sessions.testing.contract.bounds import as_test


class TestPostgresStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_dsn):
        self.backend = Postgres(postgres_dsn)

    async def make_store(self, folder):
        self.backend.empty()
        return self.backend.open(lease=2)

    def opener(self, store):
        return functools.partial(open_postgres, self.backend.url, SPACE, lease=2)


@pytest.fixture
def schema(postgres_dsn):
    """The name of a schema that is not there yet."""
    name = f"{SPACE}_own"
    yield name
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def make_tables(dsn, schema):
    async def work():
        async with PostgresStore(dsn, schema=schema, create_tables=True) as store:
            await store.load(KEY)

    asyncio.run(work())


@as_test
async def test_tables_are_made_only_if_that_is_wanted(postgres_dsn, schema):
    async with PostgresStore(postgres_dsn, schema=schema) as store:
        with pytest.raises(SchemaError, match="create_tables"):
            await store.load(KEY)
        await asyncio.to_thread(make_tables, postgres_dsn, schema)
        assert await store.load(KEY) is None


def test_many_processes_may_make_the_tables_at_once(postgres_dsn, schema):
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=make_tables, args=(postgres_dsn, schema)) for _ in range(6)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(30)
    assert [maker.exitcode for maker in makers] == [0] * 6


@as_test
async def test_tables_of_a_newer_version_are_refused_and_dropped_ones_are_told(postgres_dsn, schema):
    await asyncio.to_thread(make_tables, postgres_dsn, schema)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"UPDATE {schema}.meta SET version = 2")
        async with PostgresStore(postgres_dsn, schema=schema) as store:
            with pytest.raises(SchemaError, match="version 2, newer"):
                await store.load(KEY)
            connection.execute(f"UPDATE {schema}.meta SET version = 1")
            await store.load(KEY)
            connection.execute(f"DROP SCHEMA {schema} CASCADE")
            with pytest.raises(SchemaError, match="tables are missing"):
                await store.load(KEY)


@as_test
async def test_two_prefixes_of_a_schema_are_two_stores(postgres_dsn, schema):
    options = {"schema": schema, "create_tables": True}
    async with (
        PostgresStore(postgres_dsn, table_prefix="a_", **options) as one,
        PostgresStore(postgres_dsn, table_prefix="b_", **options) as other,
    ):
        await one.create(info_of())
        assert await other.load(KEY) is None


class Pool:
    """A pool of one connection, as `psycopg_pool.ConnectionPool` is one of several."""

    def __init__(self, dsn):
        self.conninfo = dsn
        self.one = psycopg.connect(dsn)
        self.lent = asyncio.Lock()

    def connection(self):
        return self.one.transaction() and _Lent(self.one)

    def close(self):
        raise AssertionError("it is its user's")


class _Lent:
    def __init__(self, connection):
        self.connection = connection

    def __enter__(self):
        return self.connection

    def __exit__(self, kind, *_):
        self.connection.rollback() if kind else self.connection.commit()


@as_test
async def test_a_pool_that_was_given_is_used_and_stays_open(postgres_backend):
    pool = Pool(postgres_backend.url)
    async with PostgresStore(pool, schema=postgres_backend.space) as store:
        await store.create(info_of(), [said("a")])
        await store.rewrite(KEY, lambda history: history.with_entries([said("b"), *history.entries]))
        async with store.turn_lock(KEY) as lock:
            await store.append(KEY, [said("c")], turn=lock)
    async with postgres_backend.open() as store:
        assert [entry["item"]["content"] for entry in await store.entries(KEY)] == ["b", "a", "c"]
    with pool.one:
        pool.one.execute("SELECT 1")


@as_test
async def test_nothing_is_prepared_so_that_any_pooler_is_fine(postgres_backend):
    async with postgres_backend.open() as store:
        await store.create(info_of())
        for _ in range(12):
            await store.append(KEY, [said("a")])
        prepared = store._engine._all("SELECT count(*) FROM pg_prepared_statements", ())
    assert prepared == [(0,)]


@as_test
async def test_durability_process_lets_a_commit_not_wait(postgres_backend):
    for durability, waits in (("full", "on"), ("process", "off")):
        async with postgres_backend.open(durability=durability) as store:
            await store.load(KEY)
            assert store._engine._all("SHOW synchronous_commit", ()) == [(waits,)]


@as_test
async def test_full_durability_refuses_a_connection_whose_commits_do_not_wait(postgres_backend):
    url = psycopg.conninfo.make_conninfo(postgres_backend.url, options="-c synchronous_commit=off")
    async with PostgresStore.from_url(url, schema=postgres_backend.space) as store:
        with pytest.raises(DurabilityError, match='durability="process"'):
            await store.load(KEY)


@as_test
async def test_a_server_that_is_not_there_is_an_error_without_a_password(tmp_path):
    store = PostgresStore(f"host={tmp_path} password=hunter2 dbname=app", retry_for=0.1)
    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        await store.load(KEY)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert "hunter2" not in str(caught.value)
    assert await store.ping() is False
    await store.close()
    await store.close()
    with pytest.raises(StoreClosedError):
        await store.ping()


@as_test
async def test_a_database_that_does_not_exist_is_told_at_once(postgres_dsn):
    store = PostgresStore(psycopg.conninfo.make_conninfo(postgres_dsn, dbname="nowhere"))
    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match='database "nowhere" does not exist'):
            await store.load(KEY)


@as_test
async def test_what_the_server_refuses_quotes_nothing_of_a_conversation(postgres_backend):
    async with postgres_backend.open() as store:
        await store.create(info_of())
        postgres_backend.sql(f"ALTER TABLE {postgres_backend.space}.entry ADD CHECK (strpos(line, 'hello') = 0)")
        try:
            with pytest.raises(StoreError, match="check constraint") as caught:
                await store.append(KEY, [said("hello")])
        finally:
            postgres_backend.sql(f"ALTER TABLE {postgres_backend.space}.entry DROP CONSTRAINT entry_line_check")
        assert "hello" not in str(caught.value)


@as_test
async def test_ids_that_no_index_has_room_for_are_refused(postgres_backend):
    async with postgres_backend.open() as store:
        with pytest.raises(SessionIdError, match="room for"):
            await store.create(info_of(KEY._replace(session_id="x" * 3000)))


@as_test
async def test_no_body_reaches_the_tables(postgres_backend):
    async with postgres_backend.open(codec=Scrambled()) as store:
        await store.create(info_of(name="name secret"), [said("plain secret 0")], sidecars={"a": b"sidecar secret"})
        await store.append(KEY, [said("plain secret 1")])
        assert await store.read_sidecar(KEY, "a") == b"sidecar secret"
        assert (await store.existing(KEY)).name == "name secret"
        tables = [
            str(store._engine._all(f"SELECT t.*::text FROM {postgres_backend.space}.{table} AS t", ()))
            for table in ("session", "entry", "sidecar")
        ]
    assert not [word for word in WORDS if word.decode() in "".join(tables)]


@as_test
async def test_the_views_are_pleasant_to_query(postgres_backend):
    parts = [{"type": "output_text", "text": "On its "}, {"type": "output_text", "text": "way."}]
    async with postgres_backend.open() as store:
        await store.create(info_of(user_id="ann"), [said("Where?")])
        await store.append(KEY, [{"item": {"role": "assistant", "content": parts}}])
        space = postgres_backend.space
        messages = store._engine._all(f"SELECT role, text FROM {space}.messages ORDER BY seq", ())
        sessions = store._engine._all(f"SELECT session_id, user_id, items FROM {space}.sessions", ())
    assert messages == [("user", "Where?"), ("assistant", "On its way.")]
    assert sessions == [("order-42", "ann", 2)]
