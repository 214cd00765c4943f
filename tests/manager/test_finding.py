"""Find, list, page and search sessions through a manager."""

import asyncio

import pytest

from agents_sessions.errors import (
    AmbiguousPrefixError,
    ApprovalPendingError,
    InvalidValueError,
    SessionAmbiguousError,
    SessionClosedError,
    SessionNotFoundError,
)
from agents_sessions.manager import SessionManager
from agents_sessions.model.conversation import Conversation
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "file"])
def manager(request, tmp_path):
    return SessionManager(MemoryStore() if request.param == "memory" else FileStore(tmp_path, durability="process"))


def run(manager, work):
    async def within():
        try:
            return await work()
        finally:
            await manager.store.aclose()

    return asyncio.run(within())


async def some(manager, count=5, **facts):
    for number in range(count):
        await manager.create_session("a", session_id=f"s{number}", user_id="ann" if number % 2 else "bob", **facts)
        await asyncio.sleep(0.002)


def test_pages_lead_from_one_to_the_next(manager):
    async def work():
        await some(manager)
        first = await manager.list_sessions(limit=2)
        second = await manager.list_sessions(limit=2, cursor=first.next_cursor)
        last = await manager.list_sessions(limit=2, cursor=second.next_cursor)
        assert [info.id for info in [*first, *second, *last]] == ["s4", "s3", "s2", "s1", "s0"]
        assert (len(first), first[0].id, last.next_cursor) == (2, "s4", None)

    run(manager, work)


def test_the_last_active_comes_first_and_a_change_of_facts_is_no_activity(manager):
    async def work():
        await some(manager, 3)
        for number in range(3):
            await manager.add_message(f"s{number}", "hello")
            await asyncio.sleep(0.002)
        await manager.add_message("s1", "again")
        await manager.update_session("s0", mode="plan")
        return [info.id for info in await manager.list_sessions()], (await manager.latest_session()).id

    assert run(manager, work) == (["s1", "s2", "s0"], "s1")


def test_the_latest_session_is_that_of_a_folder_or_there_is_none(manager):
    async def work():
        for folder in ("/one", "/two"):
            await manager.create_session("a", session_id=folder[1:], working_dir=folder)
        assert (await manager.latest_session(working_dir="/one")).id == "one"
        assert await manager.latest_session(working_dir="/three") is None

    run(manager, work)


def test_every_session_is_met_once_while_they_change(manager):
    async def work():
        await some(manager, 30)
        seen = []
        async for info in manager.iter_sessions():
            seen.append(info.id)
            await manager.add_message(f"s{len(seen) % 30}", "hello")
        assert sorted(seen) == sorted(f"s{number}" for number in range(30))
        assert [info.id async for info in manager.iter_sessions(user_id="nobody")] == []

    run(manager, work)


def test_sessions_of_a_user_and_of_an_agent_come_in_pages_and_are_counted(manager):
    async def work():
        await some(manager)
        await manager.update_session("s1", status="closed")
        assert {info.id for info in await manager.get_sessions_by_user("ann")} == {"s1", "s3"}
        assert len(await manager.get_sessions_by_agent("a", limit=3)) == 3
        counts = [await manager.count_sessions(), await manager.count_sessions(user_id="ann")]
        return [*counts, await manager.get_active_session_count(), await manager.get_active_session_count("ann")]

    assert run(manager, work) == [5, 2, 4, 1]


def test_an_unknown_filter_is_refused_before_anything_is_read(manager):
    calls = [
        lambda: manager.list_sessions(colour="red"),
        lambda: manager.count_sessions(colour="red"),
        lambda: manager.latest_session(colour="red"),
        lambda: manager.search("x", colour="red"),
        lambda: manager.delete_sessions(colour="red"),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError, match="colour is no filter; there are active_after"):
            run(manager, call)
    with pytest.raises(InvalidValueError, match="colour"):
        manager.iter_sessions(colour="red")


def test_one_session_is_found_or_it_is_none(manager):
    async def work():
        await some(manager, 1)
        assert (await manager.find_session("s0")).id == "s0"
        assert await manager.find_session("s9") is None
        assert await manager.find_session("s0", agent_id="b") is None
        assert [await manager.session_exists("s0"), await manager.session_exists("s9")] == [True, False]
        assert not await manager.session_exists("s0", agent_id="b")

    run(manager, work)


