"""What the model is told of calls whose turn ended without their outputs."""

import asyncio
import contextlib

import pytest
from agents import function_tool
from agents.testing import function_call
from script import agent, calls, managed, opened

from agents_sessions.history import RunEntry
from agents_sessions.info import SessionKey
from agents_sessions.stores.memory_store import MemoryStore
from agents_sessions.turns.unanswered import MAY_HAVE_RUN, NOT_RUN

KEY = SessionKey("support", "s")
GONE = ConnectionError("gone")

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@function_tool(needs_approval=True)
def pay(to: str = "bob") -> str:
    ran.append(to)
    return f"paid {to}"


@function_tool
def look() -> str:
    ran.append("look")
    return "found"


@function_tool(needs_approval=True, failure_error_function=None)
def fail() -> str:
    raise GONE


class Killed(BaseException):
    """Ends the turn as nothing else does: not one more entry is stored."""


def team(outer, inner):
    """An agent whose tool is an agent that has tools of its own, by what both models say."""
    cashier = agent("cashier", *inner, tools=[pay, look])
    tool = cashier.as_tool("ask_cashier", "Pays bills.", failure_error_function=None)
    return agent("support", *outer, tools=[tool, pay, fail])


ASKS = function_call("ask_cashier", '{"input": "pay"}', call_id="o")


def both(first="n1", second="n2"):
    return [function_call("pay", f'{{"to": "{id_}"}}', call_id=id_) for id_ in (first, second)]


async def pause(store, outer, inner):
    manager = managed(store, team(outer, inner))
    reply = await manager.send_message(await opened(manager), "hello")
    assert reply.status == "awaiting_approval"


async def resume(store, outer=(), inner=(), **decisions):
    """Go on in a new manager, whose models say these steps, to an error or to the next pause."""
    with contextlib.suppress(Exception):
        await managed(store, team(outer, inner)).resume("s", **decisions)


async def kill(store, outer=(), inner=(), **decisions):
    """Go on in a process that dies once it has stored its decision."""
    append = store.append

    async def only_once(*arguments, **options):
        store.append = die
        return await append(*arguments, **options)

    async def die(*_arguments, **_options):
        raise Killed

    store.append = only_once
    with pytest.raises(Killed):
        await managed(store, team(outer, inner)).resume("s", **decisions)
    store.append = append
    await managed(store, team(["done"], [])).retry("s")


def told(store):
    """The outputs that the calls of the history have, by their ids."""
    items = [entry["item"] for entry in asyncio.run(store.entries(KEY)) if "item" in entry]
    return {item["call_id"]: item["output"] for item in items if "output" in item}


ENDS = {"fails": resume, "killed": kill}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_agent_that_ran_a_tool_before_it_asked_may_have_run(store, end):
    async def run():
        await pause(store, [[ASKS]], [calls("look", "n0"), calls("pay", "n1")])
        await ENDS[end](store, [GONE], [GONE], reject=True)

    asyncio.run(run())
    assert ran == ["look"]
    assert told(store) == {"o": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_agent_whose_tool_was_approved_in_an_earlier_leg_may_have_run(store, end):
    async def run():
        await pause(store, [[ASKS]], [calls("pay", "n1", '{"to": "ann"}')])
        await resume(store, inner=[calls("pay", "n2")], approve=["n1"])
        await ENDS[end](store, [GONE], [GONE], reject=["n2"])

    asyncio.run(run())
    assert ran == ["ann"]
    assert told(store) == {"o": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_agent_whose_calls_were_decided_one_by_one_may_have_run(store, end):
    async def run():
        await pause(store, [[ASKS]], [both()])
        await resume(store, approve=["n1"])
        await ENDS[end](store, [GONE], [GONE], reject=["n2"])

    asyncio.run(run())
    assert ran == ["n1"]
    assert told(store) == {"o": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_call_of_the_same_id_says_nothing_of_the_outer_one(store, end):
    asks = function_call("ask_cashier", '{"input": "pay"}', call_id="n1")

    async def run():
        await pause(store, [[asks]], [calls("look", "n0"), calls("pay", "n1")])
        await ENDS[end](store, [GONE], [GONE], reject=True)

    asyncio.run(run())
    assert told(store) == {"n1": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_call_that_was_never_approved_was_not_run(store, end):
    """Rejected, or not decided about: whatever else was approved, in this leg or before."""

    async def run():
        last = function_call("fail", "{}", call_id="c3")
        await pause(store, [[*both("c1", "c2"), last]], [])
        await resume(store, approve=["c1"])
        await ENDS[end](store, approve=["c3"])

    asyncio.run(run())
    assert ran == ["c1"]
    assert told(store) == {"c1": "paid c1", "c2": NOT_RUN, "c3": MAY_HAVE_RUN}


def test_the_end_of_a_leg_says_which_of_its_calls_wait():
    store = MemoryStore()

    async def run():
        await pause(store, [[ASKS, *both("c1", "c2")]], [calls("pay", "n1")])
        await resume(store, approve=["c2"])
        return await managed(store).get_history("s", agent_id="support")

    ends = [entry for entry in asyncio.run(run()) if isinstance(entry, RunEntry)]
    assert [entry.asked for entry in ends] == [("c1", "c2"), ("c1",)]
