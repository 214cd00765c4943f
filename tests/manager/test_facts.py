"""States and labels of sessions, and what they do at this moment."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message

from agents_sessions.errors import (
    InvalidValueError,
    SessionClosedError,
    SessionNotFoundError,
    SessionPausedError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry, now, record_entry, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.usage import NOTHING
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "s")


def within(store, act, **facts):
    """Do something with a manager of one session."""

    async def run():
        model = ScriptedModel([[assistant_message("fine")] for _ in range(9)])
        agents = Agent(name="support", model=model)
        async with SessionManager(store, agents=agents, run_config=RunConfig(tracing_disabled=True)) as manager:
            await manager.create_session("support", session_id="s", **facts)
            return await act(manager)

    return asyncio.run(run())


# --- create and update ---


def test_a_session_keeps_the_labels_that_it_is_made_with(store):
    async def act(manager):
        return await manager.get_session("s")

    found = within(
        store, act, tags=["b", "a", "b"], pinned=True, working_dir=Path("/src"), parent_id="p", indexed=False
    )
    assert found.tags == ("b", "a")
    assert (found.pinned, found.working_dir, found.parent_id, found.indexed) == (True, "/src", "p", False)


def test_an_update_changes_labels(store):
    async def act(manager):
        await manager.update_session("s", tags=["x"], pinned=True, working_dir="/src", parent_id="p")
        first = await manager.get_session("s")
        await manager.update_session("s", tags=(), pinned=False, working_dir=None, parent_id=None)
        return first, await manager.get_session("s")

    first, second = within(store, act)
    assert (first.tags, first.pinned, first.working_dir, first.parent_id) == (("x",), True, "/src", "p")
    assert (second.tags, second.pinned, second.working_dir, second.parent_id) == ((), False, None, None)


def test_whether_a_session_is_indexed_is_said_once_for_ever(store):
    async def act(manager):
        with pytest.raises(TypeError, match="indexed"):
            await manager.update_session("s", indexed=True)

    within(store, act, indexed=False)


REFUSED = [
    {"name": ""},
    {"name": "x" * 101},
    {"tags": "red"},
    {"tags": 7},
    {"tags": [7]},
    {"tags": [""]},
    {"tags": ["x" * 101]},
    {"working_dir": 7},
]


@pytest.mark.parametrize("facts", REFUSED, ids=str)
def test_a_label_that_does_not_fit_is_refused_and_nothing_is_made_or_changed(store, facts):
    async def act(manager):
        before = await manager.get_session("s")
        with pytest.raises(InvalidValueError, match=next(iter(facts))):
            await manager.create_session("support", session_id="new", **facts)
        with pytest.raises(InvalidValueError, match=next(iter(facts))):
            await manager.update_session("s", **facts)
        assert await manager.get_session("s") == before
        assert await store.load(SessionKey("support", "new")) is None

    within(store, act)


def test_a_name_of_a_hundred_characters_of_any_script_is_taken(store):
    async def act(manager):
        return (await manager.rename_session("s", "包" * 100)).name

    assert within(store, act) == "包" * 100


def test_a_session_that_has_a_longer_name_already_can_be_used(store):
    async def act(manager):
        await store.create(SessionInfo(id="old", agent_id="support", name="x" * 500, tags=("a", "a")))
        assert (await manager.send_message("old", "hello")).text == "fine"
        return await manager.tag_session("old", add=["b"])

    found = within(store, act)
    assert (found.name, found.tags) == ("x" * 500, ("a", "b"))


# --- titles ---


def test_a_session_without_a_name_has_the_title_of_its_first_message_and_nothing_is_written(store):
    async def act(manager):
        empty = await manager.get_session("s")
        await manager.send_message("s", "Where is my parcel?")
        await manager.send_message("s", "And the other one?")
        before = await store.load(KEY)
        found = await manager.get_session("s")
        assert await store.load(KEY) == before
        named = await manager.rename_session("s", "Order 42")
        return empty.title, found.title, found.name, named.title

    assert within(store, act) == (None, "Where is my parcel?", None, "Order 42")


def test_a_title_costs_the_same_at_any_length_of_the_history(store, monkeypatch):
    asked = []

    async def act(manager):
        await store.append(KEY, [item_entry({"role": "user", "content": f"message {n}"}) for n in range(2000)])
        whole = store.entries

        async def entries(key, **window):
            asked.append(window)
            return await whole(key, **window)

        monkeypatch.setattr(store, "entries", entries)
        return (await manager.get_session("s")).title

    assert within(store, act) == "message 0"
    assert asked == [{"after": 0, "limit": 8}]


# --- states ---


def test_a_paused_session_takes_no_message_until_it_goes_on(store):
    async def act(manager):
        paused = await manager.pause_session("s")
        assert (paused.status, paused.is_active) == ("paused", False)
        assert await manager.pause_session("s") == paused
        with pytest.raises(SessionPausedError, match="unpause_session"):
            await manager.send_message("s", "hello")
        assert (await manager.unpause_session("s")).is_active
        return (await manager.send_message("s", "hello")).text

    assert within(store, act) == "fine"


def test_a_closed_session_takes_no_message_until_it_is_reopened(store):
    async def act(manager):
        assert (await manager.close_session("s")).status == "closed"
        with pytest.raises(SessionClosedError, match="reopen_session"):
            await manager.send_message("s", "hello")
        for refused in (manager.pause_session, manager.unpause_session):
            with pytest.raises(SessionClosedError):
                await refused("s")
        assert (await manager.reopen_session("s")).status == "active"
        return (await manager.send_message("s", "hello")).text

    assert within(store, act) == "fine"


def test_a_paused_session_can_be_closed_and_is_not_reopened_by_mistake(store):
    async def act(manager):
        await manager.pause_session("s")
        assert (await manager.reopen_session("s")).status == "paused"
        assert (await manager.close_session("s")).status == "closed"

    within(store, act)


def test_completed_is_another_word_for_closed(store):
    async def act(manager):
        assert (await manager.update_session("s", status="completed")).status == "closed"
        assert [info.id for info in await store.query(SessionQuery(status="completed"))] == ["s"]
        assert SessionInfo(id="x", agent_id="a", status="completed").status == "closed"
        with pytest.raises(InvalidValueError, match="status"):
            await manager.update_session("s", status="asleep")

    within(store, act)


def test_a_session_is_idle_since_its_last_entry(store):
    async def act(manager):
        entry = {**item_entry({"role": "user", "content": "hello"}), "at": timestamp(now() - timedelta(hours=2))}
        await store.create(SessionInfo(id="old", agent_id="support"), [entry])
        return (await manager.get_session("old")).idle, (await manager.get_session("s")).idle

    old, new = within(store, act)
    assert timedelta(hours=2) <= old < timedelta(hours=2, minutes=5)
    assert timedelta(0) <= new < timedelta(minutes=5)


# --- labels ---


def test_tags_are_added_and_removed(store):
    async def act(manager):
        await manager.tag_session("s", add=["a", "b", "a"])
        found = await manager.tag_session("s", add=["c", "b"], remove=["a", "z"])
        assert await manager.tag_session("s", add=["c"], remove=["z"]) == found
        with pytest.raises(InvalidValueError, match="'c'"):
            await manager.tag_session("s", add=["c"], remove=["c"])
        return found.tags

    assert within(store, act) == ("b", "c")


def test_a_session_is_pinned_and_unpinned(store):
    async def act(manager):
        return (await manager.pin_session("s")).pinned, (await manager.unpin_session("s")).pinned

    assert within(store, act) == (True, False)


def test_what_changes_nothing_writes_nothing(store):
    async def act(manager):
        before = await store.load(KEY)
        await manager.tag_session("s")
        await manager.unpin_session("s")
        await manager.rename_session("s", None)
        await manager.reopen_session("s")
        await manager.update_session_metadata("s", {"gone": None})
        await manager.remove_extension("s", "todo")
        assert await store.load(KEY) == before

    within(store, act)


# --- metadata ---


def test_metadata_is_merged_and_none_removes_a_key(store):
    async def act(manager):
        return (await manager.update_session_metadata("s", {"a": None, "b": [1], "new": {"x": None}})).metadata

    found = within(store, act, metadata={"a": 1, "b": 2, "none": None})
    assert found == {"b": [1], "none": None, "new": {"x": None}}


def test_two_changes_of_metadata_at_once_lose_nothing(store):
    async def act(manager):
        await asyncio.gather(*(manager.update_session_metadata("s", {f"k{n}": n}) for n in range(20)))
        return (await manager.get_session("s")).metadata

    assert within(store, act) == {f"k{n}": n for n in range(20)}


@pytest.mark.parametrize("changes", [{1: "x"}, {"x": {1, 2}}, {"x": float("nan")}, ["x"]], ids=str)
def test_metadata_that_is_no_json_is_refused_before_anything_is_changed(store, changes):
    async def act(manager):
        with pytest.raises(InvalidValueError, match="metadata"):
            await manager.update_session_metadata("s", changes)
        return (await manager.get_session("s")).metadata

    assert within(store, act, metadata={"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    "act",
    [
        lambda manager: manager.pause_session("nobody"),
        lambda manager: manager.close_session("nobody"),
        lambda manager: manager.reopen_session("nobody", agent_id="support"),
        lambda manager: manager.tag_session("nobody", add=["a"]),
        lambda manager: manager.update_session_metadata("nobody", {"a": 1}),
        lambda manager: manager.get_extension("nobody", "todo"),
        lambda manager: manager.set_extension("nobody", "todo", 1),
        lambda manager: manager.get_activity("nobody", agent_id="support"),
    ],
)
def test_a_missing_session_is_an_error_of_its_own(store, act):
    async def attempt(manager):
        with pytest.raises(SessionNotFoundError):
            await act(manager)

    within(store, attempt)


# --- what it does at this moment ---


def test_a_session_runs_as_long_as_its_turn(store):
    async def act(manager):
        before = await manager.get_activity("s")
        async with store.turn_lock(KEY):
            inside = await manager.get_activity("s"), await manager.is_running("s")
        return before, inside, await manager.get_activity("s"), await manager.is_running("s")

    assert within(store, act) == ("idle", ("running", True), "idle", False)


def test_a_turn_that_died_is_interrupted_and_the_next_one_ends_that(store):
    async def act(manager):
        await store.append(KEY, [item_entry({"role": "user", "content": "hello"}, turn="t1")])
        dead = await manager.get_activity("s")
        await manager.send_message("s", "hello?")
        return dead, await manager.get_activity("s")

    assert within(store, act) == ("interrupted", "idle")


def test_a_turn_whose_run_state_is_gone_awaits_nothing(store):
    async def act(manager):
        end = {"type": "turn", "status": "awaiting_approval", "usage": NOTHING.row(), "duration_ms": 1}
        await store.append(KEY, [record_entry(end, turn="t1")])
        return await manager.get_activity("s")

    assert within(store, act) == "idle"


def test_labels_stand_in_the_file_where_a_person_can_read_them(tmp_path):
    store = FileStore(tmp_path / "sessions")

    async def act(manager):
        await manager.tag_session("s", add=["urgent"])
        await manager.close_session("s")

    within(store, act, working_dir="/src")
    data = json.loads(store.path(KEY).read_bytes())
    assert (data["tags"], data["status"], data["working_dir"]) == (["urgent"], "closed", "/src")
    assert "title" not in data
