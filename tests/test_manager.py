import asyncio
import gc
import inspect
import subprocess
import sys
import traceback

import pytest
from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message

from agents_sessions.errors import (
    InvalidValueError,
    SessionAmbiguousError,
    SessionClosedError,
    SessionCorruptedError,
    SessionExistsError,
    SessionIdError,
    SessionNotFoundError,
    SessionPausedError,
)
from agents_sessions.manager import SessionManager
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path) -> SessionStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "sessions", durability="process")


def chatty(name="support", answers=20) -> Agent:
    return Agent(name=name, model=ScriptedModel([[assistant_message(f"answer {n}")] for n in range(answers)]))


def within(store, act, *agents):
    """Do something with a manager."""

    async def run():
        async with SessionManager(store, agents=agents or [chatty()], run_config=QUIET) as manager:
            return await act(manager)

    return asyncio.run(run())


# --- create ---


def test_a_session_gets_an_id_of_its_own(store):
    async def act(manager):
        return [(await manager.create_session("support")).id for _ in range(2)]

    one, two = within(store, act)
    assert one != two


def test_a_session_keeps_its_facts(store):
    facts = {
        "user_id": "u-17",
        "name": "Order 42",
        "session_type": "scheduled",
        "mode": "plan",
        "max_turns": 3,
        "history_limit": 20,
        "metadata": {"tier": ["gold", 1]},
    }

    async def act(manager):
        created = await manager.create_session("support", session_id="order-42", **facts)
        return created, await manager.get_session("order-42")

    created, found = within(store, act)
    assert created == found
    assert facts.items() <= found.model_dump().items()


