"""Each private part of the SDK that the package uses: a version without it fails here first."""

import asyncio

import pytest
from agents import Agent, Handoff, MaxTurnsExceeded, Runner, function_tool, handoff
from script import QUIET, USAGE, agent, calls

from agents_sessions.turns.sdk_internals import last_response_of, set_max_turns, target_of, wrapper_of


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


async def suspended(payer):
    state = (await Runner.run(payer, "pay", run_config=QUIET)).to_state()
    state.approve(state.get_interruptions()[0])
    return state


def payer(*steps):
    return agent("payer", calls("pay"), *steps, tools=[pay])


def test_the_limit_of_a_resumed_run_can_be_set():
    async def run():
        one = payer("done")
        state = await suspended(one)
        set_max_turns(state, 1)
        await Runner.run(one, state, run_config=QUIET, max_turns=9)

    with pytest.raises(MaxTurnsExceeded):
        asyncio.run(run())


def test_the_usage_of_a_suspended_run_is_the_one_that_grows_on():
    async def run():
        one = payer("done")
        state = await suspended(one)
        usage = wrapper_of(state).usage
        before = usage.total_tokens
        await Runner.run(one, state, run_config=QUIET)
        return before, usage.total_tokens

    assert asyncio.run(run()) == (USAGE.total_tokens, 2 * USAGE.total_tokens)


def test_a_state_without_a_run_context_has_no_wrapper():
    async def run():
        state = await suspended(payer())
        state._context = None
        return wrapper_of(state)

    assert asyncio.run(run()) is None


def test_the_last_response_of_a_suspended_run_is_there():
    response = last_response_of(asyncio.run(suspended(payer())))
    assert [item.name for item in response.output] == ["pay"]


def test_a_state_without_a_response_has_no_last_one():
    async def run():
        state = await suspended(payer())
        state._model_responses.clear()
        return last_response_of(state)

    assert asyncio.run(run()) is None


def test_the_agent_of_a_handoff_is_found():
    billing = Agent(name="billing")
    assert target_of(handoff(billing)) is billing


def test_a_handoff_that_was_made_by_hand_has_no_agent():
    async def enter(_context, _arguments):
        raise NotImplementedError

    made = Handoff("to_billing", "Hands off.", {}, enter, agent_name="billing")
    assert target_of(made) is None
