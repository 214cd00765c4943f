"""A message that comes while a nested agent waits for approval is never lost, whatever happens before it is an item."""

import asyncio

import pytest
from agents import function_tool
from agents.testing import ModelStep, function_call
from script import agent, calls, managed, opened

from agents_sessions.keys import SessionKey

KEY = SessionKey("support", "s")
GONE = ConnectionError("gone")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


def team(outer, inner):
    cashier = agent("cashier", *inner, tools=[pay])
    tool = cashier.as_tool("ask_cashier", "Pays bills.", failure_error_function=None)
    return agent("support", *outer, tools=[tool])


def again(store, outer=(), inner=()):
    """The same session in a new manager, whose models say these steps."""
    return managed(store, team(outer, inner))


async def awaiting(store):
    manager = again(store, [[function_call("ask_cashier", '{"input": "pay"}', call_id="o")]], [calls("pay", "n1")])
    await manager.send_message(await opened(manager), "hello")


async def stopped(store):
    """Send a message whose nested agent asks again: it waits with it."""
    await awaiting(store)
    reply = await again(store, inner=[calls("pay", "n2")]).send_message("s", "stop", on_pending="reject")
    assert reply.status == "awaiting_approval"


def said(store):
    items = [entry["item"] for entry in asyncio.run(store.entries(KEY)) if "item" in entry]
    return [item["content"] for item in items if item.get("role") == "user"]


def test_it_is_tried_again_with_the_turn_that_fails_behind_a_second_request(store):
    async def run():
        await stopped(store)
        with pytest.raises(Exception, match="gone"):
            await again(store, inner=[GONE]).resume("s", reject=True)
        await again(store, ["done"]).retry("s")

    asyncio.run(run())
    assert said(store) == ["hello", "stop"]


def test_it_is_tried_again_with_the_one_that_came_after_it(store):
    async def run():
        await stopped(store)
        with pytest.raises(Exception, match="gone"):
            await again(store, inner=[GONE]).send_message("s", "now!", on_pending="reject")
        await again(store, ["done"]).retry("s")

    asyncio.run(run())
    assert said(store) == ["hello", "stop", "now!"]


def test_it_is_stored_once_behind_a_second_request(store):
    async def run():
        await stopped(store)
        return await again(store, ["done"], ["settled"]).resume("s", approve=True)

    assert asyncio.run(run()).text == "done"
    assert said(store) == ["hello", "stop"]


class Killed(BaseException):
    """Ends the turn as nothing else does: not one more entry is stored."""


async def killed(store, act):
    """Go on in a process that dies while the nested agent's model is asked."""
    append = store.append

    async def die(*_arguments, **_options):
        store.append = die
        raise Killed

    with pytest.raises(Killed):
        await act(again(store, inner=[ModelStep.respond(die)]))
    store.append = append


@pytest.mark.parametrize("again_first", [False, True], ids=["at once", "behind a second request"])
def test_it_is_tried_again_with_the_turn_that_was_killed(store, again_first):
    async def run():
        if again_first:
            await stopped(store)
            await killed(store, lambda manager: manager.resume("s", approve=True))
        else:
            await awaiting(store)
            await killed(store, lambda manager: manager.send_message("s", "stop", on_pending="reject"))
        await again(store, ["done"]).retry("s")

    asyncio.run(run())
    assert said(store) == ["hello", "stop"]


def test_it_is_not_tried_again_if_the_turn_was_killed_behind_it(store):
    async def run():
        await awaiting(store)
        append = store.append

        async def until_it_is_stored(key, entries, **options):
            if any(entry.get("item", {}).get("role") == "user" for entry in entries):
                store.append = die
            return await append(key, entries, **options)

        async def die(*_arguments, **_options):
            raise Killed

        store.append = until_it_is_stored
        with pytest.raises(Killed):
            await again(store, ["never stored"], ["settled"]).send_message("s", "stop", on_pending="reject")
        store.append = append
        await again(store, ["done"]).retry("s")

    asyncio.run(run())
    assert said(store) == ["hello", "stop"]