def test_an_id_is_taken_once(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        with pytest.raises(SessionExistsError):
            await manager.create_session("support", session_id="s")

    within(store, act)


def test_an_id_is_taken_for_every_agent(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        with pytest.raises(SessionExistsError):
            await manager.create_session("billing", session_id="s")

    within(store, act, chatty(), chatty("billing"))


def test_of_many_agents_that_take_one_id_at_once_one_gets_it(store):
    async def scenario():
        managers = [SessionManager(store) for _ in range(3)]
        made = [managers[n % 3].create_session(f"agent {n}", session_id="s") for n in range(9)]
        return await asyncio.gather(*made, return_exceptions=True), await store.find("s")

    made, found = asyncio.run(scenario())
    assert sorted(type(one).__name__ for one in made) == ["SessionExistsError"] * 8 + ["SessionInfo"]
    assert len(found) == 1


MAKE = """
import asyncio, sys
from agents_sessions import SessionManager
from agents_sessions.errors import SessionExistsError

async def main():
    manager = SessionManager(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(40):
        try:
            await manager.create_session(sys.argv[2], session_id=f"s{number}")
        except SessionExistsError:
            continue
        print(f"s{number}")

asyncio.run(main())
"""


def test_of_two_processes_that_take_one_id_at_once_one_gets_it(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE, tmp_path, agent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for agent in ("sales", "support")
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    made = [process.communicate(timeout=60)[0].split() for process in started]
    assert sorted(made[0] + made[1]) == sorted(f"s{number}" for number in range(40))
    assert sorted(path.name for path in tmp_path.iterdir()) in (["sales"], ["support"], ["sales", "support"])


def test_who_gets_or_makes_a_session_at_once_gets_the_same(store):
    async def scenario():
        asked = [SessionManager(store).get_or_create_session("a", session_id="s", name=str(n)) for n in range(9)]
        return await asyncio.gather(*asked)

    infos = asyncio.run(scenario())
    assert infos == infos[:1] * 9


def test_a_session_that_is_there_keeps_its_facts_when_it_is_got_or_made(store):
    async def scenario():
        manager = SessionManager(store)
        made = await manager.create_session("a", session_id="s", name="first")
        return made, await manager.get_or_create_session("a", session_id="s", name="second")

    made, got = asyncio.run(scenario())
    assert (got, got.name) == (made, "first")


def test_a_session_of_another_agent_is_not_got(store):
    async def scenario():
        manager = SessionManager(store)
        await manager.create_session("a", session_id="s")
        await manager.get_or_create_session("b", session_id="s")

    with pytest.raises(SessionExistsError):
        asyncio.run(scenario())


def test_an_empty_id_is_refused(store):
    with pytest.raises(SessionIdError):
        within(store, lambda manager: manager.create_session("support", session_id=""))


WRONG_FACTS = [
    ({"metadata": {"token": b"SECRET"}}, "metadata"),
    ({"metadata": {"token": {"SECRET"}}}, "metadata"),
    ({"metadata": {"token": float("nan"), "SECRET": 1}}, "metadata"),
    ({"metadata": "SECRET"}, "metadata"),
    ({"name": ["SECRET"]}, "name"),
    ({"user_id": b"SECRET\xff", "mode": {"SECRET": 1}}, "user_id must be a valid string, mode must be a valid string"),
    ({"max_turns": "SECRET"}, "max_turns"),
    ({"history_limit": 0}, "history_limit"),
]


def assert_refuses(caught, fields):
    assert fields in str(caught.value)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("facts", "fields"), [*WRONG_FACTS, ({"session_type": "SECRET"}, "session_type")])
def test_a_session_of_facts_that_do_not_fit_is_refused_without_their_values(store, facts, fields):
    async def act(manager):
        with pytest.raises(InvalidValueError) as caught:
            await manager.create_session("support", **facts)
        assert_refuses(caught, fields)
        return await manager.list_sessions()

    assert within(store, act) == []


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m, info: m.create_session(chatty()), "agent_id must be .*, not a 'Agent'; pass its .name"),
        (lambda m, info: m.send_message(info, "hello"), "session_id must be .*, not a 'SessionInfo'; pass its .id"),
        (lambda m, info: m.get_session(info), "session_id must be .*, not a 'SessionInfo'; pass its .id"),
        (lambda m, info: m.get_session(info.id, agent_id=7), "agent_id must be .*, not a 'int'$"),
        (lambda m, info: m.update_session(info.id, status="done"), "must be 'active', 'paused', .* or 'archived'"),
        (lambda m, info: m.list_sessions(status="done"), "status must be one of 'active', 'paused', .*'archived'"),
        (lambda m, info: m.list_sessions(session_type="bot"), "session_type must be one of 'user', "),
        (lambda m, info: m.list_sessions(limit=-5), "limit must be a whole number from 1 to 1000, not -5"),
        (lambda m, info: m.list_sessions(colour="red"), "colour is no filter; there are active_after, "),
        (lambda m, info: m.get_history(info.id, limit=-1), "limit must be 0 or more"),
        (lambda m, info: m.get_recent_messages(info.id, limit=-1), "limit must be 0 or more"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_to_pass_instead(store, act, message):
    async def run(manager):
        with pytest.raises((InvalidValueError, SessionIdError), match=message) as caught:
            await act(manager, await manager.create_session("support", metadata={"token": "SECRET"}))
        assert "SECRET" not in str(caught.value)

    within(store, run)


def test_a_stream_of_a_wrong_session_is_refused_by_the_call():
    async def run(manager):
        with pytest.raises(SessionIdError, match=r"pass its \.id"):
            manager.stream_message(await manager.create_session("support"), "hello")

    within(MemoryStore(), run)


def test_a_refused_value_is_told_field_by_field():
    async def run(manager):
        with pytest.raises(InvalidValueError) as caught:
            await manager.create_session("support", max_turns=0, mode=5)
        return caught.value.fields

    assert within(MemoryStore(), run) == {
        "mode": "must be a valid string",
        "max_turns": "must be greater than or equal to 1",
    }


def test_a_root_may_begin_at_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SessionManager("~/sessions").store.root == tmp_path / "sessions"


# --- the face ---

DAILY = ("agent_id", "lock_timeout", "start", "on_failure", "on_pending")


METHODS = [name for name, value in inspect.getmembers(SessionManager, callable) if not name.startswith("_")]


@pytest.mark.parametrize(
    ("method", "daily"),
    [
        ("send_message", DAILY),
        ("stream_message", DAILY),
        ("retry", DAILY[:-1]),
        ("stream_retry", DAILY[:-1]),
        ("resume", ("agent_id", "lock_timeout", "on_failure")),
        ("stream_resume", ("agent_id", "lock_timeout", "on_failure")),
    ],
)
def test_help_shows_the_arguments_of_every_day(method, daily):
    assert set(daily) <= set(inspect.signature(getattr(SessionManager, method)).parameters)


@pytest.mark.parametrize("name", METHODS)
def test_help_shows_defaults_that_can_be_read(name):
    assert "object at 0x" not in str(inspect.signature(getattr(SessionManager, name)))


def test_an_argument_that_is_not_given_is_called_so():
    assert "name: 'str | NotGiven | None' = NOT_GIVEN" in str(inspect.signature(SessionManager.update_session))


# --- get ---


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("get_session", ()),
        ("update_session", ()),
        ("delete_session", ()),
        ("clear_session", ()),
        ("session", ()),
        ("send_message", ("hello",)),
        ("resume", ()),
        ("retry", ()),
        ("pending_approvals", ()),
        ("get_history", ()),
        ("get_recent_messages", ()),
    ],
)
def test_a_missing_session_is_an_error_of_its_own(store, method, more):
    with pytest.raises(SessionNotFoundError, match="there is no session 'nope'"):
        within(store, lambda manager: getattr(manager, method)("nope", *more))


