"""The account of a run, without a Runner and without a store."""

from agents import RunContextWrapper
from agents.usage import Usage
from script import USAGE

from agents_sessions.shared_usage import run_of
from agents_sessions.turns.ledger import Ledger
from agents_sessions.turns.past import MAY_HAVE_RUN, NOT_RUN

HELLO = {"role": "user", "content": "hello"}
MORE = {"role": "user", "content": "more"}
ANSWER = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "pay", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "paid"}
ROW = {
    "requests": 1,
    "input_tokens": 10,
    "cached_tokens": 4,
    "cache_write_tokens": 0,
    "output_tokens": 5,
    "reasoning_tokens": 2,
    "total_tokens": 15,
}


def sent(ledger, *items):
    """Let the Runner store items, and return what the ledger made of them."""
    ledger.add_items(items)
    batch = ledger.take_batch()
    ledger.enter_stored(batch)
    return batch


def end_of(ledger, status, **facts):
    ledger.end(status, **facts)
    return ledger.take_batch()[-1]["record"]


def kinds(entries):
    return [entry["record"]["type"] if "record" in entry else "item" for entry in entries]


def asked(ledger, *rows):
    """Let the agent `support` make model requests."""
    usage = ledger.usage or Usage()
    for row in rows:
        usage.add(USAGE)
        ledger.see_agent("support", usage)
        ledger.see_request(row)


# --- whose an item is ---


def test_the_message_is_of_no_agent():
    (entry,) = sent(Ledger(turn="t", message=[HELLO], agent="support"), HELLO)
    assert entry == {"item": HELLO, "turn": "t"}


def test_a_message_that_looks_like_an_answer_is_of_no_agent():
    first, second = sent(Ledger(turn="t", message=[ANSWER], agent="support"), ANSWER, ANSWER)
    assert "agent" not in first
    assert second["agent"] == "support"


def test_an_item_is_of_the_agent_that_speaks():
    ledger = Ledger(turn="t", message=[HELLO])
    asked(ledger, {**ROW})
    assert sent(ledger, CALL)[0]["agent"] == "support"


# --- what waits ---


def test_a_batch_is_taken_once():
    ledger = Ledger(turn="t")
    ledger.add_items([HELLO])
    assert kinds(ledger.take_batch()) == ["item"]
    assert ledger.take_batch() == []


def test_a_batch_that_could_not_be_stored_waits_again_without_its_items():
    ledger = Ledger(turn="t", message=[HELLO])
    asked(ledger, {**ROW})
    ledger.add_items([CALL])
    ledger.put_back(ledger.take_batch())
    assert kinds(ledger.waiting) == ["usage"]


def test_an_end_that_could_not_be_stored_does_not_wait():
    ledger = Ledger(turn="t")
    ledger.end("completed")
    ledger.put_back(ledger.take_batch())
    assert ledger.waiting == []


# --- what it has cost ---


def test_requests_come_behind_the_items_of_their_batch():
    ledger = Ledger(turn="t", message=[HELLO])
    asked(ledger, {**ROW}, {**ROW})
    batch = sent(ledger, CALL)
    assert kinds(batch) == ["item", "usage"]
    assert batch[1]["record"]["requests"] == ledger.spent == [ROW, ROW]


def test_what_the_usage_gained_beyond_the_requests_is_nested():
    ledger = Ledger(turn="t")
    asked(ledger, {**ROW})
    ledger.usage.add(USAGE)
    sent(ledger, CALL)
    assert ledger.spent == [ROW, {**ROW, "nested": True}]


def test_what_was_spent_before_the_run_is_not_counted():
    ledger = Ledger(turn="t")
    wrapper = RunContextWrapper(None)
    wrapper.usage.add(USAGE)
    ledger.begin_count(run_of(wrapper, "s"))
    ledger.usage = wrapper.usage
    sent(ledger, HELLO)
    assert ledger.spent == []


def test_a_resumed_run_counts_on_from_where_the_turn_stopped():
    first = Ledger(turn="t")
    asked(first, {**ROW})
    sent(first, CALL)
    second = Ledger(turn="t", resumed=True, usage=first.usage, counted=first.mark())
    asked(second, {**ROW})
    sent(second, OUTPUT)
    assert second.spent == [ROW]


