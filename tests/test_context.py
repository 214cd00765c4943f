import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.context import ContextStats, fold, sum_requests
from agents_sessions.entries import item_entry, record_entry

COUNTS = st.integers(0, 10**6)
NAMES = st.sampled_from(["triage", "billing", "é"])
ROWS = st.fixed_dictionaries(
    dict.fromkeys(
        ("requests", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "total_tokens"), COUNTS
    ),
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
        lambda row, status, more: {"type": "run", "usage": row, "status": status, "duration_ms": 1, **more},
        ROWS,
        st.sampled_from(["completed", "failed", "cancelled", "interrupted", "awaiting_approval"]),
        st.fixed_dictionaries({}, optional={"last_agent": NAMES}),
    )
)
RUNS = st.none() | st.sampled_from(["r-1", "r-2"])
ENTRIES = st.builds(lambda item, run: item_entry(item, run=run), KINDS, RUNS) | st.builds(
    lambda record, run: record_entry(record, run=run), RECORDS, RUNS
)


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
    stats = fold(ContextStats(), [record_entry({"type": "usage", "requests": rows})])
    total = sum_requests(rows)
    assert {name: getattr(stats, name) for name in total} == total


def test_a_fold_leaves_its_begin_as_it_was():
    begin = ContextStats(items=1)
    fold(begin, [item_entry({"role": "user"})])
    assert begin == ContextStats(items=1)


def test_totals_cannot_be_changed():
    stats = fold(ContextStats(), [])
    with pytest.raises(AttributeError):
        stats.items = 5


def test_a_nested_request_costs_tokens_and_fills_no_context():
    row = {"requests": 1, "input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "cached_tokens": 0}
    usage = {
        "type": "usage",
        "requests": [{**row, "agent": "a"}, {**row, "input_tokens": 90, "nested": True, "agent": "b"}],
    }
    stats = fold(ContextStats(), [record_entry(usage)])
    assert (stats.input_tokens, stats.context_tokens, stats.last_agent) == (95, 7, "a")


def test_a_turn_without_an_end_is_open():
    assert fold(ContextStats(), [item_entry({"role": "user"}, run="r-1")]).open_run == "r-1"


def test_names_of_a_later_version_are_left_out_of_the_totals():
    assert ContextStats.from_json({"items": 3, "from_the_future": 1}) == ContextStats(items=3)


def test_totals_that_an_older_version_did_not_have_are_zero():
    assert ContextStats.from_json({}) == ContextStats()
    assert set(ContextStats().to_json()) == {field.name for field in fields(ContextStats)}