@pytest.mark.parametrize("method", ["delete_session", "clear_session", "resume", "retry", "get_history"])
def test_a_missing_session_of_a_named_agent_is_an_error_of_its_own(store, method):
    with pytest.raises(SessionNotFoundError, match="there is no session 'nope' of agent 'support'"):
        within(store, lambda manager: getattr(manager, method)("nope", agent_id="support"))


def test_a_missing_session_leaves_no_file(tmp_path):
    with pytest.raises(SessionNotFoundError):
        within(FileStore(tmp_path / "sessions"), lambda manager: manager.send_message("no", "hi", agent_id="support"))
    assert not list(tmp_path.rglob("*"))


def test_a_missing_session_of_a_stream_is_an_error_of_its_reply(store):
    with pytest.raises(SessionNotFoundError):
        within(store, lambda manager: manager.stream_message("nope", "hello").reply())


async def twins(manager):
    for agent_id in ("support", "billing"):
        await manager.store.create(SessionInfo(id="s", agent_id=agent_id))


def test_an_id_of_two_agents_asks_for_the_agent(store):
    async def act(manager):
        await twins(manager)
        with pytest.raises(SessionAmbiguousError, match=r"billing, support|support, billing"):
            await manager.get_session("s")

    within(store, act, chatty(), chatty("billing"))


def test_an_id_of_two_agents_is_told_apart_by_agent_id(store):
    async def act(manager):
        await twins(manager)
        reply = await manager.send_message("s", "hello", agent_id="billing")
        infos = [await manager.get_session("s", agent_id=agent_id) for agent_id in ("support", "billing")]
        return reply.last_agent, [info.context.turns for info in infos]

    assert within(store, act, chatty(), chatty("billing")) == ("billing", [0, 1])


def test_a_session_that_was_made_anew_for_another_agent_is_found(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await manager.get_session("s")
        await SessionManager(store).delete_session("s")
        await SessionManager(store).create_session("billing", session_id="s")
        return (await manager.get_session("s")).agent_id

    assert within(store, act, chatty(), chatty("billing")) == "billing"


# --- list ---


async def some(manager):
    for number in range(4):
        await manager.create_session(
            "support" if number % 2 else "billing",
            session_id=str(number),
            user_id="ann" if number < 3 else "bob",
            session_type="user" if number else "scheduled",
        )
        await asyncio.sleep(0.002)


def listed(store, **filters):
    async def act(manager):
        await some(manager)
        await manager.update_session("2", status="closed")
        return [info.id for info in await manager.list_sessions(**filters)]

    return within(store, act, chatty(), chatty("billing"))


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({}, ["2", "3", "1", "0"]),
        ({"agent_id": "billing"}, ["2", "0"]),
        ({"user_id": "ann"}, ["2", "1", "0"]),
        ({"status": "closed"}, ["2"]),
        ({"session_type": "scheduled"}, ["0"]),
        ({"user_id": "ann", "status": "active"}, ["1", "0"]),
        ({"limit": 2}, ["2", "3"]),
        ({"agent_id": "sales"}, []),
    ],
)
def test_sessions_are_listed_by_what_is_given_the_newest_first(store, filters, ids):
    assert listed(store, **filters) == ids


