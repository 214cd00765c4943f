"""Deleted sessions come back whole, or are gone for good, and never half."""

import asyncio
import threading
from datetime import timedelta

import pytest
from keeping import KEY, make, open_store, said, whole, within

from agents_sessions.errors import (
    InvalidValueError,
    SessionAmbiguousError,
    SessionBusyError,
    SessionExistsError,
    SessionNotFoundError,
)
from agents_sessions.features.trash import Trash
from agents_sessions.keys import SessionKey


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_store(request.param, tmp_path)


async def furnish(store):
    await make(store, size=3, name="Order")
    await store.write_sidecar(KEY, "checkpoints/1", b"1")


def test_without_a_trash_a_deleted_session_is_gone_for_good(store):
    async def act(manager):
        await furnish(store)
        await manager.delete_session("order-42")
        return await store.list_aside()

    assert within(store, act) == []


def test_a_deleted_session_comes_back_whole(store):
    async def act(manager):
        await furnish(store)
        before = await whole(store)
        await manager.delete_session("order-42")
        with pytest.raises(SessionNotFoundError):
            await manager.get_session("order-42")
        restored = await manager.trash.restore("order-42")
        assert restored.key == KEY
        assert await whole(store) == before
        assert await manager.trash.list() == []

    within(store, act, trash="30d")


def test_the_list_says_what_went_when_and_until_when_it_can_be_had_back(store):
    async def act(manager):
        await furnish(store)
        await manager.delete_session("order-42")
        (trashed,) = await manager.trash.list()
        assert (trashed.session_id, trashed.agent_id, trashed.rule) == ("order-42", "support", "deleted")
        assert trashed.purge_after - trashed.deleted_at == timedelta(days=30)
        assert await manager.trash.list(agent_id="sales") == []

    within(store, act, trash="30d")


def test_permanently_goes_past_the_trash(store):
    async def act(manager):
        await furnish(store)
        await manager.delete_session("order-42", permanently=True)
        assert await manager.trash.list() == []

    within(store, act, trash="30d")


def test_what_others_set_aside_is_no_business_of_the_trash(store):
    async def act(manager):
        await furnish(store)
        await store.set_aside(KEY, "backup")
        assert await manager.trash.list() == []
        assert (await manager.trash.purge(everything=True)).sessions == 0
        assert len(await store.list_aside()) == 1

    within(store, act, trash="30d")


def test_a_purge_removes_only_what_is_past_its_time(store):
    async def act(manager):
        await furnish(store)
        await manager.delete_session("order-42")
        assert (await manager.trash.purge()).sessions == 0
        report = await Trash(store, timedelta(0)).purge()
        assert [(each.key, each.rule) for each in report.removed] == [(KEY, "purged")]
        assert report.bytes_freed == report.removed[0].size > 100
        assert await manager.trash.list() == []

    within(store, act, trash="30d")


def test_one_session_and_everything_can_be_purged_at_once(store):
    async def act(manager):
        for name in ("1", "2", "3"):
            await make(store, name)
            await manager.delete_session(name)
        assert (await manager.trash.purge("2")).sessions == 1
        assert [each.session_id for each in await manager.trash.list()] == ["1", "3"]
        assert (await manager.trash.purge(everything=True)).sessions == 2
        with pytest.raises(SessionNotFoundError, match="not in the trash"):
            await manager.trash.purge("2")
        with pytest.raises(InvalidValueError, match="everything"):
            await manager.trash.purge("2", everything=True)

    within(store, act, trash="30d")


def test_of_several_of_one_id_the_last_one_comes_back_first(store):
    async def act(manager):
        for text in ("old", "new"):
            await make(store, text=text)
            await manager.delete_session("order-42")
            await asyncio.sleep(0.002)
        await manager.trash.restore("order-42")
        assert (await store.items(KEY))[0]["content"] == "new"
        with pytest.raises(SessionExistsError):
            await manager.trash.restore("order-42")
        assert (await store.items(KEY))[0]["content"] == "new"

    within(store, act, trash="30d")


