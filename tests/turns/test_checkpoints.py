"""A point of a history is marked with data of the application, and found and restored later."""

import asyncio

import pytest
from script import check_totals, echo, managed, opened

from agents_sessions.errors import (
    CheckpointNotFoundError,
    InvalidValueError,
    PositionNotFoundError,
    PositionTakenBackError,
    SessionLimitError,
    SessionNotFoundError,
    TooManyError,
)
from agents_sessions.features import checkpoints
from agents_sessions.keys import SessionKey

KEY = SessionKey("support", "s")


def acts(store, act):
    async def run():
        async with managed(store, echo()) as manager:
            await opened(manager)
            await manager.send_message("s", "one")
            return await act(manager, manager.checkpoints)

    return asyncio.run(run())


async def seen(manager, session_id="s"):
    items = await manager.session(session_id).get_items()
    return [item["content"] for item in items if item.get("role") == "user"]


def test_a_checkpoint_gives_its_data_back_and_its_point(store):
    async def act(manager, points):
        saved = await points.save("s", {"step": 1, "list": [None, 1.5]}, label="before the tools")
        await manager.send_message("s", "two")
        data = await points.restore("s", saved)
        return data, await seen(manager), (await points.get("s", saved)).label, await manager.send_message("s", "2")

    data, texts, label, reply = acts(store, act)
    assert (data, texts, label) == ({"step": 1, "list": [None, 1.5]}, ["one"], "before the tools")
    assert reply.text == "one 2"


def test_the_latest_is_the_one_that_was_saved_last_or_none(store):
    async def act(manager, points):
        none = await points.latest("s")
        first, second = await points.save("s"), await points.save("s", {"n": 2})
        await manager.send_message("s", "two")
        latest = await points.latest("s")
        return none, latest.id == second, latest.data, [each.id for each in await points.list("s")] == [first, second]

    assert acts(store, act) == (None, True, {"n": 2}, True)
    check_totals(store)


def test_deleted_checkpoints_are_gone_and_the_history_is_not(store):
    async def act(manager, points):
        _, second, third = [await points.save("s", {"n": n}) for n in range(3)]
        await points.delete("s", third)
        latest = await points.latest("s")
        with pytest.raises(CheckpointNotFoundError):
            await points.get("s", third)
        cleared = await points.clear("s")
        return latest.id == second, cleared, await points.list("s"), await points.latest("s"), await seen(manager)

    assert acts(store, act) == (True, 2, [], None, ["one"])


def test_restoring_can_be_undone(store):
    async def act(manager, points):
        saved = await points.save("s")
        await manager.send_message("s", "two")
        await points.restore("s", saved)
        await manager.redo("s")
        return await seen(manager)

    assert acts(store, act) == ["one", "two"]


def test_missing_ids_missing_sessions_and_missing_points_are_different_errors(store):
    async def act(manager, points):
        with pytest.raises(CheckpointNotFoundError):
            await points.restore("s", "none")
        with pytest.raises(SessionNotFoundError):
            await points.save("t")
        with pytest.raises(SessionNotFoundError):
            await points.latest("t")
        await manager.send_message("s", "two")
        saved = await points.save("s")
        await manager.undo("s")
        assert (await points.get("s", saved)).taken_back
        with pytest.raises(PositionTakenBackError):
            await points.restore("s", saved)
        position = (await points.get("s", saved)).position
        await store.rewrite(KEY, lambda h: h.with_entries([e for e in h.entries if e["seq"] != position]))
        with pytest.raises(PositionNotFoundError, match="was removed"):
            await points.restore("s", saved)

    acts(store, act)


def test_a_checkpoint_of_what_was_taken_back_can_be_forked(store):
    async def act(manager, points):
        await manager.send_message("s", "two")
        saved = await points.save("s", {"n": 2})
        await manager.undo("s")
        fork = await manager.branches.fork("s", checkpoint=saved)
        return await seen(manager, fork.id)

    assert acts(store, act) == ["one", "two"]


def test_a_fork_has_the_checkpoints_before_its_point(store):
    async def act(manager, points):
        first = await points.save("s", {"n": 1})
        await manager.send_message("s", "two")
        await points.save("s", {"n": 2})
        fork = await manager.branches.fork("s", checkpoint=first)
        behind = await manager.branches.fork("s")
        return [each.data for each in await points.list(fork.id)], [each.data for each in await points.list(behind.id)]

    assert acts(store, act) == ([], [{"n": 1}])


def test_the_beginning_can_be_a_checkpoint(store):
    async def act(manager, points):
        await manager.create_session("support", session_id="empty")
        saved = await points.save("empty", {"at": "begin"})
        await manager.send_message("empty", "hello")
        return await points.restore("empty", saved), await seen(manager, "empty")

    assert acts(store, act) == ({"at": "begin"}, [])


def test_what_is_too_large_too_many_or_no_json_is_refused(store, monkeypatch):
    monkeypatch.setattr(checkpoints, "MAX_CHECKPOINTS", 2)

    async def act(manager, points):
        before = (await manager.get_session("s")).seq
        with pytest.raises(SessionLimitError):
            await points.save("s", {"text": "x" * checkpoints.MAX_CHECKPOINT_BYTES})
        for data in ([], {"set": {1}}, {"nan": float("nan")}, {1: 2}):
            with pytest.raises(InvalidValueError):
                await points.save("s", data)
        with pytest.raises(InvalidValueError):
            await points.save("s", label=3)
        assert (await manager.get_session("s")).seq == before
        for _ in range(2):
            await points.save("s")
        with pytest.raises(TooManyError, match="delete some"):
            await points.save("s")

    acts(store, act)
