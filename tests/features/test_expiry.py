"""A session expires its time after its last activity, for all who ask, until someone refreshes it."""

from datetime import timedelta

import pytest
from keeping import KEY, NOW, QUIET, chatty, later, make, open_store, within

from agents_sessions.errors import InvalidValueError, SessionExpiredError, SessionStatusError
from agents_sessions.manager import SessionManager
from agents_sessions.model.info import SessionInfo


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_store(request.param, tmp_path)


def test_a_session_without_a_time_to_live_never_expires(store):
    async def act(manager):
        info = await make(store, days_ago=9999)
        assert (info.ttl, info.expires_at) == (None, None)
        assert (await manager.get_session("order-42")).expires_at is None

    within(store, act)


def test_it_expires_its_time_after_its_last_activity(store):
    async def act(manager):
        await manager.create_session("support", session_id="order-42", ttl="7d")
        await manager.send_message("order-42", "hello")
        info = await manager.get_session("order-42")
        assert info.expires_at == info.last_active_at + timedelta(days=7)

    within(store, act)


USES = {
    "get_session": lambda manager: manager.get_session("order-42"),
    "get_or_create_session": lambda manager: manager.get_or_create_session("support", session_id="order-42"),
    "send_message": lambda manager: manager.send_message("order-42", "hello"),
    "stream_message": lambda manager: manager.stream_message("order-42", "hello").reply(),
    "resume": lambda manager: manager.resume("order-42", approve=True),
    "retry": lambda manager: manager.retry("order-42"),
    "get_history": lambda manager: manager.get_history("order-42"),
    "get_history of an agent": lambda manager: manager.get_history("order-42", agent_id="support"),
    "get_recent_messages": lambda manager: manager.get_recent_messages("order-42"),
    "session": lambda manager: manager.session("order-42").get_items(),
}


@pytest.mark.parametrize("name", USES)
def test_an_expired_session_is_refused_as_expired(store, name):
    async def act(manager):
        await make(store, ttl=86400 * 7, days_ago=8)
        with pytest.raises(SessionExpiredError, match="refresh_session") as caught:
            await USES[name](manager)
        assert caught.value.expired_at == NOW - timedelta(days=1)
        assert isinstance(caught.value, SessionStatusError)

    within(store, act)


def test_the_time_of_the_manager_is_for_sessions_without_their_own(store):
    async def act(manager):
        await make(store, "1", days_ago=2)
        await make(store, "2", days_ago=2, ttl=86400 * 7)
        with pytest.raises(SessionExpiredError):
            await manager.get_session("1")
        assert (await manager.get_session("2")).ttl == 86400 * 7
        new = await manager.create_session("support")
        assert new.expires_at == new.last_active_at + timedelta(days=1)

    within(store, act, ttl="1d")


def test_expired_sessions_are_listed_only_on_request(store):
    async def act(manager):
        await make(store, "old", days_ago=2)
        await make(store, "new")
        assert [info.id for info in await manager.list_sessions()] == ["new"]
        assert [info.id for info in await manager.list_sessions(expired=True)] == ["old"]
        assert [info.id for info in await manager.list_sessions(expired=None)] == ["new", "old"]

    within(store, act, ttl=timedelta(days=1))


def test_an_expired_session_that_is_refreshed_lives_again(store):
    async def act(manager):
        await make(store, ttl=60, days_ago=1)
        refreshed = await manager.refresh_session("order-42")
        assert refreshed.last_active_at < refreshed.refreshed_at
        assert (await manager.send_message("order-42", "hello")).text
        with later(seconds=61), pytest.raises(SessionExpiredError):
            await manager.get_session("order-42")

    within(store, act)


def test_reading_and_sending_write_nothing_to_slide_the_time(store):
    async def act(manager):
        await manager.create_session("support", session_id="order-42", ttl=100)
        await manager.get_session("order-42")
        await manager.send_message("order-42", "hello")
        info = await store.load(KEY)
        assert "refreshed_at" not in info.header()

    within(store, act)


def test_the_time_of_an_expired_session_can_be_changed(store):
    async def act(manager):
        await make(store, ttl=60, days_ago=1)
        await manager.update_session("order-42", ttl="30d")
        assert (await manager.get_session("order-42")).ttl == 30 * 86400
        await manager.update_session("order-42", ttl=None)
        assert (await manager.get_session("order-42")).expires_at is None

    within(store, act)


def test_an_expired_session_can_be_deleted(store):
    async def act(manager):
        await make(store, ttl=60, days_ago=1)
        await manager.delete_session("order-42")
        assert await store.load(KEY) is None

    within(store, act)


@pytest.mark.parametrize("wrong", ["soon", 0, -5, timedelta(0)])
def test_a_time_to_live_that_is_none_is_refused_and_nothing_is_made(store, wrong):
    async def act(manager):
        with pytest.raises(InvalidValueError, match="ttl"):
            await manager.create_session("support", ttl=wrong)
        assert [info async for info in store.scan()] == []

    within(store, act)
    with pytest.raises(InvalidValueError, match="ttl"):
        SessionManager(store, agents=[chatty()], run_config=QUIET, ttl=wrong)


def test_a_header_of_a_session_without_these_facts_is_no_longer_than_before():
    seldom = {"ttl", "refreshed_at", "archived_at", "archive"}
    assert not seldom & SessionInfo(id="1", agent_id="a").header().keys()
