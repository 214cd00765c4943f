"""No cut and no removal separates what belongs together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.model.pairs import boundary, cuts, links, with_partners

USER = {"role": "user", "content": "hi"}
SAID = {"role": "assistant", "content": "so"}
THOUGHT = {"type": "reasoning", "id": "r"}


def call(call_id, kind="function_call"):
    return {"type": kind, "call_id": call_id}


def output(call_id, kind="function_call_output"):
    return {"type": kind, "call_id": call_id, "output": ""}


HISTORY = [USER, THOUGHT, call("a"), call("b"), output("a"), output("b"), SAID]


def test_calls_belong_to_their_outputs_and_reasoning_to_what_follows():
    assert sorted(links(HISTORY)) == [(1, 2), (2, 4), (3, 5)]


def test_a_history_is_cut_where_nothing_is_separated():
    assert cuts(HISTORY) == [0, 1, 6, 7]


@pytest.mark.parametrize(("place", "expected"), [(0, 0), (3, 1), (5, 1), (6, 6), (7, 7)])
def test_a_cut_moves_back_to_where_it_separates_nothing(place, expected):
    assert boundary(HISTORY, place) == expected


@pytest.mark.parametrize(
    ("chosen", "expected"), [({0}, {0}), ({1}, {1, 2, 4}), ({4}, {1, 2, 4}), ({3}, {3, 5}), ({6}, {6})]
)
def test_what_cannot_be_there_alone_goes_along(chosen, expected):
    assert with_partners(HISTORY, chosen) == expected


def test_an_id_that_is_used_again_belongs_to_the_call_in_front_of_it():
    assert links([call("x"), output("x"), call("x"), output("x")]) == [(0, 1), (2, 3)]


def test_hosted_approvals_find_each_other_by_their_own_names():
    asked, answer = {"type": "mcp_approval_request", "id": "m"}, {"type": "mcp_approval_response"}
    assert links([asked, {**answer, "approval_request_id": "m"}]) == [(0, 1)]


@given(st.lists(st.sampled_from([USER, SAID, THOUGHT, *map(call, "ab"), *map(output, "ab")]), max_size=12))
def test_a_cut_is_allowed_where_no_link_crosses_it(items):
    crossed = {place for first, second in links(items) for place in range(first + 1, second + 1)}
    assert cuts(items) == [place for place in range(len(items) + 1) if place not in crossed]
