"""A text is found in every form in which it can stand, and nothing that holds the history together changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents_sessions.model.redaction import Redaction

TEXT = 'Ä "quoted" \\ slash'


def layers(text, depth, *, ascii_only):
    """A text in JSON in a string, so many times over."""
    for _ in range(depth):
        text = json.dumps({"x": text}, ensure_ascii=ascii_only)
    return text


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_text_is_found_in_json_in_strings(depth, ascii_only):
    value, count = Redaction.of_text(TEXT, 'a "b"').value({"content": "<" + layers(TEXT, depth, ascii_only=ascii_only)})
    assert (value["content"], count) == ("<" + layers('a "b"', depth, ascii_only=ascii_only), 1)


@given(st.text(min_size=1, max_size=6), st.text(max_size=6), st.text(max_size=6))
def test_nothing_of_the_text_is_left(text, before, behind):
    value, _ = Redaction.of_text(text, "").value([before + text + behind])
    assert text not in value[0] or text in before + behind


def test_what_holds_the_history_together_stays():
    item = {"type": "message", "role": "user", "id": "user", "call_id": "user", "content": "user"}
    value, count = Redaction.of_text("user", "X").value(item)
    assert (value, count) == ({**item, "content": "X"}, 1)


def test_names_of_an_object_are_texts_too():
    assert Redaction.of_text("Bob", "X").value({"Bob's": 1}) == ({"X's": 1}, 1)


def test_a_whole_entry_is_emptied_and_its_arguments_stay_json():
    call = {"type": "function_call", "call_id": "c", "name": "pay", "arguments": '{"to": "Bob"}'}
    entry = {"seq": 3, "item": call}
    after, count = Redaction.of_entries([entry], "gone").entry(entry)
    assert (after["item"], count) == ({**call, "arguments": '{"removed": "gone"}'}, 1)


def test_what_an_entry_says_is_found_elsewhere_alone_or_if_it_is_long():
    entries = [{"seq": 1, "item": {"role": "user", "content": text}} for text in ("yes", "a text of some length")]
    redaction = Redaction.of_entries(entries, "X")
    assert redaction.value("yes") == ("X", 1)
    assert redaction.value("yesterday") == ("yesterday", 0)
    assert redaction.value("<a text of some length>") == ("<X>", 1)


@pytest.mark.parametrize(
    ("data", "after"),
    [
        (b'{"a":"Bob"}', b'{"a":"X"}'),
        (b'{"a":"Bob', b'{"a":"X'),
        (b"\xff Bob", b"\xff X"),
        (b'{"a":"B"}', b'{"a":"B"}'),
    ],
    ids=["json", "torn", "bytes", "without"],
)
def test_a_document_loses_it_whatever_it_is(data, after):
    found, count = Redaction.of_text("Bob", "X").data(data)
    assert (found, count) == (after, int(data != after))
