import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.model.usage import TOKENS as USAGE_COLUMNS
from agents_sessions.model.usage import TokenUsage, sum_rows

COUNTS = st.integers(0, 10**6)
NAMES = st.sampled_from(["triage", "billing", "é"])
ROWS = st.fixed_dictionaries(
    dict.fromkeys(USAGE_COLUMNS, COUNTS),
    optional={"agent": NAMES, "nested": st.booleans(), "model": NAMES, "response_id": NAMES},
)
KINDS = st.sampled_from(
    [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "x", "type": "message"},
        {"role": "system", "content": "x"},
        {"role": "developer", "content": "x"},
        {"type": "function_call"},
        {"type": "function_call_output"},
        {"type": "reasoning"},
        {"type": "web_search_call"},
        {"type": 5},
        {"role": []},
        {},
    ]
)
RECORDS = (
    st.builds(lambda rows: {"type": "usage", "requests": rows}, st.lists(ROWS, max_size=4))
    | st.builds(lambda one, two: {"type": "handoff", "from": one, "to": two}, NAMES, NAMES)
    | st.builds(
        lambda row, status, more: {"type": "turn", "usage": row, "status": status, "duration_ms": 1, **more},
        ROWS,
        st.sampled_from(["completed", "failed", "cancelled", "interrupted", "awaiting_approval"]),
        st.fixed_dictionaries({}, optional={"last_agent": NAMES}),
    )
)
TURNS = st.none() | st.sampled_from(["r-1", "r-2"])
ENTRIES = st.builds(lambda item, turn: item_entry(item, turn=turn), KINDS, TURNS) | st.builds(
    lambda record, turn: record_entry(record, turn=turn), RECORDS, TURNS
)


TOKENS = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
ROW = {"requests": 1, **TOKENS, "cached_tokens": 3, "reasoning_tokens": 1}


def usage(*rows):
    return record_entry({"type": "usage", "requests": list(rows)})


def handoff(to):
    return record_entry({"type": "handoff", "from": "triage", "to": to})


def ended(status="completed", **more):
    return record_entry({"type": "turn", "status": status, "usage": ROW, "duration_ms": 1, **more}, turn="r-1")


@given(st.lists(ENTRIES, max_size=20), st.integers(0, 20))
def test_a_fold_in_parts_is_the_fold_of_all(entries, place):
    parts = fold(fold(ContextStats(), entries[:place]), entries[place:])
    assert parts == fold(ContextStats(), entries)


@given(st.lists(ENTRIES, max_size=10))
def test_totals_survive_the_file(entries):
    stats = fold(ContextStats(), entries)
    assert ContextStats.from_json(json.loads(json.dumps(stats.to_json()))) == stats


@given(st.lists(ENTRIES, max_size=10))
def test_every_item_is_counted_once(entries):
    stats = fold(ContextStats(), entries)
    kinds = (
        stats.user_messages,
        stats.assistant_messages,
        stats.system_messages,
        stats.function_calls,
        stats.function_call_outputs,
        stats.reasoning_items,
        stats.other_items,
    )
    assert stats.items == sum(kinds) == sum("item" in entry for entry in entries)


@given(st.lists(ROWS, max_size=5))
def test_usage_adds_up(rows):
    stats = fold(ContextStats(), [usage(*rows)])
    total = sum_rows(rows)
    assert TokenUsage(**{name: getattr(stats, name) for name in total.row()}) == total


def test_a_fold_leaves_its_begin_as_it_was():
    begin = ContextStats(items=1)
    fold(begin, [item_entry({"role": "user"})])
    assert begin == ContextStats(items=1)


def test_totals_cannot_be_changed():
    stats = fold(ContextStats(), [])
    with pytest.raises(AttributeError):
        stats.items = 5


def test_a_nested_request_costs_tokens_and_fills_no_context():
    entry = usage({**ROW, "agent": "a"}, {**ROW, "input_tokens": 90, "nested": True, "agent": "b"})
    stats = fold(ContextStats(), [entry])
    assert (stats.input_tokens, stats.context_tokens, stats.last_agent) == (95, 7, "a")


@pytest.mark.parametrize(
    ("item", "counted"),
    [
        ({"role": "user"}, {"user_messages": 1}),
        ({"role": "assistant", "type": "message"}, {"assistant_messages": 1}),
        ({"role": "user", "type": None}, {"user_messages": 1}),
        ({"role": "assistant", "type": ""}, {"assistant_messages": 1}),
        ({"role": "system"}, {"system_messages": 1}),
        ({"role": "developer"}, {"system_messages": 1}),
        ({"type": "function_call"}, {"function_calls": 1}),
        ({"type": "function_call_output"}, {"function_call_outputs": 1}),
        ({"type": "reasoning"}, {"reasoning_items": 1}),
        ({"type": "web_search_call"}, {"other_items": 1}),
        ({"role": "critic"}, {"other_items": 1}),
        ({"role": None, "type": None}, {"other_items": 1}),
    ],
)
def test_an_item_is_counted_by_its_kind(item, counted):
    assert fold(ContextStats(), [item_entry(item)]) == ContextStats(items=1, **counted)


def test_each_handoff_is_counted_and_the_conversation_is_with_the_last():
    stats = fold(ContextStats(), [handoff("billing"), handoff("refunds")])
    assert stats == ContextStats(handoffs=2, last_agent="refunds")


