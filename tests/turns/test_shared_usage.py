"""Agents used as tools share the usage of the run around them. In one session, each request is counted once."""

import asyncio

import pytest
from agents import Runner
from agents.testing import function_call
from script import QUIET, agent, check_totals, managed, opened, stored

from agents_sessions.errors import NothingToRetryError
from agents_sessions.keys import SessionKey
from agents_sessions.session import StoredSession

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
