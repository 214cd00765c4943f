import asyncio

import pytest
from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    OpenAIProvider,
    RunConfig,
    RunHooks,
    function_tool,
    handoff,
    retry_policies,
)
from agents.extensions.handoff_filters import remove_all_tools
from agents.testing import ModelStep
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from script import USAGE, agent, calls, check_totals, managed, opened, says, scripted, stored, to, turn

from agents_sessions.keys import SessionKey
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing import LocalResponses, assistant_message

KEY = SessionKey("support", "s")


@function_tool
def look() -> str:
    return "found"


def records(store, kind):
    return [entry["record"] for entry in asyncio.run(store.entries(KEY)) if entry.get("record", {}).get("type") == kind]


def rows(store):
    return [row for record in records(store, "usage") for row in record["requests"]]


def team(*steps, **settings):
    """An agent that hands off to billing, which answers."""
    billing = agent("billing", *(steps or ("billed", "again")))
    return agent("support", to("billing"), handoffs=[handoff(billing, **settings)])


# --- who said what ---


def test_every_entry_has_the_id_of_its_turn(store):
    reply = turn(store, agent("support", calls("look"), "done", tools=[look]))
    assert {entry.turn for entry in reply.entries} == {reply.turn_id}


def test_the_message_is_of_no_agent_and_the_rest_of_the_one_that_made_it(store):
    reply = turn(store, team())
    who = [(entry.kind, entry.agent) for entry in reply.entries if entry.type == "item"]
    assert who == [
        ("user", None),
        ("function_call", "support"),
        ("function_call_output", "support"),
        ("assistant", "billing"),
    ]


def test_a_handoff_is_recorded_with_its_tool(store):
    reply = turn(store, team())
    assert [(h.from_agent, h.to_agent, h.tool) for h in reply.handoffs] == [
        ("support", "billing", "transfer_to_billing")
    ]


class Reason(BaseModel):
    reason: str


def test_a_handoff_is_recorded_with_what_the_model_said(store):
    billing = agent("billing", "billed")
    target = handoff(billing, input_type=Reason, on_handoff=lambda _context, _reason: None)
    call = calls("transfer_to_billing", "h1", '{"reason": "money"}')
    reply = turn(store, agent("support", call, handoffs=[target]))
    assert reply.handoffs[0].arguments == '{"reason": "money"}'


def test_a_handoff_that_an_input_filter_hides_is_recorded(store):
    reply = turn(store, team(input_filter=remove_all_tools))
    assert [h.to_agent for h in reply.handoffs] == ["billing"]
    assert stored(store).count("support>billing") == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_hidden_handoff_comes_before_what_the_next_agent_says(store, streamed):
    async def act(manager, session_id):
        if streamed:
            return await manager.stream_message(session_id, "hello").reply()
        return await manager.send_message(session_id, "hello")

    reply = turn(store, team(input_filter=remove_all_tools), act=act)
    kinds = [entry.kind if entry.type == "item" else entry.type for entry in reply.entries]
    assert kinds == ["user", "handoff", "usage", "assistant", "usage", "turn"]


def test_a_handoff_to_and_fro_is_recorded_each_time(store):
    support = agent("support", to("billing"), "done")
    billing = agent("billing", to("support", "h2"), handoffs=[support])
    support.handoffs.append(billing)
    reply = turn(store, support)
    assert [(h.from_agent, h.to_agent) for h in reply.handoffs] == [("support", "billing"), ("billing", "support")]
    assert reply.last_agent == "support"


# --- what it cost ---


def test_a_request_has_its_agent_model_and_response(store):
    turn(store, team(ModelStep(output=says("billed"), response_id="resp-2", usage=USAGE)))
    assert [(row["agent"], row["response_id"]) for row in rows(store)] == [
        ("support", "resp-789"),
        ("billing", "resp-2"),
    ]


def test_a_request_has_all_its_token_counts(store):
    reply = turn(store, agent("support", "hi"))
    expected = {
        "requests": 1,
        "input_tokens": 10,
        "cached_tokens": 4,
        "cache_write_tokens": 0,
        "output_tokens": 5,
        "reasoning_tokens": 2,
        "total_tokens": 15,
    }
    assert expected.items() <= rows(store)[0].items()
    assert reply.usage.model_dump() == expected


def test_a_request_names_the_model_of_its_agent(store):
    class Named:
        def get_model(self, name):
            return scripted("hi")

    config = RunConfig(tracing_disabled=True, model_provider=Named())
    turn(store, Agent(name="support", model="gpt-small"), run_config=config)
    assert rows(store)[0]["model"] == "gpt-small"


def test_a_request_of_an_agent_that_names_no_model_names_the_sdks_default(store):
    local = LocalResponses([assistant_message("hi")])
    config = RunConfig(tracing_disabled=True, model_provider=OpenAIProvider(openai_client=local.client()))
    turn(store, Agent(name="support"), run_config=config)
    assert rows(store)[0]["model"] == local.requests[0]["model"]


def test_a_request_names_the_model_of_the_run(store):
    class Named:
        def get_model(self, name):
            return scripted("hi")

    config = RunConfig(tracing_disabled=True, model_provider=Named(), model="gpt-large")
    turn(store, Agent(name="support", model="gpt-small"), run_config=config)
    assert rows(store)[0]["model"] == "gpt-large"


def test_requests_of_an_agent_used_as_a_tool_are_counted_once_and_marked(store):
    inner = agent("helper", calls("look"), "helped", tools=[look])
    tool = inner.as_tool("ask", "Helps.")
    reply = turn(store, agent("support", calls("ask", arguments='{"input": "x"}'), "done", tools=[tool]))
    assert [(row["requests"], row.get("nested", False)) for row in rows(store)] == [(1, False), (2, True), (1, False)]
    assert reply.usage.total_tokens == reply.run_result.context_wrapper.usage.total_tokens == 60


