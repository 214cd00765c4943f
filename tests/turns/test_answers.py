"""What a chat shows that is loaded again: `get_recent_messages`."""

import asyncio
from dataclasses import dataclass

import pytest
from agents import function_tool
from agents.testing import assistant_message, function_call
from script import agent, calls, managed, opened, turn

from agents_sessions.errors import InvalidValueError


@dataclass
class Price:
    euros: int

    def __str__(self) -> str:
        return f"{self.euros} EUR"


@function_tool
def price() -> Price:
    return Price(12)


@function_tool
def look() -> str:
    return "seen"


async def shown(manager, *messages, **options):
    for message in messages:
        await manager.send_message("s", message)
    return [(each.role, each.text, each.agent) for each in await manager.get_recent_messages("s", **options)]


def chat(store, one, *messages, **options):
    async def run():
        manager = managed(store, one)
        await opened(manager)
        return await shown(manager, *messages, **options)

    return asyncio.run(run())


def test_the_output_of_a_tool_that_the_agent_stops_at_is_the_answer(store):
    one = agent("support", calls("look"), "then", tools=[look], tool_use_behavior="stop_on_first_tool")
    assert chat(store, one, "How?", "And?") == [
        ("user", "How?", None),
        ("assistant", "seen", "support"),
        ("user", "And?", None),
        ("assistant", "then", "support"),
    ]


def test_of_two_outputs_the_answer_is_shown(store):
    both = [function_call("price", "{}", call_id="c1"), function_call("look", "{}", call_id="c2")]
    one = agent("support", both, tools=[price, look], tool_use_behavior={"stop_at_tool_names": ["look"]})
    assert chat(store, one, "How?")[1:] == [("assistant", "seen", "support")]


def test_a_value_that_a_tool_returns_is_not_what_the_model_said_before_it(store):
    said = [assistant_message("Let me see."), function_call("price", "{}", call_id="c1")]
    one = agent("support", said, tools=[price], tool_use_behavior="stop_on_first_tool")
    assert [text for _, text, _ in chat(store, one, "How much?")] == ["How much?", "Let me see.", "12 EUR"]


def test_the_reply_says_what_the_tool_returned(store):
    said = [assistant_message("Let me see."), function_call("price", "{}", call_id="c1")]
    one = agent("support", said, tools=[price], tool_use_behavior="stop_on_first_tool")
    assert turn(store, one).text == "12 EUR"


def test_an_answer_that_is_a_message_is_shown_once(store):
    one = agent("support", calls("look"), "done", tools=[look])
    assert chat(store, one, "How?")[1:] == [("assistant", "done", "support")]


def test_what_instructs_the_model_is_shown_on_request(store):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
    one = agent("support", "hi")
    assert [role for role, _, _ in chat(store, one, messages)] == ["user", "assistant"]

    async def more():
        manager = managed(store)
        every = await shown(manager, roles=("system", "user"))
        return every, await shown(manager, roles=["system"], limit=1)

    assert asyncio.run(more()) == (
        [("system", "Be brief.", None), ("user", "hello", None)],
        [("system", "Be brief.", None)],
    )


def test_a_role_that_no_message_has_is_refused(store):
    with pytest.raises(InvalidValueError, match="roles must be one of 'user', 'assistant', 'system', 'developer'"):
        chat(store, agent("support"), roles=["tool"])
