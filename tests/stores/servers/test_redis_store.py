import asyncio
import functools
import time

import pytest
import redis
from backends import SPACE, Redis, open_redis
from builders import KEY, info_of, said
from scrambled import WORDS, Scrambled
from servers import running, valkey

from agents_sessions.errors import DurabilityError, SchemaError, SessionNotFoundError, StoreClosedError, StoreError
from agents_sessions.stores.redis.store import RedisStore
from agents_sessions.testing import StoreContract
from agents_sessions.testing.contract.bounds import as_test


class TestRedisStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, redis_url):
        self.backend = Redis(redis_url)

    async def make_store(self, folder):
        self.backend.empty()
        return self.backend.open(lease=2)

    def opener(self, store):
        return functools.partial(open_redis, self.backend.url, SPACE, lease=2)


@pytest.fixture
def client(redis_backend):
    with redis.Redis.from_url(redis_backend.url) as client:
        yield client


@pytest.fixture
def head(redis_backend):
    return f"{redis_backend.space}:{{{KEY.agent_id}/{KEY.session_id}}}:h"


async def use(store):
    await store.create(info_of(), [said("a")], sidecars={"a": b"\xff"})
    await store.append(KEY, [said("b")])
    async with store.turn_lock(KEY) as lock:
        await store.rewrite(KEY, lambda history: history.with_entries(history.entries[:1]), turn=lock)
    assert [entry["item"]["content"] for entry in await store.entries(KEY)] == ["a"]
    assert await store.read_sidecar(KEY, "a") == b"\xff"
    assert [info.key async for info in store.scan()] == [KEY]
    await store.set_aside(KEY, "note")
    (aside,) = await store.list_aside()
    await store.bring_back(aside.token)


@pytest.mark.parametrize("decodes", [True, False])
@pytest.mark.parametrize("protocol", [2, 3])
@as_test
async def test_a_client_of_any_kind_is_used_and_stays_open(redis_backend, decodes, protocol):
    with redis.Redis.from_url(redis_backend.url, decode_responses=decodes, protocol=protocol) as client:
        async with RedisStore(client, key_prefix=redis_backend.space, durability="process") as store:
            await use(store)
            assert await store.ping()
        with pytest.raises(StoreClosedError):
            await store.load(KEY)
        assert client.ping()


def test_an_asyncio_client_is_refused():
    from redis.asyncio import Redis as AsyncRedis

    with pytest.raises(TypeError, match="asyncio"):
        RedisStore(AsyncRedis())


@as_test
async def test_a_session_expires_after_its_last_change_with_all_its_keys(redis_backend, client):
    async with redis_backend.open(ttl=1) as store:
        await store.create(info_of(), [said("a")], sidecars={"a": b"1"})
        for _ in range(4):
            await asyncio.sleep(0.4)
            await store.append(KEY, [said("b")])
        assert len(client.keys(f"{redis_backend.space}:{{*")) == 3
        await asyncio.sleep(1.2)
        assert await store.load(KEY) is None
        assert [info async for info in store.scan()] == []
        assert client.keys(f"{redis_backend.space}:{{*") == []
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("c")])


@as_test
async def test_keys_of_another_kind_are_refused_and_left_as_they_are(redis_backend, client, head):
    async with redis_backend.open() as store:
        client.set(head, "mine")
        for act in (store.create(info_of(), [said("a")]), store.load(KEY), store.append(KEY, [said("a")])):
            with pytest.raises(SchemaError, match="key_prefix"):
                await act
        assert client.get(head) == b"mine"
        client.delete(head)
        client.set(head[:-1] + "e", "mine")
        with pytest.raises(SchemaError):
            await store.create(info_of(), [said("a")])
        assert client.get(head[:-1] + "e") == b"mine"
        assert await store.load(KEY) is None


@as_test
async def test_a_server_that_forgot_the_scripts_is_told_them_again(redis_backend, client):
    async with redis_backend.open(durability="full") as store:
        await store.create(info_of(), [said("a")])
        client.script_flush()
        assert (await store.append(KEY, [said("b")])).seq == 2
        client.script_flush()
        async with store.turn_lock(KEY):
            pass