def test_an_id_that_another_agent_has_by_now_is_not_given_twice(store):
    async def act(manager):
        await furnish(store)
        await manager.delete_session("order-42")
        await make(store, agent="sales")
        with pytest.raises(SessionExistsError, match="sales"):
            await manager.trash.restore("order-42")
        assert len(await manager.trash.list()) == 1

    within(store, act, trash="30d")


def test_an_id_that_two_agents_had_needs_the_agent(store):
    async def act(manager):
        for agent in ("sales", "support"):
            await make(store, agent=agent)
            await manager.delete_session("order-42")
        with pytest.raises(SessionAmbiguousError):
            await manager.trash.restore("order-42")
        assert (await manager.trash.restore("order-42", agent_id="sales")).agent_id == "sales"

    within(store, act, trash="30d")


def test_a_session_in_a_turn_is_not_taken_away_from_it(store):
    async def act(manager):
        await furnish(store)
        async with store.turn_lock(KEY):
            with pytest.raises(SessionBusyError):
                await manager.delete_session("order-42")
        assert await manager.trash.list() == []

    within(store, act, trash="30d", lock_timeout=0.01)


@pytest.mark.parametrize("wrong", ["", "30", "30x", "d", 0, -1, "0d", True, float("nan"), "200000w"])
def test_a_length_of_time_that_is_none_is_refused(store, wrong):
    with pytest.raises(InvalidValueError, match="trash"):
        within(store, None, trash=wrong)


class Race:
    """Two threads, each with an event loop of its own as two processes have, that want one session of the trash."""

    def __init__(self, store, races):
        self.store, self.trash, self.races = store, Trash(store, None), races
        self.barrier, self.outcomes = threading.Barrier(2), {}

    def run(self):
        other = threading.Thread(target=lambda: asyncio.run(self.run_one("purge")))
        other.start()
        try:
            asyncio.run(self.run_one("restore"))
        except BaseException:
            self.barrier.abort()
            raise
        finally:
            other.join(30)

    async def run_one(self, name):
        for _ in range(self.races):
            if name == "restore":
                await make(self.store, size=2)
                await self.store.write_sidecar(KEY, "a", b"1")
                await self.trash.put(KEY, lock_timeout=None)
            self.barrier.wait(30)
            (trashed,) = await self.trash.list()
            self.barrier.wait(30)
            self.outcomes[name] = await getattr(self, name)(trashed)
            self.barrier.wait(30)
            if name == "restore":
                await self.check()

    async def restore(self, trashed):
        try:
            return (await self.trash.restore(trashed)).key == KEY
        except SessionNotFoundError:
            return False

    async def purge(self, trashed):
        return (await self.trash.purge(trashed)).sessions == 1

    async def check(self):
        assert self.outcomes["restore"] != self.outcomes["purge"]
        assert await self.trash.list() == []
        if self.outcomes["restore"]:
            assert len(await self.store.entries(KEY)) == 2
            assert await self.store.read_sidecar(KEY, "a") == b"1"
            await self.store.delete(KEY)
        assert await self.store.load(KEY) is None


@pytest.mark.parametrize(("kind", "races"), [("memory", 200), ("file", 1000)])
def test_of_restoring_and_purging_at_once_one_wins_whole(kind, races, tmp_path):
    Race(open_store(kind, tmp_path), races).run()


def test_a_purge_takes_the_copies_that_repairs_have_kept(tmp_path):
    store = open_store("file", tmp_path)

    async def act(manager):
        for _ in range(2):
            await make(store)
            await manager.delete_session("order-42")
        copy = store.path(KEY).with_name("order-42.json.torn-0123abcd")
        copy.write_text("damaged")
        one, other = await manager.trash.list()
        await manager.trash.purge(one)
        assert copy.exists()
        await manager.trash.purge(other)
        assert not copy.exists()

    within(store, act, trash="30d")


def test_a_session_in_the_trash_takes_no_appends_and_a_new_one_of_its_id_is_another(store):
    async def act(manager):
        await furnish(store)
        await manager.delete_session("order-42")
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("late")])
        await manager.create_session("support", session_id="order-42")
        assert await store.entries(SessionKey("support", "order-42")) == []

    within(store, act, trash="30d")
