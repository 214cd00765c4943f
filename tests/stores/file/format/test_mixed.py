"""JSON of two writes: never taken for an edit, as no edit is taken for it."""

import json
from functools import partial

import pytest
from session_bytes import HEADER, contents, grown, new_file, planned, said, spliced

from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.tail import SECTOR

DOUBLED = {
    "a history behind the end": lambda text: text.rstrip().removesuffix("}") + ',"history":[]}',
    "a history of the same": lambda text: text.rstrip().removesuffix("}") + ',"history":[1]}',
    "a fact behind the end": lambda text: text.rstrip().removesuffix("}") + ',"name":"second"}',
    "an item": lambda text: text.replace('"item":', '"item":{"role":"user","content":"lost"},"item":', 1),
    "a fact": lambda text: text.replace('"name":', '"name":"lost","name":', 1),
    "a number": lambda text: text.replace('"seq":', '"seq":7,"seq":', 1),
    "an escaped name": lambda text: text.replace('"role":', '"r\\u006fle":"lost","role":', 1),
    "far inside": lambda text: text.replace('"content":"a"', '"content":[{"x":[{"y":1,"y":2}]}]', 1),
}


@pytest.mark.parametrize("name", DOUBLED)
def test_a_name_that_stands_twice_is_damage_and_nothing_is_lost_in_silence(name):
    data = DOUBLED[name](grown([said("a")], [said("b")]).decode()).encode()
    assert json.loads(data)
    with pytest.raises(Damage, match="a name stands twice"):
        decode_document(data)


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', '\\\\"', "\\n\\", '\n"\t\\', "\\u0022", '"' * 5, '\\"\\\\"\\\\\\"', "\ud800", "ü\u2028"]
)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
def test_no_text_looks_like_a_name_that_stands_twice(text, chunk, monkeypatch):
    monkeypatch.setattr("agents_sessions.stores.file.format.mixed._CHUNK", chunk)
    written = grown([said("a")], [said(text, **{text: text})])
    for dump in (partial(json.dumps, indent=2), partial(json.dumps, ensure_ascii=False)):
        data = dump(json.loads(written)).encode("utf-8", "backslashreplace")
        decoded = decode_document(data)
        assert decoded.shape == "edited"
        assert decoded.entries[1]["item"][text] == text


def test_a_hand_edit_is_not_taken_for_the_end_of_a_file():
    """Wherever its lines end: a line is no end, for there is no padding behind it."""
    for length in range(SECTOR):
        data = grown([said("x" * 600), said("y" * length), said("z" * 600)], start=[said("a")])
        decoded = decode_document(data.replace(b'"xx', b'"yx'))
        assert (decoded.shape, len(decoded.entries)) == ("edited", 4)


def test_a_tab_that_a_person_typed_is_an_edit():
    data = grown([said("b")], [said("c")], start=[said("a")])
    line = data.index(b',{"seq":3')
    typed = data[:line] + b"\t" * 100 + data[line:].replace(b'"c"', b'\t"C"')
    assert decode_document(typed).shape == "edited"
    assert contents(decode_document(typed)) == ["a", "b", "C"]


def test_the_first_bytes_of_the_old_tail_in_front_of_new_lines_are_torn_and_no_facts():
    """A disk may show the size of a part of an append, its later sectors and not its first."""
    mixed = 0
    for name in range(512):
        old = new_file([said("a")], name="n" * name)
        plan = planned(old, [said("b"), said("c")])
        new, edge = spliced(old, plan.offset, plan.data), -(-plan.offset // 512) * 512
        if 0 < edge - plan.offset < len(b'],"context":'):
            for end in range(edge, len(new)):
                decoded = decode_document(old[:edge] + new[edge:end])
                assert decoded.header == {**HEADER, "name": "n" * name}
                mixed += 1
    assert mixed