@as_test
async def test_no_body_reaches_the_server(redis_backend, client):
    async with redis_backend.open(codec=Scrambled()) as store:
        await store.create(info_of(name="name secret"), [said("plain secret 0")], sidecars={"a": b"sidecar secret"})
        await store.append(KEY, [said("plain secret 1")])
        assert await store.read_sidecar(KEY, "a") == b"sidecar secret"
        assert [entry["item"]["content"][-1] for entry in await store.entries(KEY)] == ["0", "1"]
    kept = [client.dump(key) for key in client.keys(f"{redis_backend.space}:*")]
    assert not [word for word in WORDS if any(word in each for each in kept)]


@as_test
async def test_a_session_that_its_index_has_lost_is_there_again_with_its_next_creation(redis_backend, client, head):
    async with redis_backend.open() as store:
        await store.create(info_of())
        client.delete(head)  # evicted, or expired: its name is still in the index
        assert [info async for info in store.scan()] == []
        assert await store.find(KEY.session_id) == []
        await store.create(info_of())
        assert [info.key async for info in store.scan()] == [KEY]


@as_test
async def test_full_durability_waits_for_the_disk_where_the_server_does_not_sync_always(redis_backend, client):
    async with redis_backend.open(durability="full") as store:
        await store.create(info_of(), [said("a")])
        await store.append(KEY, [said("b")])
        before = client.info("commandstats")["cmdstat_waitaof"]["calls"]
        await store.append(KEY, [said("b")])
        assert client.info("commandstats")["cmdstat_waitaof"]["calls"] == before + 1


def check_refused(why, *settings, **options):
    async def work(url):
        async with RedisStore(url) as store:
            with pytest.raises(DurabilityError, match=why) as caught:
                await store.create(info_of())
            assert 'durability="process"' in str(caught.value)
        async with RedisStore(url, durability="process") as store:
            await store.create(info_of())

    with running(valkey, more=settings, **options) as server:
        asyncio.run(work(server.url))


def test_full_durability_refuses_a_server_that_keeps_no_log():
    check_refused("append-only file", "--appendonly", "no")


def test_full_durability_refuses_a_server_that_evicts():
    check_refused("evicts", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")


def test_full_durability_needs_waitaof_where_settings_may_not_be_read():
    check_refused("WAITAOF", "--rename-command", "CONFIG", "", "--rename-command", "WAITAOF", "")


def test_settings_that_may_not_be_read_do_not_matter_where_the_server_can_be_waited_for():
    async def work(url):
        async with RedisStore(url) as store:
            await use(store)
            assert store._engine._database._waits

    with running(valkey, more=["--rename-command", "CONFIG", ""]) as server:
        asyncio.run(work(server.url))


async def fill(store):
    for _ in range(100):
        await store.append(KEY, [said("x" * 100_000)])


def test_a_wrong_password_is_told_at_once_and_not_shown():
    async def work(path):
        store = RedisStore(f"unix://:hunter2@{path}")
        async with asyncio.timeout(5):
            with pytest.raises(StoreError, match="refused") as caught:
                await store.load(KEY)
        assert "hunter2" not in str(caught.value)

    with running(valkey, password="sesame") as server:
        asyncio.run(work(server.url.removeprefix("unix://:sesame@")))


def test_a_server_that_is_full_is_an_error_and_loses_nothing():
    async def work(url):
        async with RedisStore(url) as store:
            await store.create(info_of(), [said("a")])
            with pytest.raises(StoreError, match="maxmemory"):
                await fill(store)
            entries = await store.entries(KEY)
            assert (await store.existing(KEY)).context.items == len(entries)

    with running(valkey, appendfsync="always", more=["--maxmemory", "6mb"]) as server:
        asyncio.run(work(server.url))


def test_a_cluster_keeps_a_session_in_one_slot(unused_port):
    from redis.cluster import RedisCluster

    async def work():
        with RedisCluster(host="127.0.0.1", port=unused_port) as client:
            async with RedisStore(client, lease=1) as store:
                await use(store)
                await store.create(info_of(KEY._replace(session_id="other} {")), [said("a")])
                assert len([info async for info in store.scan()]) == 2
                await store.delete(KEY)

    more = ["--cluster-enabled", "yes", "--bind", "127.0.0.1"]
    with running(valkey, appendfsync="always", port=unused_port, more=more) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.05)
        asyncio.run(work())
