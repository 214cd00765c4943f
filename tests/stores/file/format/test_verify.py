"""What a line and a batch must say to prove themselves, when no seal does."""

from functools import reduce

import pytest
from session_bytes import (
    appended,
    bodies,
    contents,
    contents_without_tail,
    cut_in_its_tail,
    forged,
    grown,
    new_file,
    said,
)

from agents_sessions.model.entries import item_entry
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.reading import decode_document


def test_a_file_without_its_tail_has_every_whole_batch():
    data = grown([said("b")], [said("c"), said("d"), said("e")], [said("f")], start=[said("a")])
    assert contents_without_tail(data) == ["a", "b", "c", "d", "e", "f"]


def test_numbers_may_be_missing_between_batches():
    data = reduce(appended, ([said("b")], [said("c"), said("d")], [said("e")]), new_file([said("a")], seq=5))
    decoded = decode_document(cut_in_its_tail(data))
    assert bodies(decoded) == [(1, said("a")["item"]), *((seq, said(one)["item"]) for seq, one in enumerate("bcde", 6))]


FILE = grown([said("b")], [said("c")], start=[said("a")])
WRONG = {
    "a number that is text": (b'"seq":3', b'"seq":"3"'),
    "a number that is true": (b'"seq":3', b'"seq":true'),
    "a number beyond all": (b'"seq":3', b'"seq":9007199254740993'),
    "a number that was given": (b'"seq":3', b'"seq":2'),
    "a number below": (b'"seq":3', b'"seq":1'),
    "no number": (b'"seq":3', b'"x":3'),
    "a place that is no number": (b'"seq":3', b'"seq":3,"k":"1"'),
    "a place that is true": (b'"seq":3', b'"seq":3,"k":true'),
    "a second place": (b'"seq":3', b'"seq":3,"k":2'),
    "a size that is no number": (b'"seq":3', b'"seq":3,"n":1.0'),
    "an unfinished batch": (b'"seq":3', b'"seq":3,"k":1,"n":2'),
    "no time": (b'"at"', b'"xx"'),
    "a time that is none": (b'"at":', b'"at":5,"x":'),
    "an agent that is none": (b'"at":', b'"agent":5,"at":'),
    "a turn that is none": (b'"at":', b'"turn":null,"at":'),
    "an item that is a list": (b'"item":', b'"item":[],"x":'),
    "an item that is none": (b'"item":', b'"item":null,"x":'),
    "no body": (b'"item":', b'"x":'),
    "no JSON": (b'"item":', b'"item"'),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_last_line_that_says_what_cannot_be_is_none_whatever_its_checksum(name):
    assert contents_without_tail(FILE) == ["a", "b", "c"]
    assert contents_without_tail(forged(FILE, FILE.index(b'"c"'), *WRONG[name])) == ["a", "b"]


def test_a_line_that_is_a_list_is_none_whatever_its_checksum():
    data = forged(FILE, FILE.index(b'"c"'), b'{"seq":3', b'[{"seq":3')
    assert contents_without_tail(forged(data, data.index(b'"c"'), b"}}\n", b"}}]\n")) == ["a", "b"]


RIGHT = {
    "the largest number": (b'"seq":3', b'"seq":9007199254740992'),
    "a batch of one that says so": (b'"seq":3', b'"seq":3,"k":1,"n":1'),
    "an agent and a turn": (b'"at":', b'"agent":"a","turn":"r","at":'),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_last_line_that_says_what_can_be_is_read(name):
    assert contents_without_tail(forged(FILE, FILE.index(b'"c"'), *RIGHT[name])) == ["a", "b", "c"]


def test_an_item_may_have_a_checksum_of_its_own():
    item = {"id": 1, "crc": "01234567", "more": {"x": 1, "crc": "89abcdef"}}
    data = grown([item_entry(item), said("b")], start=[item_entry(item)])
    decoded = decode_document(cut_in_its_tail(data))
    assert [body for _, body in bodies(decoded)] == [item, item, said("b")["item"]]


def test_a_line_is_proved_with_its_comma():
    data = cut_in_its_tail(FILE)
    for line, lead in (("a", b","), ("c", b" "), ("c", b"[")):
        begin = data.rindex(b"\n", 0, data.index(f'"{line}"'.encode())) + 1
        try:
            found = contents(decode_document(data[:begin] + lead + data[begin + 1 :]))
        except Damage:
            found = []
        assert found == ([] if line == "a" else ["a", "b"])


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (b',"k":2,"n":3', b',"k":2,"n":4', ["a"]),
        (b',"k":2,"n":3', b',"k":2', ["a"]),
        (b'"seq":3,"k":2,"n":3', b'"seq":4,"k":3,"n":3', ["a"]),
        (b'"seq":3', b'"seq":4', None),
        (b'"seq":3', b'"seq":2', None),
        (b',"k":2', b',"k":3', None),
        (b',"k":2,"n":3', b"", None),
        (b',"k":2', b',"k":1', None),
    ],
)
def test_a_batch_whose_lines_do_not_follow_each_other_is_none(old, new, found):
    """It is torn if all its lines can be of one batch, and damage if they are of two."""
    data = grown([said("b"), said("c"), said("d")], start=[said("a")])
    odd = forged(data, data.index(b'"c"'), old, new)
    if found is None:
        with pytest.raises(Damage, match="not only in its last append"):
            contents_without_tail(odd)
    else:
        assert contents_without_tail(odd) == found
