"""Entries as lines, and lines as entries."""

import json
import secrets

import pytest
from session_bytes import AT, LATER, grown, new_file, reader, said

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import record_entry
from agents_sessions.model.lossless_json import decode_json
from agents_sessions.stores.file.format.lines import encode_entry, encode_new
from agents_sessions.stores.file.format.sealed import read_items, read_sealed


def test_an_entry_is_a_line_with_its_number_first(monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda _: "5d0c91aa")
    data = grown([said("Hi")], [said("a"), said("b")])
    lines = data.decode().split("\n")[1:4]
    parts = [line[: line.index('"crc"')] + line[line.index('"at"') :] for line in lines]
    item = '"at":"2026-11-20T21:29:00.456Z","item":{"role":"user","content":'
    assert parts == [
        ' {"seq":1,' + item + '"Hi"}}',
        ',{"seq":2,"k":1,"n":2,' + item + '"a"}}',
        ',{"seq":3,"k":2,"n":2,' + item + '"b"}}',
    ]


def test_an_entry_keeps_the_time_that_it_has():
    kept = {**said("a"), "at": AT}
    assert encoded_at(kept, LATER) == AT
    assert encoded_at(said("a"), LATER) == LATER


def encoded_at(entry, at):
    return json.loads(b"{" + encode_entry(entry, at)[0] + b"}")["at"]


def test_items_are_read_without_decoding_what_is_around_them(monkeypatch):
    data = new_file([said("a"), record_entry({"type": "usage", "requests": []}), said("b")])
    tail = read_sealed(reader(data), len(data)).tail
    monkeypatch.setattr("agents_sessions.stores.file.format.lines._decode_list", None)
    assert [item["content"] for item in read_items(reader(data), tail)] == ["a", "b"]


USAGE = record_entry({"type": "usage", "requests": []}, agent="support", turn="t1")


@pytest.mark.parametrize(
    "entries",
    [
        [said("a"), {**said("b"), "agent": "support", "turn": "t1"}, USAGE],
        [{**said("a"), "at": AT}],
        [{**said("a"), "seq": 7, "k": 1, "n": 1, "crc": "0"}],
        [{**said("a"), "more": [1]}],
        [{"item": {"a": (1, 2)}}],
        [{"item": {"a": "\ud800"}}, said("b")],
        [],
    ],
)
def test_new_entries_are_encoded_as_each_by_itself_and_found_as_readers_find_them(entries):
    encoded, found = encode_new(entries, LATER)
    assert list(encoded) == [encode_entry(entry, LATER) for entry in entries]
    assert found == [decode_json(b"{%s,%s}" % entry) for entry in encoded]


@pytest.mark.parametrize(
    "entry",
    [
        {"item": {"a": float("nan")}},
        {"item": [1]},
        {"item": {}, "record": {}},
        {},
        {"item": {}, "agent": 1},
        {"item": {}, "at": "yesterday"},
        {"item": {}, "seq": "1"},
        {"record": {"type": "usage"}},
        {"record": {"type": "unknown"}},
    ],
)
def test_new_entries_one_of_which_cannot_be_stored_are_refused_with_its_place(entry):
    with pytest.raises(InvalidItemError, match="item 2 of 3"):
        encode_new([said("a"), entry, said("b")], LATER)
