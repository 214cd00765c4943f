"""How many sessions may be open."""

import asyncio
import subprocess
import sys
import textwrap

import pytest

from agents_sessions.errors import InvalidValueError, SessionBusyError, TooManySessionsError
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.query import SessionQuery
from agents_sessions.stores.file.store import FileStore


def within(store, act, **limits):
    async def run():
        async with SessionManager(store, **limits) as manager:
            return await act(manager)

    return asyncio.run(run())


def make(manager, *ids, **facts):
    async def run():
        for session_id in ids:
            await manager.create_session("support", session_id=session_id, **facts)

    return run()


def test_no_more_sessions_are_made_than_may_be_open(store):
    async def act(manager):
        await make(manager, "1", "2")
        with pytest.raises(TooManySessionsError) as caught:
            await make(manager, "3")
        assert await store.count(SessionQuery()) == 2
        return caught.value

    error = within(store, act, max_sessions=2)
    assert (error.setting, error.limit, error.user_id) == ("max_sessions", 2, None)
    assert "max_sessions is 2" in str(error)


def test_the_error_names_those_that_were_idle_for_longest_and_may_go(store):
    async def act(manager):
        await make(manager, "1", "2", "3", "4", "5")
        await make(manager, "pinned", pinned=True)
        await manager.close_session("2")
        await make(manager, "6")
        await manager.pause_session("3")  # a change of a session without entries is its last activity
        with pytest.raises(TooManySessionsError) as caught:
            await make(manager, "7")
        return [key.session_id for key in caught.value.oldest]

    oldest = within(store, act, max_sessions=6)
    assert len(oldest) == 3
    assert set(oldest) <= {"1", "4", "5", "6"}
    assert "1" in oldest


def test_what_is_closed_or_gone_does_not_count(store):
    async def act(manager):
        await make(manager, "1", "2", "3")
        await manager.close_session("1")
        await make(manager, "4")
        await manager.delete_session("2")
        await make(manager, "5")
        await store.set_aside(SessionKey("support", "3"))
        await make(manager, "6")
        with pytest.raises(TooManySessionsError):
            await make(manager, "7")

    within(store, act, max_sessions=3)


def test_what_is_paused_counts(store):
    async def act(manager):
        await make(manager, "1")
        await manager.pause_session("1")
        with pytest.raises(TooManySessionsError):
            await make(manager, "2")

    within(store, act, max_sessions=1)


def test_each_user_has_a_limit_of_their_own(store):
    async def act(manager):
        await make(manager, "1", "2", user_id="ann")
        await make(manager, "3", user_id="bob")
        await make(manager, "4", "5", "6")  # of no user
        with pytest.raises(TooManySessionsError, match="of user 'ann'") as caught:
            await make(manager, "7", user_id="ann")
        return caught.value

    error = within(store, act, max_sessions_per_user=2)
    assert (error.setting, error.user_id) == ("max_sessions_per_user", "ann")
    assert {key.session_id for key in error.oldest} == {"1", "2"}


def test_a_closed_session_is_reopened_only_if_there_is_room(store):
    async def act(manager):
        await make(manager, "1")
        await manager.close_session("1")
        await make(manager, "2")
        for reopen in (manager.reopen_session("1"), manager.update_session("1", status="active")):
            with pytest.raises(TooManySessionsError):
                await reopen
        assert (await manager.get_session("1")).status == "closed"
        await manager.close_session("2")
        assert (await manager.reopen_session("1")).is_active

    within(store, act, max_sessions=1)


def test_a_session_is_given_to_another_user_only_if_they_have_room(store):
    async def act(manager):
        await make(manager, "1", user_id="ann")
        await make(manager, "2", user_id="bob")
        with pytest.raises(TooManySessionsError, match="'bob'"):
            await manager.update_session("1", user_id="bob")
        await manager.update_session("2", status="closed")
        assert (await manager.update_session("1", user_id="bob", status="paused")).user_id == "bob"
        assert (await manager.update_session("1", user_id="bob", name="again")).name == "again"

    within(store, act, max_sessions_per_user=1)


