"""How texts are cut into words: what is the same, what is found where, and what is shown."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents_sessions.model.words import SNIPPET, Mark, indexable, phrases_of, places, relevance, snippet, words


def cut(text):
    return [word.text for word in words(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("snake_case don't 3.14", ["snake", "case", "don", "t", "3", "14"]),
        ("Straße ÅNGSTRÖM naïve Łódź smørrebrød", ["strasse", "angstrom", "naive", "lodz", "smorrebrod"]),
        ("cafe\u0301 \uff21\uff22", ["cafe", "ab"]),
        ("订单42已退", ["订", "单", "42", "已", "退"]),
        ("タワー \uff76\uff9e", ["タ", "ワ", "ー", "ガ"]),
        ("한국 \u1112\u1161\u11ab", ["한", "국", "한"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("כֶּלֶב привёт", ["כלב", "привет"]),
        ("⑴ ½ \ud800 \U0001f600 …", ["1", "1\u20442"]),
        ("", []),
    ],
)
def test_a_text_is_cut_into_folded_words(text, found):
    assert cut(text) == found


@settings(max_examples=60)
@given(st.text(st.characters(max_codepoint=0x2FFFF), max_size=60))
def test_an_index_that_splits_at_ascii_has_the_same_words(text):
    split = [word for word in re.split(r"[\x00-/:-@\[-`{-\x7f]+", indexable(text)) if word]
    assert split == cut(text)


@settings(max_examples=30)
@given(st.text(max_size=40))
def test_a_word_stands_where_it_says(text):
    for word in words(text):
        assert word.text in cut(text[word.start : word.end])


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("refund order", [(("refund",), False), (("order",), True)]),
        ("refund order ", [(("refund",), False), (("order",), True)]),
        ('"my order" 42', [(("my", "order"), False), (("42",), True)]),
        ('find "my order"', [(("find",), False), (("my", "order"), False)]),
        ("订单42 x", [(("订", "单", "42"), False), (("x",), True)]),
        ('a" b', [(("a",), False), (("b",), True)]),
        ("tea tea tea", [(("tea",), False), (("tea",), True)]),
        ("?! --", []),
    ],
)
def test_what_is_typed_becomes_phrases(typed, found):
    assert [tuple(phrase) for phrase in phrases_of(typed)] == found


def test_every_phrase_must_be_there():
    text = "Blue tea, green tea"
    assert places(text, phrases_of("tea gre")) == [Mark(5, 8), Mark(10, 15), Mark(16, 19)]
    assert places(text, phrases_of('"green tea" blue')) == [Mark(0, 4), Mark(10, 19)]
    assert places(text, phrases_of("tea coffee")) is None
    assert places(text, ()) is None


def test_marks_that_meet_are_one():
    assert places("订单号", phrases_of("订单 单号")) == [Mark(0, 3)]


def test_a_snippet_is_one_line_around_the_first_mark():
    text = "word " * 100 + "needle\tin\nthe hay " + "word " * 100
    marks = places(text, phrases_of("needle hay"))
    shown = snippet(text, marks)
    assert shown.text[0] == shown.text[-1] == "…"
    assert len(shown.text) <= SNIPPET + 2
    assert "needle in the hay" in shown.text
    assert [shown.text[mark.start : mark.end] for mark in shown.marks] == ["needle", "hay"]
    assert shown.text[1:5] == "word"


def test_a_short_text_is_shown_whole():
    assert snippet("a needle", places("a needle", phrases_of("needle"))) == ("a needle", ((2, 8),))


def test_more_is_better_and_so_is_shorter():
    phrases = phrases_of("tea")
    once, twice, long = (relevance(text, phrases) for text in ("tea", "tea and tea", "tea " + "x " * 500))
    assert twice > once > long
