"""A history is told as turns, whoever wrote it."""

import pytest

from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.turn_list import FIRST_WORDS, message_of, spans, turn_info, unstored_message_of
from agents_sessions.model.usage import NOTHING
from agents_sessions.model.view import NOTHING_HIDDEN, View

ANSWER = {"role": "assistant", "content": "so"}


def numbered(*entries):
    return [{"at": "2026-01-01T00:00:00.000Z", **entry, "seq": seq} for seq, entry in enumerate(entries, 1)]


def said(text, **labels):
    return item_entry({"role": "user", "content": text}, **labels)


def ended(turn, status="completed", **more):
    record = {"type": "turn", "status": status, "usage": NOTHING.row(), "duration_ms": 5, **more}
    return record_entry(record, turn=turn)


def ids(*entries):
    return [span.id for span in spans(numbered(*entries))]


def test_entries_of_one_id_are_one_turn_whatever_stands_between():
    assert ids(said("a", turn="t1"), said("b", turn="t2"), ended("t1"), ended("t2")) == ["t1", "t2"]


def test_what_a_bare_session_says_inside_a_turn_is_a_part_of_it():
    (span,) = spans(numbered(said("a", turn="t1"), ended("t1", "awaiting_approval"), said("bare"), ended("t1")))
    assert (span.first, span.last, [entry["seq"] for entry in span.entries]) == (1, 4, [1, 2, 3, 4])


def test_without_ids_a_turn_begins_at_a_user_message():
    assert ids(said("a"), item_entry(ANSWER), said("b"), item_entry(ANSWER)) == ["at-1", "at-3"]


def test_what_stands_before_the_first_user_message_is_a_turn_too():
    assert ids(item_entry(ANSWER), said("a")) == ["at-1", "at-2"]


def test_what_speaks_of_the_history_is_part_of_no_turn():
    view = record_entry(NOTHING_HIDDEN.record("undo"))
    assert [len(span.entries) for span in spans(numbered(said("a"), view, item_entry(ANSWER)))] == [2]


@pytest.mark.parametrize(
    ("entries", "status"),
    [
        ([said("a", turn="t")], None),
        ([said("a", turn="t"), ended("t", "failed")], "failed"),
        ([said("a", turn="t"), ended("t", "awaiting_approval")], "awaiting_approval"),
        ([said("a", turn="t"), ended("t", "awaiting_approval"), item_entry(ANSWER, turn="t")], None),
        ([said("a", turn="t"), ended("t", "awaiting_approval"), ended("t")], "completed"),
    ],
    ids=["running", "failed", "waiting", "resumed", "ended after all"],
)
def test_a_turn_has_the_status_of_its_end(entries, status):
    assert turn_info(spans(numbered(*entries))[0], NOTHING_HIDDEN).status == status


def test_a_turn_is_listed_with_its_words_its_agent_its_costs_and_its_times():
    rows = [{**NOTHING.row(), "requests": 1, "total_tokens": 7}]
    entries = numbered(
        said("long  words\n" * 20, turn="t"),
        item_entry(ANSWER, agent="a", turn="t"),
        record_entry({"type": "usage", "requests": rows}, turn="t"),
        ended("t", last_agent="b"),
    )
    info = turn_info(spans(entries)[0], View(((1, 4),)))
    assert info.text.startswith("long words long words")
    assert len(info.text) == FIRST_WORDS
    assert (info.agent, info.usage.total_tokens, info.duration_ms, info.taken_back) == ("b", 7, 5, True)
    assert (info.first, info.last) == (1, 4)


def test_the_message_of_a_turn_is_what_it_was_sent():
    (span,) = spans(numbered(said("a", turn="t"), item_entry(ANSWER, agent="x", turn="t"), said("b", turn="t")))
    assert [entry["item"]["content"] for entry in message_of(span)] == ["a"]


def test_a_message_that_only_the_end_has_is_found_there():
    (span,) = spans(numbered(ended("t", "failed", message=[{"role": "user", "content": "lost"}])))
    assert message_of(span) == []
    assert unstored_message_of(span) == [{"role": "user", "content": "lost"}]
    assert turn_info(span, NOTHING_HIDDEN).text == "lost"
