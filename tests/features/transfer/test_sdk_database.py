"""Databases that the SDK's own sessions have written."""

import asyncio
import sqlite3

import pytest
from agents import Agent, RunConfig, Runner, SQLiteSession, function_tool
from agents.extensions.memory import AdvancedSQLiteSession, SQLAlchemySession
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from sample_sessions import transfer_of
from sqlalchemy.ext.asyncio import create_async_engine

from agents_sessions.errors import ImportLimitError, ImportRefusedError, SessionExistsError
from agents_sessions.features.transfer.values import ImportLimits
from agents_sessions.keys import SessionKey
from agents_sessions.stores.memory import MemoryStore

ODD = {"role": "user", "content": "Zoë \ud800 \u2028", "big": 2**70, "z": 1, "a": 2.5}
SPENT = Usage(
    requests=1,
    input_tokens=70,
    input_tokens_details=InputTokensDetails(cached_tokens=20, cache_write_tokens=3),
    output_tokens=7,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=2),
    total_tokens=77,
)


def key(session_id):
    return SessionKey("default", session_id)


async def run(session, *questions):
    """Hold turns with a tool on a session, and return the results."""
    find = function_tool(lambda: "shipped", name_override="find")
    steps = []
    for number in range(len(questions)):
        steps += [[function_call("find", "{}", call_id=f"c{number}")], [assistant_message(f"answer {number}")]]
    model = ScriptedModel(steps)
    model.set_default_usage(SPENT)
    agent = Agent(name="a", model=model, tools=[find])
    return [
        await Runner.run(agent, question, session=session, run_config=RunConfig(tracing_disabled=True))
        for question in questions
    ]


async def imported(path, **options):
    store = MemoryStore()
    return store, await transfer_of(store).import_file(path, **options)


def test_all_sessions_of_a_database_come_in(tmp_path):
    async def work():
        path = tmp_path / "chats.db"
        sessions = [SQLiteSession(name, path) for name in ("one", "two", "../odd")]
        for session in sessions:
            await run(session, f"hello {session.session_id}")
            await session.add_items([ODD])
        store, report = await imported(path)
        assert report.format == "sdk_database"
        assert {one.source_id for one in report.sessions} == {"one", "two", "../odd"}
        for session in sessions:
            assert await store.items(key(session.session_id)) == await session.get_items()
            session.close()
        assert report.dropped == ()

    asyncio.run(work())


def test_the_times_of_sessions_and_messages_come_along(tmp_path):
    async def work():
        session = SQLiteSession("one", tmp_path / "x.db")
        await session.add_items([ODD])
        session.close()
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("UPDATE agent_sessions SET created_at = '2025-01-02 03:04:05'")
            connection.execute("UPDATE agent_messages SET created_at = '2025-01-02 03:04:06.789123'")
        connection.close()
        store, _ = await imported(tmp_path / "x.db")
        assert (await store.load(key("one"))).created_at.isoformat() == "2025-01-02T03:04:05+00:00"
        assert [entry["at"] for entry in await store.entries(key("one"))] == ["2025-01-02T03:04:06.789Z"]

    asyncio.run(work())


def test_tables_of_other_names_are_found(tmp_path):
    async def work():
        session = SQLiteSession("one", tmp_path / "x.db", sessions_table="chats", messages_table="lines")
        await session.add_items([ODD])
        session.close()
        store, _ = await imported(session.db_path)
        assert await store.items(key("one")) == [ODD]

    asyncio.run(work())


def test_one_of_many_sessions_can_be_chosen_and_named(tmp_path):
    async def work():
        for name in ("one", "two"):
            session = SQLiteSession(name, tmp_path / "x.db")
            await session.add_items([{"role": "user", "content": name}])
            session.close()
        store, report = await imported(tmp_path / "x.db", only=["two"], session_id="mine", agent_id="support")
        assert report.session_id == "mine"
        assert await store.items(SessionKey("support", "mine")) == [{"role": "user", "content": "two"}]

    asyncio.run(work())


def test_branches_become_sessions_with_their_parent_and_usage(tmp_path):
    async def work():
        session = AdvancedSQLiteSession(session_id="one", db_path=tmp_path / "x.db", create_tables=True)
        for question in ("first", "second"):
            (result,) = await run(session, question)
            await session.store_run_usage(result)
        await session.create_branch_from_turn(2, "try")
        (result,) = await run(session, "other second")
        await session.store_run_usage(result)
        wanted = {name: await session.get_items(branch_id=name) for name in ("main", "try")}
        session.close()

        store, report = await imported(tmp_path / "x.db")
        assert [one.key for one in report.sessions] == [key("one"), key("one--try")]
        assert await store.items(key("one")) == wanted["main"]
        assert await store.items(key("one--try")) == wanted["try"]
        main, branch = await store.load(key("one")), await store.load(key("one--try"))
        assert (main.parent_id, branch.parent_id, branch.name) == (None, "one", "try")
        assert (main.context.requests, main.context.total_tokens, main.context.cached_tokens) == (4, 308, 80)
        assert (main.context.cache_write_tokens, main.context.reasoning_tokens) == (12, 8)
        assert branch.context.requests == 2
        kinds = [
            "usage" if "record" in entry else entry["item"].get("role", "tool")
            for entry in await store.entries(key("one"))
        ]
        assert kinds == ["user", "tool", "tool", "assistant", "usage"] * 2

    asyncio.run(work())


