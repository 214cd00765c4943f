"""What of a history is seen follows from the newest view record alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import record_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.model.view import NOTHING_HIDDEN, View, kept, shown, shown_items, view_of

AT = "2026-01-01T00:00:00.000Z"


def said(seq):
    return {"seq": seq, "at": AT, "item": {"role": "user", "content": str(seq)}}


def viewed(seq, view, **more):
    return {"seq": seq, "at": AT, "record": {**view.record("undo"), **more}}


def texts(entries):
    return [item["content"] for item in shown_items(entries)]


HISTORY = [said(seq) for seq in range(1, 7)]


def test_all_is_seen_where_no_record_says_otherwise():
    assert view_of(HISTORY) is NOTHING_HIDDEN
    assert shown(HISTORY) == kept(HISTORY) == HISTORY


def test_the_newest_record_holds():
    entries = [*HISTORY, viewed(7, View(((1, 6),))), viewed(8, View(((2, 3),)))]
    assert texts(entries) == ["1", "4", "5", "6"]


def test_a_summary_stands_in_front_of_what_it_leaves():
    summary = {"role": "user", "content": "short"}
    entries = [*HISTORY, viewed(7, View(((6, 6),), 4), summary=summary)]
    assert texts(entries) == ["short", "5"]
    assert [entry["seq"] for entry in kept(entries)] == [1, 2, 3, 4, 5, 7]


def test_a_summary_whose_record_was_removed_lets_the_originals_be_seen():
    assert texts([*HISTORY, viewed(8, View((), 4, 7))]) == ["1", "2", "3", "4", "5", "6"]


def test_a_view_is_read_from_the_end_of_a_history_however_short_it_is():
    entries = [*HISTORY, viewed(7, View(((2, 5),))), said(8)]
    for begin in range(len(entries)):
        suffix = entries[begin:]
        assert kept(suffix) == [entry for entry in kept(entries) if entry in suffix]


def test_records_of_the_history_itself_are_never_taken_back():
    entries = [*HISTORY, viewed(7, View(((1, 9),)))]
    assert kept(entries) == entries[-1:]


RANGES = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)).map(lambda pair: (pair[0], sum(pair))), max_size=6)


def view_from(ranges, compacted=0):
    view = View((), compacted)
    for first, last in ranges:
        view = view.without(first, last)
    return view


@given(RANGES, st.integers(0, 20))
def test_ranges_add_up(ranges, compacted):
    view = view_from(ranges, compacted)
    for seq in range(1, 40):
        gone = any(first <= seq <= last for first, last in ranges)
        assert view.is_taken_back(seq) == gone
        assert view.shows(seq) == (not gone and seq > compacted)


@given(RANGES, st.integers(0, 20), st.integers(1, 40))
def test_the_windows_of_a_view_are_what_it_shows(ranges, compacted, newest):
    view = view_from(ranges, compacted)
    found = [seq for first, last in reversed(list(view.windows(newest))) for seq in range(first, last + 1)]
    assert found == [seq for seq in range(1, newest + 1) if view.shows(seq)]


@given(RANGES, st.integers(0, 20), st.integers(0, 40))
def test_a_view_of_a_shorter_history_says_the_same_of_it(ranges, compacted, seq):
    view = view_from(ranges, compacted)
    shorter = view.until(seq)
    assert [shorter.is_taken_back(each) for each in range(1, seq + 1)] == [
        view.is_taken_back(each) for each in range(1, seq + 1)
    ]
    assert shorter.compacted == (compacted if compacted <= seq else 0)


@given(RANGES, st.integers(0, 20), st.integers(0, 50))
def test_a_view_comes_back_from_the_totals_as_it_was(ranges, compacted, summary):
    view = View(view_from(ranges).hidden, compacted, summary)
    stats = fold(ContextStats(), [viewed(51, view)])
    assert stats.view == (None if view == NOTHING_HIDDEN else view)
    assert ContextStats.from_json(stats.to_json()) == stats


@pytest.mark.parametrize(
    "record",
    [
        {"type": "view", "why": "undo"},
        {"type": "view", "why": "undo", "hidden": [[1]]},
        {"type": "view", "why": "undo", "hidden": [["a", "b"]]},
        {"type": "view", "why": "undo", "hidden": [[1, 2]], "compacted": "x"},
    ],
)
def test_a_record_that_is_no_view_is_refused(record):
    with pytest.raises(InvalidItemError):
        fold(ContextStats(), [{**record_entry(record), "seq": 1}])