def test_requests_of_an_agent_used_as_a_tool_do_not_fill_the_context(store):
    inner = agent("helper", ModelStep(output=says("helped"), usage=USAGE))
    tool = inner.as_tool("ask", "Helps.")
    turn(store, agent("support", calls("ask", arguments='{"input": "x"}'), "done", tools=[tool]))
    assert check_totals(store).context_tokens == 15


def test_a_request_that_was_tried_again_is_counted_and_not_taken_for_a_nested_one(store):
    settings = ModelSettings(
        retry=ModelRetrySettings(max_retries=1, policy=retry_policies.network_error(), backoff={"initial_delay": 0})
    )
    import httpx2

    error = ModelStep.raise_error(httpx2.ConnectError("gone"))
    reply = turn(store, agent("support", error, "done", model_settings=settings))
    assert [(row["requests"], row["total_tokens"], row.get("nested")) for row in rows(store)] == [
        (reply.run_result.context_wrapper.usage.requests, 15, None)
    ]


def test_a_context_object_shared_by_turns_is_counted_once_per_turn(store):
    async def run(manager, session_id):
        shared = {"user": "ann"}
        for _ in range(2):
            await manager.send_message(session_id, "hello", context=shared)

    turn(store, agent("support", "one", "two"), act=run)
    assert check_totals(store).total_tokens == 30


# --- the reply ---


class Weather(BaseModel):
    city: str
    degrees: int


def test_a_reply_has_a_typed_output_and_its_text(store):
    text = '{"city": "Rome", "degrees": 21}'
    reply = turn(store, agent("support", text, output_type=Weather))
    assert reply.final_output == Weather(city="Rome", degrees=21)
    assert reply.text == text


def test_a_reply_has_the_entries_of_its_turn_as_stored(store):
    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        reply = await manager.send_message(session_id, "two")
        return reply, await manager.get_history(session_id, after=reply.entries[0].seq - 1)

    reply, history = turn(store, agent("support", "first", "second"), act=run)
    assert [(entry.seq, entry.type, entry.agent) for entry in reply.entries] == [
        (entry.seq, entry.type, entry.agent) for entry in history
    ]
    assert reply.entries[0].seq == 5


def test_a_reply_has_the_sdks_own_result(store):
    reply = turn(store, agent("support", "hi"))
    assert reply.run_result.final_output == "hi"


# --- what the user's own hooks see ---


def test_the_users_hooks_are_called_too(store):
    seen = []

    class Hooks(RunHooks):
        async def on_agent_start(self, context, agent):
            seen.append("agent_start")

        async def on_agent_end(self, context, agent, output):
            seen.append("agent_end")

        async def on_llm_start(self, context, agent, system_prompt, input_items):
            seen.append("llm_start")

        async def on_llm_end(self, context, agent, response):
            seen.append("llm_end")

        async def on_handoff(self, context, from_agent, to_agent):
            seen.append("handoff")

        async def on_tool_start(self, context, agent, tool):
            seen.append("tool_start")

        async def on_tool_end(self, context, agent, tool, result):
            seen.append("tool_end")

    billing = agent("billing", calls("look"), "billed", tools=[look])
    turn(store, agent("support", to("billing"), handoffs=[billing]), hooks=Hooks())
    assert seen == [
        *["agent_start", "llm_start", "llm_end", "handoff"],
        *["agent_start", "llm_start", "llm_end", "tool_start", "tool_end", "llm_start", "llm_end", "agent_end"],
    ]


def test_every_hook_of_the_sdk_is_passed_on():
    from agents_sessions.turns.hooks import TurnHooks

    hooks = {name for name in dir(RunHooks) if name.startswith("on_")}
    assert hooks <= set(vars(TurnHooks))


# --- any conversation ---

SCRIPTS = st.lists(
    st.lists(st.sampled_from(["look", "ask", "billing", "pay", "fail"]), max_size=4), min_size=1, max_size=3
)


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


def conversation(scripts):
    """Agents whose turns do what the scripts say; each turn ends with an answer or an error."""
    steps, number = [], 0
    for script in scripts:
        for word in script:
            number += 1
            if word == "fail":
                break
            target = to("billing", f"c{number}") if word == "billing" else calls(word, f"c{number}", '{"input": "x"}')
            steps.append(target if word != "look" and word != "pay" else calls(word, f"c{number}"))
        steps.append(ConnectionError("gone") if "fail" in script else says("done"))
    model = scripted(*steps, *["done"] * 5)
    helper = agent("helper", *["helped"] * 20)
    tools = [look, pay, helper.as_tool("ask", "Helps.")]
    billing = Agent(name="billing", model=model, tools=tools)
    billing.handoffs.append(billing)
    return Agent(name="support", model=model, tools=tools, handoffs=[billing])


async def play(store, scripts, streamed, rollback):
    manager = managed(store, conversation(scripts))
    session_id = await opened(manager)
    how = {"on_failure": "rollback"} if rollback else {}
    for number, _ in enumerate(scripts):
        try:
            send = manager.stream_message(session_id, str(number), **how).reply() if streamed else None
            reply = await (send or manager.send_message(session_id, str(number), **how))
            while reply.status == "awaiting_approval":
                reply = await manager.resume(session_id, approve=True, **how)
        except ConnectionError:
            pass


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scripts=SCRIPTS, rollback=st.booleans())
def test_totals_are_a_fold_over_the_entries_whatever_happens(streamed, scripts, rollback):
    store = MemoryStore()
    asyncio.run(play(store, scripts, streamed, rollback))
    check_totals(store)
