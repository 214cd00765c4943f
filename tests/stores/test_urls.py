import sys
from pathlib import Path

import pytest

from agents_sessions import open_session
from agents_sessions.errors import MissingExtraError, StoreClosedError
from agents_sessions.manager import SessionManager
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.stores.postgres.store import PostgresStore
from agents_sessions.stores.redis.store import RedisStore
from agents_sessions.stores.sqlite.store import SQLiteStore
from agents_sessions.stores.urls import store_from_url
from agents_sessions.testing.contract.bounds import as_test


@pytest.mark.parametrize(
    ("url", "kind", "name"),
    [
        ("sqlite:////srv/sessions.db", SQLiteStore, "sqlite:////srv/sessions.db"),
        ("sqlite:////srv/my%20sessions.db?durability=process", SQLiteStore, "sqlite:////srv/my sessions.db"),
        ("postgresql://ann:secret@db.local:5433/app", PostgresStore, "postgresql://db.local:5433/app#agents_sessions"),
        ("postgres://db.local/app?sslmode=disable", PostgresStore, "postgresql://db.local/app#agents_sessions"),
        ("postgresql+asyncpg://db.local/app?schema=chat", PostgresStore, "postgresql://db.local/app#chat"),
        ("redis://:secret@cache.local:6380/3", RedisStore, "redis://cache.local:6380/3"),
        ("rediss://cache.local?key_prefix=chat&ttl=60", RedisStore, "rediss://cache.local"),
        ("valkey://cache.local", RedisStore, "redis://cache.local"),
        ("unix:///run/valkey.sock?lease=60&db=2", RedisStore, "unix:///run/valkey.sock"),
    ],
)
def test_a_url_names_a_store_and_errors_name_no_password(url, kind, name):
    store = store_from_url(url)
    assert type(store) is kind
    assert repr(store) == f"{kind.__name__}({name!r})"


def test_what_is_no_url_is_the_folder_of_a_file_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ("chats", Path("chats"), f"file://{tmp_path}/chats"):
        store = store_from_url(place)
        assert isinstance(store, FileStore)
        assert store.root == tmp_path / "chats"
    assert store_from_url("sqlite:///chats.db").path == tmp_path / "chats.db"


def test_options_come_from_the_url_and_arguments_win(tmp_path):
    url = "redis://localhost?lease=5&key_prefix=chat&db=7&protocol=2"
    store = store_from_url(url, lease=7)
    assert store.lock_grace == 7
    assert store._engine._prefix == "chat"
    connection = store._engine._database._client.connection_pool.connection_kwargs
    assert (connection["db"], str(connection["protocol"])) == (7, "2")
    assert store_from_url(f"file://{tmp_path}?durability=process").durability == "process"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mongodb://localhost", "no store has the scheme 'mongodb'; known are"),
        ("sqlite://sessions.db", "third slash"),
        ("sqlite:///:memory:", "MemoryStore"),
        ("sqlite:///", "MemoryStore"),
        ("sqlite:///x.db?mode=ro", "no option 'mode'; it has create_tables, durability, table_prefix"),
        ("sqlite:///x.db?create_tables=maybe", "create_tables of the URL must be 1 or 0"),
        ("sqlite:///x.db?table_prefix=a-b", "table_prefix must be"),
        ("sqlite:///x.db?durability=none", "durability must be"),
        ("postgresql://localhost/app?schema=a;b", "schema must be"),
        ("postgresql://localhost/app?lease=soon", "the option lease of the URL"),
        ("postgresql://localhost/app?lease=0", "lease must be"),
        ("redis://localhost?key_prefix=a{b", "key_prefix must be"),
        ("redis://localhost?ttl=0", "ttl must be"),
    ],
)
def test_a_url_that_means_nothing_is_refused(url, why):
    with pytest.raises(ValueError, match=why.replace("?", r"\?")):
        store_from_url(url)


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [("postgresql://localhost", "psycopg", "postgres"), ("redis://localhost", "redis", "redis")],
)
def test_a_missing_driver_is_an_error_that_names_the_extra(url, driver, extra, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(f"agents_sessions.stores.{extra}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "agents-sessions\[{extra}\]"') as caught:
        store_from_url(url)
    assert isinstance(caught.value, ImportError)


@as_test
async def test_a_manager_opens_and_closes_the_store_of_a_url(tmp_path):
    async with SessionManager(f"sqlite:///{tmp_path}/chats.db") as manager:
        await manager.create_session("support", session_id="s")
    with pytest.raises(StoreClosedError):
        await manager.get_session("s")
    async with SQLiteStore(tmp_path / "chats.db") as store:
        async with SessionManager(store) as manager:
            assert (await manager.get_session("s")).agent_id == "support"
        assert await store.ping()  # what it was given stays open


@as_test
async def test_a_bare_session_by_url_closes_its_store_with_itself(tmp_path):
    async with open_session(f"sqlite:///{tmp_path}/chats.db", "s", agent_id="support") as session:
        await session.add_items([{"role": "user", "content": "hello"}])
        assert await session.ping()
    for act in (session.get_items, session.ping):
        with pytest.raises(RuntimeError, match="closed"):
            await act()
    with pytest.raises(StoreClosedError):
        await session.store.ping()
    await session.close()
    session = open_session(f"sqlite:///{tmp_path}/chats.db", "s", agent_id="support")
    assert await session.get_items() == [{"role": "user", "content": "hello"}]
    session.close()


@as_test
async def test_bare_sessions_of_one_store_leave_it_open():
    store = MemoryStore()
    async with open_session(store, "s") as session:
        await session.add_items([{"role": "user", "content": "hello"}])
    assert len(await open_session(store, "s").get_items()) == 1