def test_the_end_repeats_the_sum():
    ledger = Ledger(turn="t")
    asked(ledger, {**ROW}, {**ROW})
    assert end_of(ledger, "completed")["usage"] == {name: 2 * value for name, value in ROW.items()}


def test_a_handoff_precedes_what_the_next_agent_does():
    ledger = Ledger(turn="t")
    ledger.see_handoff({"type": "handoff", "from": "triage", "to": "support"})
    ledger.see_agent("support", Usage())  # the model is about to be asked
    asked(ledger, {**ROW})
    assert kinds(sent(ledger, ANSWER)) == ["handoff", "item", "usage"]


# --- its message ---


def test_a_message_that_was_not_stored_is_in_the_end():
    assert end_of(Ledger(turn="t", message=[HELLO]), "failed")["message"] == [HELLO]


def test_a_message_that_was_stored_is_not_in_the_end():
    ledger = Ledger(turn="t", message=[HELLO])
    sent(ledger, HELLO)
    assert "message" not in end_of(ledger, "failed")


def test_the_outputs_of_a_resumed_run_do_not_show_its_message():
    ledger = Ledger(turn="t", message=[MORE], resumed=True, agent="support", calls={"c1": "function_call"})
    sent(ledger, OUTPUT)
    assert ledger.unstored_message() == [MORE]
    sent(ledger, MORE)
    assert ledger.unstored_message() == []


def test_a_message_that_is_too_large_is_called_lost():
    ledger = Ledger(turn="t", message=[HELLO])
    ledger.forget_message()
    end = end_of(ledger, "failed")
    assert end["message_lost"]
    assert "message" not in end


def test_a_rollback_gives_the_message_back():
    ledger = Ledger(turn="t", message=[HELLO])
    sent(ledger, HELLO)
    ledger.end("failed")
    ledger.enter_stored(ledger.take_batch())
    ledger.roll_back("support")
    (end,) = ledger.stored
    assert (end["record"]["message"], end["record"]["last_agent"]) == ([HELLO], "support")


# --- its calls ---


def test_an_end_in_failure_answers_the_calls():
    ledger = Ledger(turn="t", agent="support")
    sent(ledger, CALL)
    ledger.end("cancelled")
    assert ledger.waiting[0]["item"]["output"] == MAY_HAVE_RUN


def test_a_call_that_was_asked_approval_for_has_not_run_until_it_is_approved():
    ledger = Ledger(turn="t", agent="support")
    sent(ledger, CALL)
    ledger.ask(["c1"])
    for approved, text in ([], NOT_RUN), (["c1"], MAY_HAVE_RUN):
        ledger.decide({"type": "decision", "approved": approved, "rejected": []})
        ledger.end("failed")
        outputs = [entry["item"]["output"] for entry in ledger.take_batch() if "item" in entry]
        assert outputs == [text]


def test_an_end_that_asks_names_the_calls():
    ledger = Ledger(turn="t", agent="support")
    sent(ledger, CALL)
    ledger.ask(["c1"])
    assert end_of(ledger, "awaiting_approval", last_agent="support")["asked"] == ["c1"]
    assert ledger.unanswered() == {"c1": "function_call"}


def test_a_call_from_before_the_run_is_open_until_its_output():
    ledger = Ledger(turn="t", resumed=True, calls={"c1": "function_call"})
    assert ledger.unanswered() == {"c1": "function_call"}
    sent(ledger, OUTPUT)
    assert ledger.unanswered() == {}


# --- its end ---


def test_an_end_says_who_spoke_last_and_what_went_wrong():
    end = end_of(Ledger(turn="t", agent="support"), "failed", error="ValueError")
    assert (end["status"], end["last_agent"], end["error"]) == ("failed", "support", "ValueError")
    assert end["duration_ms"] >= 0


def test_a_run_that_no_agent_spoke_in_ends_without_one():
    assert "last_agent" not in end_of(Ledger(turn="t"), "failed")