def test_a_fork_needs_room(store):
    async def act(manager):
        await make(manager, "1", user_id="ann")
        await manager.branches.fork("1", new_id="2")
        with pytest.raises(TooManySessionsError, match="'ann'"):
            await manager.branches.fork("1")

    within(store, act, max_sessions_per_user=2)


def test_a_user_is_told_of_no_session_of_another_one(store):
    async def act(manager):
        await make(manager, "1", user_id="ann")
        await make(manager, "2", user_id="bob")
        with pytest.raises(TooManySessionsError) as caught:
            await manager.for_user("bob").create_session("support")
        return [key.session_id for key in caught.value.oldest]

    assert within(store, act, max_sessions=2) == ["2"]


def test_a_session_that_is_there_needs_no_room(store):
    async def act(manager):
        await make(manager, "1")
        return (await manager.get_or_create_session("support", session_id="1")).id

    assert within(store, act, max_sessions=1) == "1"


def test_many_at_once_do_not_pass_the_limit(store, monkeypatch):
    count = store.count

    async def slowly(query):
        found = await count(query)
        await asyncio.sleep(0.01)  # time in which another one could make a session
        return found

    async def act(manager):
        monkeypatch.setattr(store, "count", slowly)
        made = await asyncio.gather(*(manager.create_session("support") for _ in range(6)), return_exceptions=True)
        return [type(each).__name__ for each in made]

    names = within(store, act, max_sessions=3)
    assert (names.count("SessionInfo"), names.count("TooManySessionsError")) == (3, 3)


def test_two_processes_do_not_pass_the_limit(tmp_path):
    script = f"""
        import asyncio
        from agents_sessions import SessionManager
        from agents_sessions.errors import TooManySessionsError

        async def main():
            async with SessionManager({str(tmp_path)!r}, max_sessions=10) as manager:
                for _ in range(10):
                    try:
                        await manager.create_session("support", user_id="ann")
                    except TooManySessionsError:
                        pass

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert asyncio.run(FileStore(tmp_path).count(SessionQuery())) == 10


def test_without_limits_nothing_is_counted_or_locked(store, monkeypatch):
    def never(*_):
        pytest.fail("counted")

    async def act(manager):
        monkeypatch.setattr(store, "count", never)
        monkeypatch.setattr(store, "reserve", never)
        await manager.create_session("support")

    within(store, act)


def test_a_create_costs_one_count(store, monkeypatch):
    counted = []

    async def act(manager):
        count = store.count

        async def counting(query):
            counted.append(query)
            return await count(query)

        monkeypatch.setattr(store, "count", counting)
        await make(manager, "1", "2", "3")

    within(store, act, max_sessions=10)
    assert len(counted) == 3


def test_a_failed_create_gives_the_right_to_make_back(store):
    async def act(manager):
        await make(manager, "1")
        for _ in range(2):
            with pytest.raises(TooManySessionsError):
                await make(manager, "2")
        with pytest.raises(Exception, match="exists"):
            async with SessionManager(store, max_sessions=5) as other:
                await make(other, "1")
        async with asyncio.timeout(5):
            async with SessionManager(store, max_sessions=5) as other:
                await make(other, "2")

    within(store, act, max_sessions=1)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "10"])
def test_a_limit_that_is_none_is_refused(store, limit):
    with pytest.raises(InvalidValueError, match="max_sessions_per_user"):
        SessionManager(store, max_sessions_per_user=limit)


def test_a_create_that_finds_the_door_held_for_too_long_is_busy(tmp_path, monkeypatch):
    monkeypatch.setattr("agents_sessions.stores.file.store.WRITE_TIMEOUT", 0.05)
    store, other = FileStore(tmp_path), FileStore(tmp_path)
    monkeypatch.setattr(other, "place", lambda key: ("elsewhere", *key))  # as another process would see it

    async def act(manager):
        async with other.reserve("\x01max_sessions"):
            with pytest.raises(SessionBusyError):
                await make(manager, "1")

    within(store, act, max_sessions=1)
