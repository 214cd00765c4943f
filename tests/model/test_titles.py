"""What a session without a name is called."""

import pytest

from agents_sessions.model.entries import item_entry
from agents_sessions.model.titles import MAX_TITLE, title_of


def said(content, role="user"):
    return {**item_entry({"role": role, "content": content}), "seq": 1, "at": "2026-11-20T12:00:00.000Z"}


@pytest.mark.parametrize(
    ("entries", "title"),
    [
        ([said("Where is my parcel?")], "Where is my parcel?"),
        ([said("  Where\n\tis it? ")], "Where is it?"),
        ([said("Be kind.", "system"), said("Hello", "assistant"), said("Hi"), said("Later")], "Hi"),
        ([said(" \n"), said("Hi")], "Hi"),
        ([said([{"type": "input_image", "image_url": "…"}])], "[image]"),
        ([said("Hello", "assistant")], None),
        ([], None),
    ],
)
def test_a_title_is_the_first_thing_that_the_user_said(entries, title):
    assert title_of(entries) == title


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("word " * 20, "word " * 11 + "word…"),
        ("x" * 100, "x" * 59 + "…"),
        ("包裹在哪里" * 20, ("包裹在哪里" * 20)[:59] + "…"),
        ("x" * 60, "x" * 60),
    ],
)
def test_a_long_title_ends_at_a_word_if_there_is_one(text, title):
    assert title_of([said(text)]) == title
    assert len(title) <= MAX_TITLE
