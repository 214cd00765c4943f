"""The fold of what a session has done and spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import item_entry, parse_time, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.spend import SIZES, UNREPORTED, Line, Origin, Spend, Sums, fold_spend, size_of
from agents_sessions.model.usage import NOTHING

AT = "2026-11-20T12:00:00.000Z"


def row(tokens=10, **facts):
    return {**NOTHING.row(), "requests": 1, "input_tokens": tokens, "total_tokens": tokens, **facts}


def usage(*rows):
    return record_entry({"type": "usage", "requests": list(rows)})


def ended(status, **facts):
    return record_entry({"type": "turn", "status": status, "usage": row(999), "duration_ms": 70, **facts})


def call(call_id, tool="look_up", **facts):
    return item_entry({"type": "function_call", "call_id": call_id, "name": tool, **facts})


def output(call_id, text="fine"):
    return item_entry({"type": "function_call_output", "call_id": call_id, "output": text})


FAILED = "An error occurred while running the tool. Please try again."
HANDOFF = record_entry({"type": "handoff", "from": "a", "to": "b", "tool": "transfer_to_b"})
ENTRIES = st.sampled_from(
    [
        item_entry({"role": "user", "content": "hello"}),
        item_entry({"type": "reasoning", "summary": []}),
        call("c1"),
        call("c2", "send"),
        output("c1"),
        output("c2", FAILED),
        usage(row(7, model="m", agent="a", duration_ms=3), row(5, nested=True)),
        usage(row(90_000, model="m", agent="a"), row(0)),
        ended("completed"),
        ended("awaiting_approval"),
        ended("failed", error="ConnectionError"),
        HANDOFF,
    ]
)


def placed(entries):
    return [{**entry, "seq": seq, "at": AT} for seq, entry in enumerate(entries, 1)]


def folded(*entries, spend=None):
    return fold_spend(spend or Spend(), placed(entries))


@given(st.lists(ENTRIES, max_size=30), st.integers(0, 30))
def test_what_was_kept_goes_on_with_new_lines_as_if_all_had_been_read(entries, cut):
    entries = placed(entries)
    before = fold_spend(Spend(), entries[:cut])
    kept = Spend.decode(before.encode())
    assert kept == before
    assert fold_spend(kept, entries[cut:]) == fold_spend(Spend(), entries)
    assert kept == before  # it was not changed by what came behind


def test_what_no_one_can_read_is_not_used():
    assert Spend.decode(b"{") is None
    assert Spend.decode(b"[]") is None


def test_tokens_come_from_usage_records_alone():
    spend = folded(usage(row(10)), ended("completed"), usage(row(20)), ended("failed"))
    assert sum(sums.input_tokens for _, sums in spend.lines) == 30


def test_requests_with_all_in_common_are_one_line():
    spend = folded(usage(row(10, model="m", agent="a", duration_ms=40)), usage(row(20, model="m", agent="a")))
    line = Line("2026-11-20", "a", "m", nested=False, size=0)
    assert spend.lines == [(line, Sums(requests=2, input_tokens=30, total_tokens=30, model_ms=40))]


@pytest.mark.parametrize(
    ("facts", "size"),
    [
        ({"tokens": 1}, 0),
        ({"tokens": 32_000}, 0),
        ({"tokens": 32_001}, 1),
        ({"tokens": 64_000, "requests": 2}, 0),
        ({"tokens": 64_002, "requests": 2}, 1),
        ({"tokens": 10**7}, len(SIZES)),
        ({"tokens": 0}, UNREPORTED),
        ({"tokens": 0, "output_tokens": 1}, 0),
    ],
)
def test_the_size_of_a_request_is_how_many_steps_it_exceeds(facts, size):
    assert size_of(row(**facts)) == size


def test_an_error_belongs_to_the_tool_whose_output_tells_of_it():
    spend = folded(call("c1"), call("c2", "send"), output("c2", FAILED), output("c1"), output("c3", FAILED))
    assert (spend.calls, spend.errors, spend.open_calls) == ({"look_up": 1, "send": 1}, {"send": 1}, {})


def test_a_call_without_an_output_is_open():
    assert folded(call("c1"), call("c2", "send"), output("c1")).open_calls == {"c2": "send"}


def test_a_turn_that_waits_has_not_ended():
    waiting = folded(ended("awaiting_approval"))
    assert (waiting.turns, waiting.awaiting, waiting.turn_ms) == ({}, True, 70)
    done = fold_spend(waiting, placed([ended("completed")]))
    assert (done.turns, done.awaiting, done.turn_ms) == ({"completed": 1}, False, 140)


def test_a_handoff_is_known_with_the_tool_that_asked_for_it():
    spend = folded(call("h1", "transfer_to_b"), output("h1", "{}"), HANDOFF)
    assert (spend.handoffs, spend.handoff_tools) == ([("a", "b", 1)], ["transfer_to_b"])


def test_records_that_say_nothing_of_spending_are_passed_over():
    spend = folded({"record": {"type": "view", "hidden": []}}, {"record": {"type": "decision", "approved": []}})
    assert spend == Spend(entries=2, first_at=AT, last_at=AT)


@pytest.mark.parametrize("rows", [[{"requests": 1}], [None], None, [row(duration_ms="long"), row(duration_ms=1)]])
def test_a_record_that_is_incomplete_is_an_error(rows):
    with pytest.raises(InvalidItemError):
        folded({"record": {"type": "usage", "requests": rows}})


# --- what is the parent's ---


def info(**facts):
    return SessionInfo(id="s", agent_id="a", created_at=parse_time("2026-11-20T12:00:00.000Z"), **facts)


@pytest.mark.parametrize(
    ("facts", "origin"),
    [
        ({}, Origin()),
        ({"parent_id": "p"}, Origin(at=AT)),
        ({"parent_id": "p", "forked_at": {"seq": 7}}, Origin(seq=7)),
        ({"forked_at": {"seq": 7}}, Origin()),
    ],
)
def test_the_own_entries_of_a_session_begin_behind_what_it_has_from_its_parent(facts, origin):
    assert Origin.of(info(**facts)) == origin


def test_what_a_session_has_from_its_parent_is_counted_apart():
    entries = placed([usage(row(10)), call("c1"), output("c1"), usage(row(20))])
    spend = fold_spend(Spend(origin=Origin(seq=2)), entries)
    assert (spend.inherited, spend.entries, spend.calls) == (2, 2, {})
    assert [sums.input_tokens for _, sums in spend.lines] == [20]


def test_what_is_older_than_a_copy_is_its_parents():
    old, new = placed([usage(row(10)), usage(row(20))])
    spend = fold_spend(Spend(origin=Origin(at=AT)), [{**old, "at": "2026-11-20T11:59:59.999Z"}, new])
    assert [sums.input_tokens for _, sums in spend.lines] == [20]
