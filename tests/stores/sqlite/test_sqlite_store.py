import functools
import json
import sqlite3
import stat
import threading

import pytest
from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message
from builders import KEY, info_of, said
from scrambled import WORDS, Scrambled

from agents_sessions.errors import SchemaError, SessionBusyError, SessionCorruptedError, StoreError
from agents_sessions.manager import SessionManager
from agents_sessions.model.query import SessionQuery
from agents_sessions.stores.sqlite.store import SQLiteStore
from agents_sessions.testing import StoreContract
from agents_sessions.testing.contract.append import AppendContract
from agents_sessions.testing.contract.bounds import as_test
from agents_sessions.testing.contract.copy import CopyContract
from agents_sessions.testing.contract.facts import FactContract
from agents_sessions.testing.contract.items import ItemContract
from agents_sessions.testing.contract.rewrite import RewriteContract
from agents_sessions.testing.contract.sharing import SharingContract
from agents_sessions.testing.contract.sidecars import SidecarContract


class TestSQLiteStore(StoreContract):
    async def make_store(self, folder):
        return SQLiteStore(folder / "sessions.db", durability="process")

    def opener(self, store):
        return functools.partial(SQLiteStore, store.path, durability="process")


class TestAScrambledSQLiteStore(
    AppendContract, CopyContract, FactContract, ItemContract, RewriteContract, SidecarContract, SharingContract
):
    """The parts in which a codec has its hand."""

    async def make_store(self, folder):
        return SQLiteStore(folder / "sessions.db", codec=Scrambled(), durability="process")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@as_test
async def test_no_body_reaches_the_file_and_all_are_counted(path):
    async with SQLiteStore(path, codec=Scrambled()) as store:
        await store.create(info_of(name="name secret", user_id="name secret"), [said("plain secret 0")])
        await store.append(KEY, [said("plain secret 1")])
        await store.write_sidecar(KEY, "b.json", b"sidecar secret")
        assert (await store.existing(KEY)).context.user_messages == 2
        assert [info.name for info in await store.query(SessionQuery(user_id="name secret"))] == ["name secret"]
    written = b"".join(each.read_bytes() for each in path.parent.rglob("*") if each.is_file())
    assert not [word for word in WORDS if word in written]


@as_test
async def test_a_turn_runs_and_the_views_are_pleasant_to_query(path):
    async with SQLiteStore(path) as store:
        agent = Agent(name="support", model=ScriptedModel([[assistant_message("On its way.")]]))
        manager = SessionManager(store, agents=agent, run_config=RunConfig(tracing_disabled=True))
        await manager.create_session("support", session_id="s", user_id="ann", metadata={"city": "Oslo"})
        assert (await manager.send_message("s", "Where is it?")).text == "On its way."
    with sqlite3.connect(path) as shell:
        messages = shell.execute("SELECT session_id, role, text FROM messages ORDER BY seq").fetchall()
        (session,) = shell.execute("SELECT agent_id, user_id, items, turns, metadata FROM sessions").fetchall()
    shell.close()
    assert messages == [("s", "user", "Where is it?"), ("s", "assistant", "On its way.")]
    assert session == ("support", "ann", 2, 1, '{"city":"Oslo"}')


@as_test
async def test_the_file_is_its_owners_alone(path):
    async with SQLiteStore(path) as store:
        await store.create(info_of())
        for each in path.parent.glob("sessions.db*"):
            assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each


@as_test
async def test_missing_tables_are_made_only_if_that_is_wanted(path):
    with pytest.raises(SchemaError, match="no such file"):
        await SQLiteStore(path, create_tables=False).load(KEY)
    sqlite3.connect(path).close()
    with pytest.raises(SchemaError, match="tables are missing"):
        await SQLiteStore(path, create_tables=False).load(KEY)
    async with SQLiteStore(path) as store:
        await store.create(info_of())
    async with SQLiteStore(path, create_tables=False) as store:
        assert await store.load(KEY) is not None


@as_test
async def test_two_prefixes_are_two_stores_beside_the_tables_of_an_application(path):
    with sqlite3.connect(path) as shell:
        shell.execute("CREATE TABLE session (mine)")
    shell.close()
    async with SQLiteStore(path, table_prefix="a_") as one, SQLiteStore(path, table_prefix="b_") as other:
        await one.create(info_of())
        assert await other.load(KEY) is None


@as_test
async def test_tables_of_a_newer_version_are_refused(path):
    async with SQLiteStore(path) as store:
        await store.create(info_of())
    with sqlite3.connect(path) as shell:
        shell.execute("INSERT INTO meta VALUES (2)")
    shell.close()
    with pytest.raises(SchemaError, match="version 2, newer"):
        await SQLiteStore(path).load(KEY)


@as_test
async def test_a_file_that_is_no_database_is_left_as_it_is(path):
    path.write_bytes(b"no database at all, and longer than a header of SQLite is, which has a hundred bytes" * 4)
    before = path.read_bytes()
    with pytest.raises(SchemaError, match="no SQLite database"):
        await SQLiteStore(path).create(info_of())
    assert path.read_bytes() == before


@as_test
async def test_a_damaged_row_is_an_error_of_its_session_and_no_listing_fails(path):
    other = info_of(KEY._replace(session_id="other"))
    async with SQLiteStore(path) as store:
        await store.create(info_of(), [said("a")])
        await store.create(other, [said("a")])
        with sqlite3.connect(path) as shell:
            shell.execute("UPDATE entry SET line = '{' WHERE session = 1")
            shell.execute("UPDATE session SET facts = '[]' WHERE pk = 2")
        shell.close()
        with pytest.raises(SessionCorruptedError, match="an entry cannot be used"):
            await store.entries(KEY)
        with pytest.raises(SessionCorruptedError, match="its row cannot be used"):
            await store.load(other.key)
        assert [info.key async for info in store.scan()] == [KEY]
        assert [info.key for info in await store.query(SessionQuery())] == [KEY]


@as_test
async def test_a_writer_of_another_program_is_waited_for(path):
    async with SQLiteStore(path) as store:
        await store.create(info_of())
        shell = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, shell.execute, ["COMMIT"])
        timer.start()
        await store.append(KEY, [said("a")])
        timer.join()
        shell.close()
        assert len(await store.entries(KEY)) == 1


@as_test
async def test_a_busy_session_tells_who_holds_it(path):
    async with SQLiteStore(path) as store, SQLiteStore(path) as other:
        await store.create(info_of())
        async with store.turn_lock(KEY):
            with pytest.raises(SessionBusyError, match="held by process"):
                async with other.turn_lock(KEY, timeout=0):
                    pass


@as_test
async def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"sqlite:///.*file/sessions\.db"):
        await SQLiteStore(tmp_path / "file" / "sessions.db").create(info_of())


@as_test
async def test_a_fact_of_any_text_is_found_by_the_index_and_comes_back(path):
    odd = 'nul\0, half \ud800, \\ and "'
    async with SQLiteStore(path) as store:
        await store.create(info_of(user_id=odd, name=odd, metadata={odd: odd}))
        (found,) = await store.query(SessionQuery(user_id=odd, name=odd))
        assert (found.user_id, found.name, found.metadata) == (odd, odd, {odd: odd})
        assert await store.count(SessionQuery(user_id=odd)) == 1
        assert json.loads((await store._read(lambda: store._engine.head(KEY))).facts)["user_id"] == odd
