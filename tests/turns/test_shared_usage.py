"""Agents used as tools share the usage of the run around them. In one session, each request is counted once."""

import asyncio
import copy
import pickle

import pytest
from agents import RunContextWrapper, Runner, function_tool
from agents.testing import ModelStep, function_call
from agents.usage import Usage
from script import QUIET, USAGE, agent, calls, check_totals, managed, opened, says, stored

from agents_sessions.errors import NothingToRetryError
from agents_sessions.keys import SessionKey
from agents_sessions.session import StoredSession
from agents_sessions.shared_usage import enter_run, run_of

KEY = SessionKey("support", "s")


def ask(name):
    return [function_call(f"ask_{name}", '{"input": "x"}', call_id=name)]


def chain(depth, session, *last):
    """An agent that asks an agent that asks an agent, all of them in one session."""
    inner = agent("inner", *(last or ["the end"]))
    for level in range(depth - 1):
        name = inner.name
        tool = inner.as_tool(f"ask_{name}", "d", session=session, failure_error_function=None)
        inner = agent("support" if level == depth - 2 else f"middle{level}", ask(name), "done", tools=[tool])
    return inner


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_bare_session_counts_each_request_once(store, depth):
    async def run():
        session = StoredSession(store, KEY)
        result = await Runner.run(chain(depth, session), "go", session=session, run_config=QUIET)
        return result.context_wrapper.usage, (await session.info()).context

    usage, totals = asyncio.run(run())
    assert totals.requests == usage.requests == 2 * depth - 1
    assert totals.total_tokens == usage.total_tokens


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("depth", [2, 3])
def test_a_managed_turn_counts_each_request_once(store, depth, streamed):
    async def run():
        session = managed(store).session("s")
        manager = managed(store, chain(depth, session))
        await opened(manager)
        if streamed:
            return await manager.stream_message("s", "go").reply()
        return await manager.send_message("s", "go")

    reply = asyncio.run(run())
    totals = check_totals(store)
    assert totals.requests == reply.usage.requests == 2 * depth - 1
    assert totals.total_tokens == reply.usage.total_tokens


def test_what_follows_a_nested_run_is_counted_too(store):
    async def run():
        session = managed(store).session("s")
        manager = managed(store, chain(2, session), agent("other", "ok", "ok"))
        await opened(manager)
        await manager.send_message("s", "go")
        await Runner.run(agent("other", "ok"), "and now", session=session, run_config=QUIET)
        return (await manager.get_session("s")).context.requests

    assert asyncio.run(run()) == 4


def test_a_rollback_takes_out_what_nested_agents_stored(store):
    async def run():
        session = managed(store).session("s")
        inner = agent("inner", "the end")
        tool = inner.as_tool("ask_inner", "d", session=session)
        manager = managed(store, agent("support", ask("inner"), ConnectionError("gone"), tools=[tool]))
        await opened(manager)
        with pytest.raises(ConnectionError):
            await manager.send_message("s", "go", on_failure="rollback")
        assert await store.items(KEY) == []
        support = agent("support", "again")
        await managed(store, support).retry("s")
        with pytest.raises(NothingToRetryError):
            await manager.retry("s")
        return support.model.last_call.input

    assert [item["content"] for item in asyncio.run(run())] == ["go"]
    assert stored(store)[-1] == "completed"


# --- side by side ------------------------------------------------------------------------------------------------


@function_tool
def look() -> str:
    return "seen"


def slowly(name, *before):
    """An agent whose answer comes when those beside it have theirs."""

    async def answer(call):
        await asyncio.sleep(0.05)
        return says("slow")

    return agent(name, *before, ModelStep.respond(answer), tools=[look])


def beside(sessions, *inner, **settings):
    """An agent that asks several agents at once, each with a session."""
    tools = [
        each.as_tool(f"ask_{each.name}", "d", session=session) for each, session in zip(inner, sessions, strict=True)
    ]
    return agent("support", [ask(each.name)[0] for each in inner], "done", tools=[*tools], **settings)


async def requests_of(*sessions):
    return [(await session.info()).context.requests for session in sessions]


