"""Data of other packages in a session."""

import asyncio
import dataclasses
from datetime import date

import pytest
from pydantic import BaseModel, ConfigDict

from agents_sessions.errors import InvalidValueError
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry


class Todo(BaseModel):
    model_config = ConfigDict(strict=True)

    title: str
    due: date | None = None
    done: bool = False


@dataclasses.dataclass
class Mark:
    place: int
    days: list[date]


def within(store, act):
    async def run():
        async with SessionManager(store) as manager:
            await manager.create_session("support", session_id="s")
            return await act(manager)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Todo(title="call", due=date(2026, 11, 20)), Todo),
        (Mark(7, [date(2026, 11, 20)]), Mark),
        ({"a": [1, None, "ü"]}, None),
        ([1, 2], list[int]),
        ("text", None),
        (False, None),
        (2**70, None),
    ],
    ids=str,
)
def test_what_was_set_is_what_is_there(store, value, kind):
    async def act(manager):
        await manager.set_extension("s", "todo", value)
        asked = ("s", "todo") if kind is None else ("s", "todo", kind)
        return await manager.get_extension(*asked)

    assert within(store, act) == value


def test_what_was_never_set_is_none(store):
    async def act(manager):
        return await manager.get_extension("s", "todo"), await manager.get_extension("s", "todo", Todo)

    assert within(store, act) == (None, None)


def test_data_is_removed_and_that_of_others_stays(store):
    async def act(manager):
        await manager.set_extension("s", "todo", 1)
        await manager.set_extension("s", "other", 2)
        await manager.remove_extension("s", "todo")
        return (await manager.get_session("s")).extensions

    assert within(store, act) == {"other": 2}


def test_data_that_no_one_knows_survives_all_that_is_done_with_its_session(store):
    async def act(manager):
        await manager.set_extension("s", "unknown", {"x": [1.5, {"y": None}]})
        await manager.set_extension("s", "todo", Todo(title="call"))
        await manager.update_session("s", name="Order", metadata={"a": 1})
        key = SessionKey("support", "s")
        await store.append(key, [item_entry({"role": "user", "content": "hello"})])
        await manager.clear_session("s")
        aside = await store.set_aside(key)
        await store.bring_back(aside.token)
        return await manager.get_extension("s", "unknown")

    assert within(store, act) == {"x": [1.5, {"y": None}]}


def test_two_changes_at_once_lose_nothing(store):
    def add(number):
        return lambda data: [*(data or []), number]

    async def act(manager):
        await asyncio.gather(*(manager.update_extension("s", "list", add(number)) for number in range(20)))
        return await manager.get_extension("s", "list", list[int])

    assert sorted(within(store, act)) == list(range(20))


def test_a_change_gets_the_kind_that_it_asks_for(store):
    async def act(manager):
        await manager.set_extension("s", "todo", Todo(title="call"))
        await manager.update_extension("s", "todo", lambda todo: todo.model_copy(update={"done": True}), Todo)
        done = await manager.get_extension("s", "todo", Todo)
        await manager.update_extension("s", "todo", lambda todo: None, Todo)
        return done, await manager.get_extension("s", "todo")

    assert within(store, act) == (Todo(title="call", done=True), None)


def test_a_change_that_raises_changes_nothing(store):
    def fail(data):
        raise ZeroDivisionError

    async def act(manager):
        await manager.set_extension("s", "todo", 1)
        with pytest.raises(ZeroDivisionError):
            await manager.update_extension("s", "todo", fail)
        return await manager.get_extension("s", "todo")

    assert within(store, act) == 1


def test_what_does_not_fit_its_kind_is_said_without_its_content(store):
    async def act(manager):
        await manager.set_extension("s", "todo", {"title": 7, "secret": "my-secret"})
        with pytest.raises(InvalidValueError, match="'todo' is no Todo: title must be a valid string") as caught:
            await manager.get_extension("s", "todo", Todo)
        assert "my-secret" not in str(caught.value)
        with pytest.raises(InvalidValueError, match="is no list"):
            await manager.get_extension("s", "todo", list[int])

    within(store, act)


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, {"x": float("nan")}, {1: 2}, b"bytes"], ids=lambda value: type(value).__name__
)
def test_what_is_no_json_is_refused(store, value):
    async def act(manager):
        with pytest.raises(InvalidValueError, match="extension 'todo'"):
            await manager.set_extension("s", "todo", value)
        return (await manager.get_session("s")).extensions

    assert within(store, act) == {}


@pytest.mark.parametrize("name", ["", 7, None])
def test_a_name_that_is_none_is_refused(store, name):
    async def act(manager):
        with pytest.raises(InvalidValueError, match="name"):
            await manager.set_extension("s", name, 1)
        with pytest.raises(InvalidValueError, match="name"):
            await manager.get_extension("s", name)

    within(store, act)