def test_counts_of_tokens_that_a_request_does_not_have_are_zero():
    stats = fold(ContextStats(), [usage({"requests": 1, **TOKENS})])
    assert (stats.cached_tokens, stats.reasoning_tokens, stats.total_tokens) == (0, 0, 7)


def test_a_request_that_reported_no_tokens_leaves_the_context_as_full_as_it_was():
    assert fold(ContextStats(), [usage(ROW), usage(dict.fromkeys(ROW, 0))]).context_tokens == 7


@pytest.mark.parametrize("entry", [usage(ROW), ended()])
def test_what_names_no_agent_leaves_the_conversation_with_its_agent(entry):
    assert fold(ContextStats(last_agent="triage"), [entry]).last_agent == "triage"


@pytest.mark.parametrize("entry", [usage({**ROW, "agent": "billing"}), ended(last_agent="billing")])
def test_what_names_an_agent_says_with_whom_the_conversation_is(entry):
    assert fold(ContextStats(last_agent="triage"), [entry]).last_agent == "billing"


@pytest.mark.parametrize(
    ("status", "turns", "failed"),
    [("completed", 1, 0), ("failed", 1, 1), ("cancelled", 1, 0), ("interrupted", 1, 0), ("awaiting_approval", 0, 0)],
)
def test_a_turn_is_counted_once_it_has_ended(status, turns, failed):
    stats = fold(ContextStats(turns=5, failed_turns=2), [ended(status)])
    assert (stats.turns, stats.failed_turns, stats.last_status) == (5 + turns, 2 + failed, status)


def test_a_turn_without_an_end_is_open():
    assert fold(ContextStats(), [item_entry({"role": "user"}, turn="r-1")]).open_turn == "r-1"


def test_a_record_that_is_not_the_end_of_its_turn_leaves_it_open():
    record = {"type": "handoff", "from": "triage", "to": "billing"}
    assert fold(ContextStats(), [record_entry(record, turn="r-1")]).open_turn == "r-1"


def test_the_end_of_a_turn_closes_it():
    assert fold(ContextStats(open_turn="r-1"), [ended()]).open_turn is None


@pytest.mark.parametrize(
    "record",
    [
        {"type": "handoff", "from": "triage"},
        {"type": "handoff", "from": "triage", "to": 5},
        {"type": "usage"},
        {"type": "usage", "requests": 5},
        {"type": "usage", "requests": [{}]},
        {"type": "usage", "requests": ["x"]},
        {"type": "usage", "requests": [{**ROW, "input_tokens": "5"}]},
        {"type": "usage", "requests": [{**ROW, "agent": 5}]},
        {"type": "turn"},
        {"type": "turn", "status": 5},
        {"type": "turn", "status": "completed", "last_agent": []},
        {},
    ],
)
def test_a_record_that_cannot_be_counted_is_refused(record):
    with pytest.raises(InvalidItemError, match=r"^a record"):
        fold(ContextStats(), [record_entry(record)])


@pytest.mark.parametrize("name", [*ROW, "context_tokens"])
@pytest.mark.parametrize("large", [1e308, -1e308])
def test_a_total_that_would_be_infinite_is_refused(name, large):
    row = {**ROW, **({"input_tokens": large, "output_tokens": large} if name == "context_tokens" else {name: large})}
    with pytest.raises(InvalidItemError, match=r"^a record: has a number that makes a total too large"):
        fold(ContextStats(), [usage(row), usage(row)])


def test_a_total_that_would_be_no_number_is_refused():
    stats = ContextStats(input_tokens=float("inf"))
    with pytest.raises(InvalidItemError):
        fold(stats, [usage({**ROW, "input_tokens": float("-inf")})])


def test_a_whole_number_that_no_float_holds_is_refused_beside_a_float():
    with pytest.raises(InvalidItemError, match="too large"):
        fold(ContextStats(), [usage({**ROW, "input_tokens": 10**400}), usage({**ROW, "input_tokens": 0.5})])


def test_a_large_total_is_counted():
    assert fold(ContextStats(), [usage({**ROW, "requests": 10**400})]).requests == 10**400
    assert fold(ContextStats(), [usage({**ROW, "requests": 1e308})]).requests == 1e308


def test_names_of_a_later_version_are_left_out_of_the_totals():
    assert ContextStats.from_json({"items": 3, "from_the_future": 1}) == ContextStats(items=3)


@pytest.mark.parametrize(
    "data",
    [
        {"items": "3"},
        {"items": None},
        {"items": True},
        {"last_agent": 5},
        {"open_turn": 0},
        [],
        ["items"],
        "items",
        5,
        None,
    ],
)
def test_totals_of_another_type_are_refused(data):
    with pytest.raises(TypeError):
        ContextStats.from_json(data)


def test_totals_are_given_by_name():
    with pytest.raises(TypeError):
        ContextStats(3)


def test_a_session_that_has_nothing_knows_no_agent_no_turn_and_no_status():
    stats = fold(ContextStats(), [])
    assert (stats.last_agent, stats.last_status, stats.open_turn) == (None, None, None)


def test_totals_that_an_older_version_did_not_have_are_zero():
    assert ContextStats.from_json({}) == ContextStats()
    rare = {"view", "checkpoints", "newest_checkpoint"}
    assert set(ContextStats().to_json()) == {field.name for field in fields(ContextStats)} - rare