def test_agents_side_by_side_are_charged_for_their_own_requests_alone(store):
    async def run():
        sessions = [StoredSession(store, SessionKey("inner", name)) for name in ("slow", "quick", "other")]
        outer = beside(sessions, slowly("slow"), agent("quick", "q"), slowly("other", calls("look")))
        await Runner.run(outer, "go", run_config=QUIET)
        return await requests_of(*sessions)

    assert asyncio.run(run()) == [1, 1, 2]


def test_the_run_around_agents_side_by_side_is_charged_for_all_of_them(store):
    async def run():
        sessions = [StoredSession(store, SessionKey("inner", name)) for name in ("slow", "quick")]
        outer = StoredSession(store, KEY)
        await Runner.run(beside(sessions, slowly("slow"), agent("quick", "q")), "go", session=outer, run_config=QUIET)
        return await requests_of(outer, *sessions)

    assert asyncio.run(run()) == [4, 1, 1]


def test_an_agent_in_the_session_of_the_turn_and_one_beside_it_are_counted_apart(store):
    async def run():
        own = StoredSession(store, SessionKey("inner", "own"))
        inside = managed(store).session("s")
        manager = managed(store, beside([own, inside], slowly("slow"), agent("quick", "q")))
        await opened(manager)
        reply = await manager.send_message("s", "go")
        return reply.usage.requests, await requests_of(inside, own)

    assert asyncio.run(run()) == (4, [4, 1])
    check_totals(store)


def test_turns_that_are_given_one_run_context_are_charged_for_their_own_requests(store):
    """A tool may hand its own context on to other sessions of the manager. Then their turns grow its usage."""

    @function_tool
    async def tell_both(context: RunContextWrapper) -> str:
        sent = [manager.send_message(each, "go", context=context) for each in ("slow", "quick")]
        return str([reply.usage.requests for reply in await asyncio.gather(*sent)])

    outer = agent("support", calls("tell_both"), "done", tools=[tell_both])
    manager = managed(store, outer, slowly("slow"), agent("quick", "q"))

    async def run():
        for name in ("support", "slow", "quick"):
            await manager.create_session(name, session_id="s" if name == "support" else name)
        reply = await manager.send_message("s", "go")
        return reply.usage.requests

    assert asyncio.run(run()) == 4
    outputs = [entry["item"] for entry in asyncio.run(store.entries(KEY)) if "item" in entry]
    assert "[1, 1]" in [item.get("output") for item in outputs]


def test_a_resumed_turn_counts_the_agent_that_an_approved_tool_runs(store):
    async def run():
        own = StoredSession(store, SessionKey("inner", "own"))
        tool = agent("payer", "paid").as_tool("ask_payer", "d", session=own, needs_approval=True)
        manager = managed(store, agent("support", ask("payer"), "done", tools=[tool]))
        await opened(manager)
        before = await manager.send_message("s", "go")
        after = await manager.resume("s", approve=True)
        return before.usage.requests, after.usage.requests, await requests_of(own)

    assert asyncio.run(run()) == (1, 2, [1])
    assert check_totals(store).requests == 3


# --- the usage that is watched -----------------------------------------------------------------------------------


def watched():
    wrapper = RunContextWrapper(None)
    run = run_of(wrapper, "place")
    enter_run(run)
    return wrapper.usage, run


def test_a_watched_usage_is_a_usage_to_its_users():
    usage, _ = watched()
    usage.add(USAGE)
    plain = Usage()
    plain.add(USAGE)
    assert usage == plain
    assert plain == usage
    assert usage != Usage()
    assert repr(usage) == repr(plain)
    assert type(pickle.loads(pickle.dumps(usage))) is Usage
    assert copy.deepcopy(usage) == plain


def test_what_is_added_to_a_copy_of_a_usage_is_not_spent_by_its_run():
    usage, run = watched()
    copy.deepcopy(usage).add(USAGE)
    assert run.spent == []
    usage.add(USAGE)
    assert [row["total_tokens"] for row in run.take()] == [USAGE.total_tokens]
