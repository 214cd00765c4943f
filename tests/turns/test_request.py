"""What a caller wants, as a value."""

import pytest

from agents_sessions.errors import InvalidItemError, InvalidValueError
from agents_sessions.turns.request import Decisions, Prompt

HELLO = {"role": "user", "content": "hello"}
MORE = {"role": "user", "content": "more"}


def test_a_text_is_stored_as_an_item_and_given_as_a_text():
    prompt = Prompt.of("hello")
    assert (prompt.content, prompt.items) == ("hello", [HELLO])


def test_items_are_given_as_they_are_stored():
    prompt = Prompt.of([HELLO])
    assert prompt.content == prompt.items == [HELLO]


@pytest.mark.parametrize("content", [["hello"], [{"content": {1}}]])
def test_what_cannot_be_stored_is_refused(content):
    with pytest.raises(InvalidItemError):
        Prompt.of(content)


@pytest.mark.parametrize("content", [None, 5, b"hello", {"role": "user"}])
def test_what_is_neither_a_text_nor_a_list_is_refused(content):
    with pytest.raises(InvalidValueError, match="content must be a text or a list of items"):
        Prompt.of(content)


def test_a_prompt_comes_behind_one_that_was_sent_before():
    prompt = Prompt.of("more").behind([HELLO])
    assert prompt.content == prompt.items == [HELLO, MORE]


def test_a_prompt_behind_none_stays_a_text():
    assert Prompt.of("more").behind([]).content == "more"


@pytest.mark.parametrize(
    ("decisions", "approved", "rejected", "about_all"),
    [
        (Decisions(["a"], {"b": "no"}), ["a"], {"b": "no"}, False),
        (Decisions(("a",), ["b"]), ["a"], {"b": None}, False),
        (Decisions(approve=True, reject=["b"]), [], {"b": None}, True),
        (Decisions(approve=["a"], reject=True), ["a"], {}, True),
        (Decisions(), [], {}, False),
        (Decisions(approve=False, reject=False), [], {}, False),
    ],
)
def test_decisions_are_by_name_or_about_all(decisions, approved, rejected, about_all):
    assert (list(decisions.approved), decisions.rejected, decisions.are_about_all) == (approved, rejected, about_all)
