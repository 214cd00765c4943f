"""Ready-made callbacks choose what the model sees, separate nothing, and let nothing be stored twice."""

import asyncio

import pytest
from agents import Agent, RunConfig, Runner, SQLiteSession
from agents.testing import ScriptedModel, assistant_message
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions import MemorySession, in_order, last_tokens, last_turns, prune_tool_outputs
from agents_sessions.model.pairs import links


def user(text):
    return {"role": "user", "content": text}


def tool(call_id, output="found"):
    call = {"type": "function_call", "call_id": call_id, "name": "look", "arguments": "{}"}
    return [call, {"type": "function_call_output", "call_id": call_id, "output": output}]


HISTORY = [user("a"), *tool("1", "x" * 900), user("b"), *tool("2", "y" * 900), user("c")]
NEW = [user("new")]


@pytest.mark.parametrize(("count", "begin"), [(0, 7), (1, 6), (2, 3), (3, 0), (9, 0)])
def test_the_newest_turns_are_seen(count, begin):
    assert last_turns(count)(list(HISTORY), NEW) == HISTORY[begin:] + NEW


@pytest.mark.parametrize(("limit", "begin"), [(0, 7), (10, 6), (250, 3), (10_000, 0)])
def test_as_much_as_fits_is_seen_from_a_user_message_on(limit, begin):
    assert last_tokens(limit)(list(HISTORY), NEW) == HISTORY[begin:] + NEW


def test_a_turn_that_is_too_long_is_cut_inside_where_no_call_is_separated():
    history = [user("a" * 4000), *tool("1"), *tool("2", "z" * 4000), *tool("3")]
    assert last_tokens(100)(history, NEW) == [*history[5:], *NEW]


ITEMS = st.sampled_from([user("u" * 40), *tool("1", "o" * 60), *tool("2"), {"type": "reasoning", "id": "r"}])


@given(st.lists(ITEMS, max_size=12), st.integers(0, 60))
def test_no_window_separates_what_belongs_together(history, size):
    for window in (last_turns(size // 10), last_tokens(size)):
        begin = len(history) + 1 - len(window([dict(item) for item in history], NEW))
        assert not [pair for pair in links(history) if pair[0] < begin <= pair[1]]


def test_long_outputs_of_older_turns_are_left_out():
    history = [dict(item) for item in HISTORY]
    pruned = prune_tool_outputs(keep_turns=2, longer_than=500)(history, NEW)
    assert pruned[2]["output"] == "[The output of this tool is left out; it had 900 characters.]"
    assert [item.get("output") for item in pruned[3:6]] == [None, None, "y" * 900]


def test_short_outputs_stay():
    history = [user("a"), *tool("1"), user("b")]
    assert prune_tool_outputs(keep_turns=0)([dict(item) for item in history], NEW) == history + NEW


def test_an_output_of_parts_becomes_one_part():
    parts = [{"type": "input_text", "text": "z" * 900}]
    pruned = prune_tool_outputs(keep_turns=0)([*tool("1", parts)], NEW)
    assert pruned[1]["output"][0]["text"].startswith("[The output of this tool")


@pytest.mark.parametrize(
    "make", [lambda n: last_turns(n), lambda n: last_tokens(n), lambda n: prune_tool_outputs(keep_turns=n)]
)
def test_what_is_no_number_is_refused(make):
    for value in (-1, 1.5, True, "3"):
        with pytest.raises(ValueError, match="must be a number from 0 on"):
            make(value)


@pytest.mark.parametrize("make", [lambda path: MemorySession("s"), lambda path: SQLiteSession("s", path / "s.db")])
def test_with_a_bare_runner_the_model_sees_the_window_and_the_session_keeps_all(make, tmp_path):
    async def run():
        session = make(tmp_path)
        await session.add_items([dict(item) for item in HISTORY])
        model = ScriptedModel([[assistant_message("so")]] * 2)
        window = in_order(prune_tool_outputs(keep_turns=1), last_turns(2))
        config = RunConfig(tracing_disabled=True, session_input_callback=window)
        await Runner.run(Agent(name="a", model=model), "new", session=session, run_config=config)
        return model.calls[0].input, await session.get_items()

    seen, stored = asyncio.run(run())
    assert [item.get("content") for item in seen if item.get("role") == "user"] == ["b", "c", "new"]
    assert [item["output"][:5] for item in seen if "output" in item] == ["[The "]
    assert stored[: len(HISTORY)] == HISTORY
    assert len(stored) == len(HISTORY) + 2
