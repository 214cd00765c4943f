"""Several agents have one name: the message goes to the one that the handoffs of the history lead to."""

import asyncio

import pytest
from agents import Agent, function_tool, handoff
from script import agent, calls, managed, opened, to

from agents_sessions.errors import AgentAmbiguousError, InvalidValueError, UnknownAgentError
from agents_sessions.keys import SessionKey

KEY = SessionKey("support", "s")


def sent(store, team, *messages, **options):
    """Send messages, each through a manager of its own, as another process would; return the last reply."""

    async def run():
        reply = None
        for message in messages:
            reply = await managed(store, team).send_message("s", message, **options)
        return reply

    return asyncio.run(run())


def branches(*answers):
    """Two branches end at agents of one name. The conversation takes the second one."""
    near, far = agent("refunds", "EU", "EU"), agent("refunds", *answers)
    eu = agent("eu", handoffs=[near])
    us = agent("us", to("refunds", "h2"), handoffs=[far])
    return agent("support", to("us"), handoffs=[eu, us])


def twins(entry_says, *specialist_says, **settings):
    """An entry hands off to a specialist of the same name."""
    specialist = agent("support", *specialist_says, **settings)
    return agent("support", *entry_says, handoffs=[handoff(specialist, tool_name_override="deeper")]), specialist


@pytest.fixture
def session(store):
    asyncio.run(opened(managed(store, agent("support"))))
    return store


def test_the_next_message_goes_where_the_handoffs_have_led(session):
    assert sent(session, branches("US", "US again"), "hello", "more").text == "US again"


def test_an_entry_and_a_specialist_of_one_name_are_told_apart(session):
    team, _ = twins([calls("deeper"), "entry"], "deep", "deep again")
    assert sent(session, team, "hello", "more").text == "deep again"


def test_a_clone_is_another_agent(session):
    clone = agent("support", "original").clone(model=agent("x", "deep", "deep again").model)
    team = agent("support", calls("deeper"), "entry", handoffs=[handoff(clone, tool_name_override="deeper")])
    assert sent(session, team, "hello", "more").text == "deep again"


def test_a_turn_that_began_at_the_entry_again_is_part_of_the_way(session):
    team, _ = twins([calls("deeper"), "entry", "entry again"], "deep")
    sent(session, team, "hello")
    assert sent(session, team, "back", start="entry").text == "entry"
    assert sent(session, team, "more").text == "entry again"


def test_a_retry_goes_to_the_agent_that_failed(session):
    team, _ = twins([calls("deeper"), "entry"], ConnectionError("gone"), "deep")
    with pytest.raises(ConnectionError):
        sent(session, team, "hello")
    assert asyncio.run(managed(session, team).retry("s")).text == "deep"


def test_a_resumed_turn_begins_at_the_agent_that_it_began_with(session):
    @function_tool(needs_approval=True)
    async def pay() -> str:
        return "paid"

    team, _ = twins([calls("deeper"), "entry"], "deep", calls("pay"), "deep paid", tools=[pay])
    assert sent(session, team, "hello", "pay").status == "awaiting_approval"
    assert asyncio.run(managed(session, team).resume("s", approve=True)).text == "deep paid"
    assert sent(session, agent("other", "x"), "more", agent=agent("other", "chosen")).text == "chosen"


def test_a_turn_whose_process_died_may_have_begun_anywhere(session):
    team, _ = twins([calls("deeper"), "entry"], "deep", "deep again")
    sent(session, team, "hello")
    asyncio.run(session.append(KEY, [{"item": {"role": "user", "content": "x"}, "turn": "died"}]))
    with pytest.raises(AgentAmbiguousError):
        sent(session, team, "more")


def test_where_the_history_does_not_tell_the_message_is_refused_and_nothing_stored(session):
    team = branches("US")
    named = agent("refunds", "somewhere")
    sent(session, team, "hello", agent=named)
    before = asyncio.run(session.entries(KEY))
    with pytest.raises(AgentAmbiguousError, match="2 agents are named 'refunds', and the history of session 's'"):
        sent(session, team, "more")
    assert asyncio.run(session.entries(KEY)) == before
    assert sent(session, team, "more", start="entry").text == "US"


# --- who takes the message ---------------------------------------------------------------------------------------


def test_a_message_can_be_given_to_an_agent(session):
    other = agent("other", "it is me", "me again")
    team = agent("support", "no", handoffs=[other])
    assert sent(session, team, "hello", agent=other).last_agent == "other"
    assert sent(session, team, "more").last_agent == "other"


def test_a_message_can_be_given_to_an_agent_by_name(session):
    team = agent("support", "no", handoffs=[agent("other", "it is me")])
    assert sent(session, team, "hello", agent="other").last_agent == "other"


def test_a_stream_and_a_retry_can_be_given_to_an_agent(session):
    async def run():
        manager = managed(session, agent("support", ConnectionError("gone"), "no"))
        with pytest.raises(ConnectionError):
            await manager.send_message("s", "hello")
        retried = await manager.retry("s", agent=agent("helper", "instead"))
        streamed = await manager.stream_message("s", "more", agent=agent("other", "streamed")).reply()
        return retried.last_agent, streamed.last_agent

    assert asyncio.run(run()) == ("helper", "other")


def test_an_agent_and_a_start_are_two_answers_to_one_question(session):
    with pytest.raises(InvalidValueError, match="agent cannot be given together with start="):
        sent(session, agent("support"), "hello", agent="support", start="entry")


def test_an_agent_is_an_agent_or_a_name(session):
    with pytest.raises(InvalidValueError, match="agent must be an Agent or its name, not a 'int'"):
        sent(session, agent("support"), "hello", agent=7)


def test_an_unknown_name_is_refused_with_the_session(session):
    with pytest.raises(UnknownAgentError, match="no agent named 'nobody', whom session 's' needs; known agents: 'sup"):
        sent(session, agent("support"), "hello", agent="nobody")


def test_a_session_of_a_removed_agent_names_the_ways_out(session):
    with pytest.raises(UnknownAgentError, match=r"session 's' needs.*agents=\{'support': agent, …\}.*move_session\("):
        sent(session, agent("sales"), "hello")


def paused(store):
    @function_tool(needs_approval=True)
    async def pay() -> str:
        return "paid"

    specialist = agent("billing", "hi", calls("pay"), tools=[pay])
    team = agent("support", to("billing"), handoffs=[specialist])
    assert sent(store, team, "hello", "pay").status == "awaiting_approval"
    return pay


def test_a_turn_whose_agent_was_renamed_is_resumed_with_the_agent_that_is_given(session):
    pay = paused(session)
    renamed = Agent(name="billing 2", handoffs=[agent("billing", "done", tools=[pay])])
    manager = managed(session, agent("support"))
    with pytest.raises(UnknownAgentError, match="billing"):
        asyncio.run(manager.resume("s", approve=True))
    assert asyncio.run(manager.resume("s", approve=True, agent=renamed.handoffs[0])).text == "done"


def test_a_turn_can_be_resumed_from_the_sessions_own_agent(session):
    pay = paused(session)
    manager = managed(session, agent("support", handoffs=[agent("billing", "done", tools=[pay])]))
    assert asyncio.run(manager.resume("s", approve=True, start="entry")).text == "done"