def test_messages_of_sqlalchemy_come_in_its_order(tmp_path):
    async def work():
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
        session = SQLAlchemySession("one", engine=engine, create_tables=True)
        await run(session, "hello", "and again")
        wanted = await session.get_items()
        await engine.dispose()
        store, _ = await imported(tmp_path / "x.db")
        assert await store.items(key("one")) == wanted

    asyncio.run(work())


def test_a_row_that_is_no_json_is_left_out_as_the_sdk_does_and_reported(tmp_path):
    async def work():
        session = SQLiteSession("one", tmp_path / "x.db")
        await session.add_items([ODD, ODD])
        session.close()
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("UPDATE agent_messages SET message_data = '{broken' WHERE id = 1")
        connection.close()
        store, report = await imported(tmp_path / "x.db")
        assert await store.items(key("one")) == [ODD]
        assert [(dropped.session_id, dropped.what, dropped.count) for dropped in report.dropped] == [
            ("one", "message that is no JSON object", 1)
        ]

    asyncio.run(work())


def test_a_plain_session_in_a_database_with_branches_comes_in(tmp_path):
    async def work():
        session = AdvancedSQLiteSession(session_id="one", db_path=tmp_path / "x.db", create_tables=True)
        await run(session, "hello")
        session.close()
        plain = SQLiteSession("plain", tmp_path / "x.db")
        await plain.add_items([ODD])
        plain.close()
        store, report = await imported(tmp_path / "x.db")
        assert await store.items(key("plain")) == [ODD]
        assert report.dropped == ()

    asyncio.run(work())


def test_messages_that_no_branch_shows_are_reported(tmp_path):
    async def work():
        session = AdvancedSQLiteSession(session_id="one", db_path=tmp_path / "x.db", create_tables=True)
        await run(session, "hello")
        session.close()
        with sqlite3.connect(tmp_path / "x.db") as connection:
            connection.execute("DELETE FROM message_structure WHERE sequence_number = 1")
        connection.close()
        _, report = await imported(tmp_path / "x.db")
        assert [(dropped.what, dropped.count) for dropped in report.dropped] == [("message outside of every branch", 1)]

    asyncio.run(work())


def test_a_database_is_not_changed(tmp_path):
    async def work():
        session = SQLiteSession("one", tmp_path / "x.db")
        await session.add_items([ODD])
        session.close()
        before = (tmp_path / "x.db").read_bytes()
        (tmp_path / "x.db").chmod(0o400)
        await imported(tmp_path / "x.db")
        assert (tmp_path / "x.db").read_bytes() == before

    asyncio.run(work())


def test_a_conflict_takes_back_the_sessions_before_it(tmp_path):
    async def work():
        for name in ("one", "two"):
            session = SQLiteSession(name, tmp_path / "x.db")
            await session.add_items([ODD])
            session.close()
        store = MemoryStore()
        transfer = transfer_of(store)
        await transfer.import_file(tmp_path / "x.db", only=["two"])
        with pytest.raises(SessionExistsError):
            await transfer.import_file(tmp_path / "x.db")
        assert [info.id async for info in store.scan()] == ["two"]
        report = await transfer.import_file(tmp_path / "x.db", on_conflict="replace")
        assert [one.replaced for one in report.sessions] == [False, True]

    asyncio.run(work())


@pytest.mark.parametrize("kind", ["no sessions", "damaged", "not one", "messages alone"])
def test_a_database_that_is_none_of_the_sdk_is_refused(tmp_path, kind):
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    if kind == "messages alone":
        connection.execute("CREATE TABLE m (id, session_id, message_data, created_at)")
    connection.commit()
    connection.close()
    if kind == "damaged":
        data = bytearray(path.read_bytes())
        data[100:4000] = b"\xff" * 3900
        path.write_bytes(data)
    elif kind == "not one":
        path.write_bytes(b"SQLite format 3\0" + b"x" * 500)
    with pytest.raises(ImportRefusedError, match="nothing was imported"):
        asyncio.run(imported(path))


def test_more_sessions_than_allowed_are_refused(tmp_path):
    async def work():
        for name in ("one", "two"):
            session = SQLiteSession(name, tmp_path / "x.db")
            await session.add_items([ODD])
            session.close()
        with pytest.raises(ImportLimitError, match="max_sessions"):
            await imported(tmp_path / "x.db", limits=ImportLimits(max_sessions=1))

    asyncio.run(work())


def test_a_message_beyond_the_limit_is_refused(tmp_path):
    async def work():
        session = SQLiteSession("one", tmp_path / "x.db")
        await session.add_items([{"role": "user", "content": "x" * 100_000}])
        session.close()
        with pytest.raises(ImportRefusedError):
            await imported(tmp_path / "x.db", limits=ImportLimits(max_line_bytes=10_000))

    asyncio.run(work())