def test_a_store_without_sessions_lists_none(store):
    assert within(store, lambda manager: manager.list_sessions()) == []


# --- update, clear, delete ---


def test_an_update_changes_what_is_given_and_nothing_else(store):
    async def act(manager):
        before = await manager.create_session("support", session_id="s", user_id="ann", metadata={"a": 1})
        return before, await manager.update_session("s", name="Order 42")

    before, after = within(store, act)
    assert after.name == "Order 42"
    moved = {"name", "title", "updated_at", "last_active_at"}  # without entries, the last activity is the last change
    assert after.model_dump(exclude=moved) == before.model_dump(exclude=moved)


def test_an_update_can_take_a_fact_away(store):
    async def act(manager):
        await manager.create_session("support", session_id="s", name="old")
        return await manager.update_session("s", name=None)

    assert within(store, act).name is None


def test_an_update_leaves_the_history(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await manager.send_message("s", "hello")
        before = await manager.get_history("s")
        await manager.update_session("s", metadata={"a": 1})
        return before == await manager.get_history("s")

    assert within(store, act)


@pytest.mark.parametrize(("facts", "fields"), [*WRONG_FACTS, ({"status": "SECRET"}, "status")])
def test_an_update_to_what_does_not_fit_is_refused_without_its_values_and_changes_nothing(store, facts, fields):
    async def act(manager):
        before = await manager.create_session("support", session_id="s")
        with pytest.raises(InvalidValueError) as caught:
            await manager.update_session("s", **facts)
        assert_refuses(caught, fields)
        return before == await manager.get_session("s")

    assert within(store, act)


@pytest.mark.parametrize(("status", "error"), [("paused", SessionPausedError), ("closed", SessionClosedError)])
def test_a_session_that_is_not_active_takes_no_message(store, status, error):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await manager.update_session("s", status=status)
        with pytest.raises(error):
            await manager.send_message("s", "hello")
        await manager.update_session("s", status="active")
        return await manager.send_message("s", "hello")

    assert within(store, act).status == "completed"


def test_a_cleared_session_stays_without_a_history(store):
    async def act(manager):
        await manager.create_session("support", session_id="s", name="Order 42")
        await manager.send_message("s", "hello")
        await manager.clear_session("s")
        return await manager.get_session("s"), await manager.get_history("s")

    info, history = within(store, act)
    assert (info.name, info.context.items, history) == ("Order 42", 0, [])


def test_a_cleared_session_numbers_on(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await manager.send_message("s", "hello")
        await manager.clear_session("s")
        return await manager.send_message("s", "hello")

    assert within(store, act).entries[0].seq == 5


def test_a_deleted_session_is_gone(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await manager.send_message("s", "hello")
        await manager.delete_session("s")
        with pytest.raises(SessionNotFoundError):
            await manager.get_session("s")
        return await manager.list_sessions()

    assert within(store, act) == []


# --- the SDK's session ---


def test_a_session_can_be_given_to_the_runner(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        session = await manager.session("s")
        await Runner.run(chatty(), "hello", session=session, run_config=QUIET)
        return [message.text for message in await manager.get_recent_messages("s")]

    assert within(store, act) == ["hello", "answer 0"]


def test_a_session_that_is_awaited_says_at_once_that_there_is_none(store):
    async def act(manager):
        with pytest.raises(SessionNotFoundError):
            await manager.session("s")
        with pytest.raises(SessionNotFoundError):
            await manager.session("s").add_items([{"role": "user", "content": "lost"}])
        return await manager.list_sessions()

    assert within(store, act) == []


def test_a_managed_session_goes_on_after_a_bare_run(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await Runner.run(chatty(), "hello", session=manager.session("s"), run_config=QUIET)
        await manager.send_message("s", "more")
        return [message.text for message in await manager.get_recent_messages("s")]

    assert within(store, act) == ["hello", "answer 0", "more", "answer 0"]


# --- history ---


async def talk(manager, turns=5):
    await manager.create_session("support", session_id="s")
    for number in range(turns):
        await manager.send_message("s", f"question {number}")


def test_the_history_comes_in_order(store):
    async def act(manager):
        await talk(manager)
        return [entry.seq for entry in await manager.get_history("s")]

    assert within(store, act) == list(range(1, 21))


@pytest.mark.parametrize(
    ("window", "seqs"),
    [
        ({"limit": 3}, [18, 19, 20]),
        ({"after": 18}, [19, 20]),
        ({"after": 3, "limit": 2}, [4, 5]),
        ({"before": 9, "limit": 2}, [7, 8]),
    ],
)
def test_the_history_comes_in_parts(store, window, seqs):
    async def act(manager):
        await talk(manager)
        return [entry.seq for entry in await manager.get_history("s", **window)]

    assert within(store, act) == seqs


@pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (3, 3), (10, 10), (50, 10)])
def test_recent_messages_are_the_newest_in_order(store, limit, count):
    async def act(manager):
        await talk(manager)
        return [message.text for message in await manager.get_recent_messages("s", limit=limit)]

    everything = [text for n in range(5) for text in (f"question {n}", f"answer {n}")]
    assert within(store, act) == everything[len(everything) - count :]


# --- the manager itself ---


def test_a_path_is_a_file_store(tmp_path):
    assert isinstance(SessionManager(tmp_path).store, FileStore)


def test_a_manager_that_is_closed_twice_is_closed(store):
    async def run():
        manager = SessionManager(store)
        await manager.aclose()
        await manager.aclose()

    asyncio.run(run())


class Closing(MemoryStore):
    closed = 0

    async def aclose(self):
        self.closed += 1


def test_a_store_that_was_given_stays_open():
    async def run():
        async with SessionManager(Closing()) as manager:
            pass
        return manager.store.closed

    assert asyncio.run(run()) == 0


def test_a_store_that_the_manager_made_is_closed_once_its_streams_have_ended(tmp_path, monkeypatch):
    open_turns = []

    async def aclose(store):
        open_turns.append([info.context.open_turn async for info in store.scan()])

    monkeypatch.setattr(FileStore, "aclose", aclose)

    async def run():
        async with SessionManager(tmp_path, agents=[chatty()], run_config=QUIET) as manager:
            await manager.create_session("support", session_id="s")
            stream = manager.stream_message("s", "hello")
            while (await manager.get_session("s")).context.items == 0:
                await asyncio.sleep(0)
        return await stream.reply()

    assert asyncio.run(run()).status in ("cancelled", "completed")
    assert open_turns == [[None]]


def test_a_manager_serves_several_event_loops_one_after_another(store):
    manager = SessionManager(store, agents=[chatty()], run_config=QUIET)
    asyncio.run(manager.create_session("support", session_id="s"))
    texts = [asyncio.run(manager.send_message("s", "hello")).text for _ in range(3)]
    assert texts == ["answer 0", "answer 1", "answer 2"]


def test_a_stream_that_has_ended_is_forgotten(store):
    async def act(manager):
        await manager.create_session("support", session_id="s")
        await manager.stream_message("s", "hello").reply()
        async with asyncio.timeout(10):
            while len(manager._streams):  # as soon as its task has told everyone that it is done
                await asyncio.sleep(0)
                gc.collect()

    within(store, act)


def test_every_method_says_what_it_is_for():
    public = [getattr(SessionManager, name) for name in dir(SessionManager) if not name.startswith("_")]
    assert len(public) > 15
    assert all(inspect.getdoc(member) for member in public)


def test_a_session_that_is_damaged_is_not_called_missing(tmp_path):
    async def run():
        manager = SessionManager(FileStore(tmp_path, durability="process"))
        info = await manager.create_session("support")
        manager.store.path(info.key).write_bytes(b"damaged")
        fresh = SessionManager(manager.store)
        with pytest.raises(SessionCorruptedError):
            await fresh.get_session(info.id)
        with pytest.raises(SessionExistsError):
            await fresh.create_session("billing", session_id=info.id)

    asyncio.run(run())