def test_a_session_comes_with_its_newest_messages(manager):
    async def work():
        await some(manager, 1, metadata={"k": 1})
        for number in range(4):
            await manager.add_message("s0", f"m{number}", role="assistant" if number % 2 else "user")
        found = await manager.get_session("s0", include_messages=3)
        assert isinstance(found, Conversation)
        said = [(message.role, message.text) for message in found.messages]
        assert said == [("assistant", "m1"), ("user", "m2"), ("assistant", "m3")]
        assert (found.metadata, found.seq, "messages" in found.header()) == ({"k": 1}, 4, False)
        assert (await manager.get_session("s0", include_messages=0)).messages == ()

    run(manager, work)


@pytest.mark.parametrize(("text", "role"), [("", "user"), (" \n", "user"), (None, "user"), ("x", "system")])
def test_a_message_that_is_none_is_refused(manager, text, role):
    async def work():
        await some(manager, 1)
        with pytest.raises(InvalidValueError):
            await manager.add_message("s0", text, role=role)
        assert (await manager.get_session("s0")).seq == 0

    run(manager, work)


def test_a_closed_session_takes_no_message(manager):
    async def work():
        await some(manager, 1)
        await manager.update_session("s0", status="closed")
        with pytest.raises(SessionClosedError):
            await manager.add_message("s0", "hello")
        with pytest.raises(SessionNotFoundError):
            await manager.add_message("s9", "hello")

    run(manager, work)


def test_a_message_does_not_come_between_a_call_and_its_approval(tmp_path):
    from agents import Agent, RunConfig, function_tool
    from agents.testing import ScriptedModel, function_call

    pay = function_tool(lambda: "paid", name_override="pay", needs_approval=True)
    clerk = Agent(name="a", model=ScriptedModel([[function_call("pay", "{}", call_id="c1")]]), tools=[pay])
    manager = SessionManager(MemoryStore(), agents=clerk, run_config=RunConfig(tracing_disabled=True))

    async def work():
        await some(manager, 1)
        await manager.send_message("s0", "pay")
        with pytest.raises(ApprovalPendingError):
            await manager.add_message("s0", "hello")

    run(manager, work)


def test_what_a_person_types_is_an_id_the_beginning_of_one_or_a_name(manager):
    async def work():
        for session in ("41c6aaaa-1", "41c6bbbb-2", "77ddcccc-3"):
            await manager.create_session("a", session_id=session, name=f"Order {session[-1]}")
        assert (await manager.resolve("77dd")).short_id == "77ddcccc"
        assert (await manager.resolve(" 41c6aaaa-1 ")).id == "41c6aaaa-1"
        assert (await manager.resolve("Order 2")).id == "41c6bbbb-2"
        with pytest.raises(AmbiguousPrefixError, match="'41c6aaaa-1' of agent 'a', '41c6bbbb-2'") as caught:
            await manager.resolve("41c6")
        assert [key.session_id for key in caught.value.candidates] == ["41c6aaaa-1", "41c6bbbb-2"]
        for missing in ("77d", "Order", "99999"):
            with pytest.raises(SessionNotFoundError, match="4 or more characters"):
                await manager.resolve(missing)
        with pytest.raises(InvalidValueError):
            await manager.resolve(" ")
        with pytest.raises(SessionNotFoundError):
            await manager.get_session("77dd")

    run(manager, work)


def test_an_id_of_two_agents_is_ambiguous_to_a_person_too(manager):
    async def work():
        from builders import info_of

        from agents_sessions.keys import SessionKey

        for agent in "ab":
            await manager.store.create(info_of(SessionKey(agent, "same-id")))
        with pytest.raises(SessionAmbiguousError):
            await manager.resolve("same-id")
        with pytest.raises(AmbiguousPrefixError):
            await manager.resolve("same")

    run(manager, work)


def test_a_manager_has_a_current_session_of_its_own(manager):
    async def work():
        await some(manager, 2)
        assert await manager.current_session() is None
        assert (await manager.switch_session("s1")).id == "s1"
        with pytest.raises(SessionNotFoundError):
            await manager.switch_session("s9")
        assert (await manager.current_session()).id == "s1"
        assert await SessionManager(manager.store).current_session() is None
        await manager.delete_session("s1")
        assert await manager.current_session() is None

    run(manager, work)


def test_a_search_shows_where_it_is(manager):
    async def work():
        await some(manager, 2, name="Refund of an order")
        await manager.add_message("s1", "Where is my refund?")
        hits = await manager.search("refund", user_id="ann")
        assert [(hit.session_id, hit.kind, hit.seq) for hit in hits] == [("s1", "name", None), ("s1", "message", 1)]
        assert [hit.snippet[slice(*mark)] for hit in hits for mark in hit.marks] == ["Refund", "refund"]
        assert list(await manager.search("refund", kinds=["message"], user_id="bob")) == []
        first = await manager.search("refund", limit=2)
        assert len(await manager.search("refund", limit=2, cursor=first.next_cursor)) == 1

    run(manager, work)
