"""A turn that awaits approval can be given up, whatever is wrong with it."""

import asyncio
import contextlib

import pytest
from agents import ModelBehaviorError, function_tool
from script import agent, calls, check_totals, managed, opened, stored

from agents_sessions.errors import NothingToResumeError, SessionCorruptedError, TurnNotResumableError
from agents_sessions.keys import SessionKey
from agents_sessions.run_states import RUN_STATE
from agents_sessions.turns.past import NOT_RUN

KEY = SessionKey("support", "s")


@function_tool(needs_approval=True)
def pay() -> str:
    raise AssertionError("ran")


def team(*steps, clerk="clerk", tool="ask_clerk"):
    inner = agent(clerk, calls("pay", "p1"), "never", tools=[pay])
    return agent("support", *steps, tools=[inner.as_tool(tool, "d"), pay])


ASKS = calls("ask_clerk", "a1", '{"input": "pay"}')
CHANGES = {
    "the tool is gone": lambda: agent("support", "hello", "later"),
    "the tool has another name": lambda: team("hello", "later", tool="ask_another"),
    "its agent has another name": lambda: team("hello", "later", clerk="clerk-2"),
    "the tool is a function": lambda: agent("support", "hello", "later", tools=[function_of("ask_clerk")]),
}


def function_of(name):
    def act(input: str) -> str:  # noqa: A002 -- the name that an agent as a tool gives it
        raise AssertionError("ran")

    return function_tool(act, name_override=name)


async def awaiting(store, *steps):
    manager = managed(store, team(*steps))
    await opened(manager)
    assert (await manager.send_message("s", "Pay.")).status == "awaiting_approval"


@pytest.mark.parametrize("change", CHANGES)
def test_a_message_gives_up_a_turn_that_no_one_can_resume(store, change):
    async def run():
        await awaiting(store, ASKS)
        manager = managed(store, CHANGES[change]())
        return await manager.send_message("s", "Never mind.", on_pending="give_up")

    reply = asyncio.run(run())
    assert (reply.status, reply.text) == ("completed", "hello")
    check_totals(store)


@pytest.mark.parametrize("change", CHANGES)
def test_a_message_that_rejects_never_fails_twice(store, change):
    async def run():
        await awaiting(store, ASKS)
        manager = managed(store, CHANGES[change]())
        with contextlib.suppress(ModelBehaviorError):  # a tool that is gone: the turn has failed then
            await manager.send_message("s", "Never mind.", on_pending="reject")
        return await manager.send_message("s", "Are you there?", on_pending="reject")

    assert asyncio.run(run()).status == "completed"
    check_totals(store)


@pytest.mark.parametrize("change", ["the tool is gone", "its agent has another name"])
def test_a_turn_that_cannot_be_resumed_says_how_to_end_it(store, change):
    async def run():
        await awaiting(store, ASKS)
        manager = managed(store, CHANGES[change]())
        for decision in ({"approve": True}, {"reject": True}):
            with pytest.raises(TurnNotResumableError, match=r"session 's' .*give_up"):
                await manager.resume("s", **decision)
        await manager.give_up("s")
        return await manager.send_message("s", "Are you there?")

    assert asyncio.run(run()).status == "completed"


def test_a_turn_is_given_up_without_any_agent(store):
    async def run():
        await awaiting(store, calls("pay", "p0"))
        await managed(store).give_up("s")
        assert await store.list_sidecars(KEY) == []
        return (await store.items(KEY))[-1]

    assert asyncio.run(run()) == {"type": "function_call_output", "call_id": "p0", "output": NOT_RUN}
    assert stored(store)[-3:] == ["decision", "function_call_output", "cancelled"]


def test_a_turn_whose_state_is_damaged_is_given_up(store):
    async def run(act):
        await awaiting(store, calls("pay", "p0"), "never")
        await store.write_sidecar(KEY, RUN_STATE, b"{")
        manager = managed(store, agent("support", "hello", "later"))
        with pytest.raises(SessionCorruptedError, match="give_up"):
            await manager.send_message("s", "Hello?")
        await act(manager)
        return await manager.send_message("s", "Are you there?")

    assert asyncio.run(run(lambda manager: manager.give_up("s"))).status == "completed"


def test_a_message_gives_up_a_turn_whose_state_is_damaged(store):
    async def run():
        await awaiting(store, calls("pay", "p0"), "never")
        await store.write_sidecar(KEY, RUN_STATE, b"{")
        return await managed(store, agent("support", "hello")).send_message("s", "Hello?", on_pending="give_up")

    assert asyncio.run(run()).text == "hello"


def test_a_turn_that_was_given_up_can_be_tried_again(store):
    async def run():
        await awaiting(store, calls("pay", "p0"))
        await managed(store).give_up("s")
        return await managed(store, agent("support", "without it")).retry("s")

    assert asyncio.run(run()).text == "without it"


def test_a_session_that_waits_for_nothing_has_nothing_to_give_up(store):
    async def run():
        manager = managed(store, agent("support", "hello"))
        await opened(manager)
        with pytest.raises(NothingToResumeError):
            await manager.give_up("s")
        await manager.send_message("s", "Hello?")
        with pytest.raises(NothingToResumeError):
            await manager.give_up("s")

    asyncio.run(run())


def test_a_decision_about_nothing_does_not_run_the_runner(store):
    async def run():
        await awaiting(store, calls("pay", "p0"))
        manager = managed(store, team("never"))
        with pytest.raises(NothingToResumeError, match=r"nothing is decided.*p0"):
            await manager.resume("s")
        return await manager.pending_approvals("s")

    assert [approval.call_id for approval in asyncio.run(run())] == ["p0"]
    assert stored(store)[-1] == "awaiting_approval"
