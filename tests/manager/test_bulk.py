"""Make and remove many sessions at once."""

import asyncio

import pytest

from agents_sessions.errors import InvalidValueError, SessionBusyError, SessionExistsError, SessionNotFoundError
from agents_sessions.features import bulk
from agents_sessions.manager import SessionManager
from agents_sessions.stores.memory import MemoryStore


def run(work, **options):
    return asyncio.run(work(SessionManager(MemoryStore(), **options)))


def test_each_new_session_has_its_outcome(monkeypatch):
    async def work(manager):
        new = [
            {"agent_id": "a", "session_id": "x"},
            {"agent_id": "a", "user_id": "ann"},
            {"agent_id": "b", "session_id": "x"},
        ]
        return await manager.create_sessions(new), await manager.count_sessions()

    monkeypatch.setattr(bulk, "AT_ONCE", 1)
    (first, second, third), count = run(work)
    assert (first.ok, first.session_id, first.info.agent_id) == (True, "x", "a")
    assert (second.ok, second.info.user_id, second.session_id) == (True, "ann", second.info.id)
    assert (third.ok, third.session_id, type(third.error)) == (False, "x", SessionExistsError)
    assert count == 2


@pytest.mark.parametrize("wrong", ["x", {"session_id": "x"}, {"agent_id": "a", "colour": "red"}])
def test_nothing_is_made_if_one_is_no_session(wrong):
    async def work(manager):
        with pytest.raises(InvalidValueError, match=r"sessions\[1\]"):
            await manager.create_sessions([{"agent_id": "a"}, wrong])
        return await manager.count_sessions()

    assert run(work) == 0


def test_only_some_are_worked_on_at_a_time():
    async def work(_manager):
        running, most = 0, 0

        async def act():
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

        await bulk.outcomes(bulk.Job(str(number), act) for number in range(100))
        return most

    assert run(work) == bulk.AT_ONCE


def test_those_are_removed_that_are_named_or_asked_for():
    async def work(manager):
        await manager.create_sessions({"agent_id": "a", "session_id": str(n), "user_id": "ann"} for n in range(6))
        await manager.create_session("a", session_id="bobs", user_id="bob")
        named = await manager.delete_sessions(["0", "1", "9", "0"])
        assert [(each.session_id, each.ok) for each in named] == [("0", True), ("1", True), ("9", False)]
        assert isinstance(named[2].error, SessionNotFoundError)
        asked = await manager.delete_sessions(user_id="ann")
        assert {each.session_id for each in asked if each.ok} == {"2", "3", "4", "5"}
        return [info.id for info in await manager.list_sessions()]

    assert run(work) == ["bobs"]


def test_one_that_is_held_stops_no_other():
    async def work(manager):
        await manager.create_sessions({"agent_id": "a", "session_id": str(number)} for number in range(3))
        info = await manager.get_session("1")
        async with manager.store.turn_lock(info.key):
            outcomes = await manager.delete_sessions(agent_id="a")
        assert [each.ok for each in outcomes] == [True, False, True]
        assert isinstance(outcomes[1].error, SessionBusyError)
        return await manager.count_sessions()

    assert run(work, lock_timeout=0.01) == 1


def test_all_are_never_removed_by_an_empty_question():
    async def work(manager):
        await manager.create_session("a", session_id="s")
        for wrong in ({}, {"user_id": None}, {"session_ids": "s"}, {"session_ids": ["s"], "user_id": "ann"}):
            with pytest.raises(InvalidValueError):
                await manager.delete_sessions(**wrong)
        assert await manager.delete_sessions([]) == []
        return await manager.count_sessions()

    assert run(work) == 1
