"""A run that is cancelled by something it awaits: a cache that another party filled and gave up, a listing of tools."""

import asyncio
import pickle

import pytest
from agents import Agent, RunHooks, function_tool
from script import agent, calls, managed, opened, says, scripted, stored

from agents_sessions.errors import TurnCancelledError
from agents_sessions.turns.events import TurnEvent

ran: list[str] = []


async def await_what_was_cancelled():
    shared = asyncio.ensure_future(asyncio.sleep(60))
    shared.cancel()
    await shared


async def instructions(_context, _agent):
    await await_what_was_cancelled()


class BreaksInHook(RunHooks):
    def __init__(self, name):
        async def hook(*_arguments, **_options):
            await await_what_was_cancelled()

        setattr(self, name, hook)


@function_tool
def look() -> str:
    ran.append("look")
    return "found"


HOOKS = ["on_agent_start", "on_llm_start", "on_llm_end", "on_tool_start", "on_tool_end", "on_agent_end"]


async def streamed(store, support, **options):
    manager = managed(store, support)
    heard = []
    manager.on(TurnEvent, lambda event: heard.append(type(event).__name__))
    session_id = await opened(manager)
    with pytest.raises(TurnCancelledError) as caught:
        await manager.stream_message(session_id, "hello", **options).reply()
    return manager, heard, caught.value


def support(**settings):
    return Agent(name="support", model=scripted(calls("look"), says("done")), tools=[look], **settings)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_stream_that_a_hook_cancelled_is_cancelled_and_can_be_tried_again(store, hook):
    async def run():
        manager, heard, error = await streamed(store, support(), hooks=BreaksInHook(hook))
        assert error.began
        assert heard == ["TurnStarted", "TurnFailed"]
        assert (await manager.get_session("s")).context.last_status == "cancelled"
        assert (await managed(store, agent("support", "again", tools=[look])).retry("s")).text == "again"
        texts = [message.text for message in await manager.get_recent_messages("s")]
        assert texts.count("hello") == 1

    asyncio.run(run())


def test_a_stream_that_its_instructions_cancelled_keeps_its_message(store):
    async def run():
        manager, _, _ = await streamed(store, support(instructions=instructions))
        reply = await managed(store, agent("support", "again")).retry("s")
        assert reply.text == "again"
        assert [message.text for message in await manager.get_recent_messages("s")] == ["hello", "again"]

    asyncio.run(run())


def test_the_error_does_not_say_that_no_model_was_asked_when_one_was(store):
    ran.clear()

    async def run():
        _, _, error = await streamed(store, support(), hooks=BreaksInHook("on_tool_end"))
        return error

    error = asyncio.run(run())
    assert ran == ["look"]
    assert "while it ran" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_stream_whose_guardrail_was_cancelled_is_not_completed(store):
    from agents import InputGuardrail

    async def guard(_context, _agent, _input):
        await await_what_was_cancelled()

    async def run():
        manager = managed(store, support(input_guardrails=[InputGuardrail(guard, run_in_parallel=True)]))
        stream = manager.stream_message(await opened(manager), "hello")
        with pytest.raises(TurnCancelledError):
            await stream.reply()

    asyncio.run(run())
    assert stored(store)[-1] == "cancelled"
