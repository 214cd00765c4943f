"""What the entries of one turn say, without a Runner."""

import pytest

from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.usage import NOTHING
from agents_sessions.turns.past import (
    MAY_HAVE_RUN,
    NOT_RUN,
    interrupted,
    is_message,
    lost_outputs,
    newest_end,
    rolled_back,
    unanswered,
    unapproved,
    unstored_message,
)

HELLO = {"role": "user", "content": "hello"}
MORE = {"role": "user", "content": "more"}
CALL = {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "paid"}


def sent(item=HELLO, turn="t"):
    return item_entry(item, turn=turn)


def made(item, turn="t"):
    return item_entry(item, agent="support", turn=turn)


def ended(status, turn="t", **facts):
    end = {"type": "turn", "status": status, "usage": NOTHING.row(), "duration_ms": 1, **facts}
    return record_entry(end, turn=turn)


def decided(approved=(), rejected=(), **facts):
    return record_entry({"type": "decision", "approved": [*approved], "rejected": [*rejected], **facts}, turn="t")


HANDOFF = record_entry({"type": "handoff", "from": "support", "to": "billing"}, agent="support", turn="t")
USAGE = record_entry({"type": "usage", "requests": []}, turn="t")


# --- its message ---


@pytest.mark.parametrize(("entry", "answer"), [(sent(), True), (made(CALL), False), (ended("completed"), False)])
def test_a_message_is_an_item_that_no_agent_has_produced(entry, answer):
    assert is_message(entry) is answer


def test_a_message_of_a_decision_is_unstored_until_an_item_has_it():
    entries = [sent(), made(CALL), decided(rejected=["c1"], message=[MORE]), made(OUTPUT)]
    assert unstored_message(entries) == [MORE]
    assert unstored_message([*entries, sent(MORE)]) == []


def test_messages_of_two_decisions_are_both_unstored():
    entries = [decided(message=[HELLO]), ended("awaiting_approval"), decided(message=[MORE])]
    assert unstored_message(entries) == [HELLO, MORE]


# --- its calls ---


def test_a_call_is_unanswered_until_its_output():
    assert unanswered([sent(), made(CALL)]) == {"c1": "function_call"}
    assert unanswered([sent(), made(CALL), made(OUTPUT)]) == {}


def test_a_call_from_before_is_unanswered_until_its_output():
    assert unanswered([], {"c1": "function_call"}) == {"c1": "function_call"}
    assert unanswered([made(OUTPUT)], {"c1": "function_call"}) == {}


def test_a_call_is_unapproved_until_a_decision_approves_it():
    asked = [made(CALL), ended("awaiting_approval", asked=["c1"])]
    assert unapproved(asked) == unapproved([*asked, decided(rejected=["c1"])]) == {"c1"}
    assert unapproved([*asked, decided(approved=["c1"])]) == set()


@pytest.mark.parametrize(("not_run", "text"), [(["c1"], NOT_RUN), ([], MAY_HAVE_RUN)])
def test_a_lost_output_says_whether_the_tool_may_have_run(not_run, text):
    (entry,) = lost_outputs({"c1": "function_call"}, not_run, agent="support", turn="t")
    assert entry == made({"type": "function_call_output", "call_id": "c1", "output": text})


# --- its end ---


def test_the_newest_end_is_found_behind_items_of_others():
    entries = [ended("failed"), ended("completed"), item_entry(HELLO)]
    assert newest_end(entries)["record"]["status"] == "completed"
    assert newest_end([item_entry(HELLO)]) is None


def test_an_interrupted_turn_answers_its_calls_and_keeps_its_message():
    entries = [made(CALL), ended("awaiting_approval", asked=["c1"]), decided(approved=["c1"], message=[MORE])]
    output, end = interrupted(entries, agent="support", turn="t")
    assert output["item"]["output"] == MAY_HAVE_RUN
    assert (end["record"]["status"], end["record"]["message"]) == ("interrupted", [MORE])


def test_a_rollback_leaves_what_the_turn_has_cost_and_its_message():
    others = [sent(turn="before"), ended("completed", turn="before")]
    entries = [*others, sent(), HANDOFF, USAGE, made(CALL), made(OUTPUT), ended("failed", last_agent="billing")]
    left = rolled_back(entries, "t", "support")
    assert left == [*others, USAGE, ended("failed", last_agent="support", message=[HELLO])]


def test_a_rollback_puts_the_stored_part_of_a_message_before_the_unstored_one():
    left = rolled_back([sent(), ended("failed", message=[MORE])], "t", "support")
    assert left[-1]["record"]["message"] == [HELLO, MORE]
