"""The last line of a file: how it is found, what it says, and what its seal covers."""

import json
from zlib import crc32

import pytest
from session_bytes import LATER, Watched, grown, new_file, reader, said

from agents_sessions.model.entries import record_entry
from agents_sessions.stores.file.format.lines import CRC_OPENS, MAX_SEQ
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_sealed
from agents_sessions.stores.file.format.tail import parse_tail, seal_holds


def test_the_seal_tells_header_history_and_last_batch():
    data = grown([said("a")], [said("b"), said("c")])
    seal = json.loads(data)["seal"]
    assert data[: seal["body"]].endswith(b'"history":[\n')
    assert data[seal["start"] : seal["end"]].count(b"\n") == 2
    assert data[seal["end"] :].startswith(b'],"context":')


@pytest.mark.parametrize("length", [10, 24_000, 25_000, 190_000, 1_400_000])
def test_a_tail_may_be_long(length):
    data = new_file([record_entry({"type": "handoff", "from": "a", "to": "b" * length}), said("c")])
    sealed = read_sealed(reader(data), len(data))
    assert sealed.tail.context.last_agent == "b" * length


def test_the_end_of_a_file_is_not_looked_for_in_all_of_it():
    read = []

    def nothing(offset, length):
        read.append(length)
        return bytearray(length)

    assert read_sealed(nothing, 1 << 30) is None
    assert sum(read) < 1 << 22


def test_a_small_file_without_an_end_is_read_once():
    watched = Watched(b"x" * 1000)
    assert read_sealed(watched, 1000) is None
    assert watched.lengths == [1000]


def test_the_last_line_that_begins_as_a_tail_is_the_tail():
    data = grown([said("b")], start=[said("a" * 30)])
    other = data.replace(b"a" * 30, b'\n],"context":'.ljust(30, b"a"))
    assert read_sealed(reader(other), len(other)).tail.seq == 2


@pytest.mark.parametrize("claimed", [1, 2, 4, 30])
def test_a_seal_whose_number_is_not_that_of_the_last_line_does_not_hold(claimed):
    data = grown([said("a")], [said("b"), said("c")])
    tail = read_sealed(reader(data), len(data)).tail
    text = tail.text[: tail.text.rindex(CRC_OPENS)].replace(b'"seal":{"seq":3,', b'"seal":{"seq":%d,' % claimed)
    sum_ = crc32(text, crc32(data[tail.start : tail.end], crc32(data[: tail.body])))
    lying = data[: tail.end] + text + b'%s%08x"}}\n' % (CRC_OPENS, sum_)
    assert read_sealed(reader(lying), len(lying)) is None
    decoded = decode_document(lying)
    assert (decoded.shape, [entry["seq"] for entry in decoded.entries]) == ("edited", [1, 2, 3])
    assert decoded.seq >= 3, "no number is given twice"


def test_the_end_of_an_ordinary_file_is_found_with_one_read():
    data = new_file([said("x" * 300_000)])
    watched = Watched(data)
    read_sealed(watched, len(data))
    assert len(watched.lengths) == 2
    assert sum(watched.lengths) < 30_000


def tail_of(data, **seal):
    """Return the tail of a file with other numbers in its seal, and its offset."""
    tail = read_sealed(reader(data), len(data)).tail
    whole = json.loads(b'{"history":[' + tail.text)
    whole["seal"].update(seal)
    text = json.dumps({name: whole[name] for name in ("context", "updated_at", "seal")}, separators=(",", ":"))
    return b"]," + text[1:].encode() + b"\n", tail


def test_a_tail_is_read_with_its_numbers():
    data = grown([said("b")], [said("c")], start=[said("a")])
    text, tail = tail_of(data)
    assert text == tail.text
    assert parse_tail(text, tail.end) == tail


@pytest.mark.parametrize(
    "seal",
    [
        lambda tail: {"end": tail.end + 1},
        lambda tail: {"end": tail.end - 1},
        lambda tail: {"body": 0},
        lambda tail: {"body": -1},
        lambda tail: {"body": tail.start + 1},
        lambda tail: {"start": tail.body - 1},
        lambda tail: {"start": tail.end + 1},
        lambda tail: {"seq": -1},
        lambda tail: {"seq": MAX_SEQ + 1},
        lambda tail: {"seq": True},
        lambda tail: {"body": float(tail.body)},
    ],
)
def test_a_tail_with_numbers_that_cannot_be_is_none(seal):
    text, tail = tail_of(grown([said("b")], [said("c")], start=[said("a")]))
    text, _ = tail_of(grown([said("b")], [said("c")], start=[said("a")]), **seal(tail))
    assert parse_tail(text, tail.end) is None


@pytest.mark.parametrize("seq", [0, 1, MAX_SEQ])
def test_a_tail_with_numbers_that_can_be_is_one(seq):
    data = new_file()
    text, tail = tail_of(data, seq=seq)
    assert tail.body == tail.start == tail.end
    assert parse_tail(text, tail.end).seq == seq
    text, _ = tail_of(data, seq=seq, body=1)
    assert parse_tail(text, tail.end).body == 1


def test_a_tail_elsewhere_is_none():
    text, tail = tail_of(grown([said("a")]))
    assert parse_tail(text, tail.end + 1) is None
    assert parse_tail(text, tail.end - 1) is None


@pytest.mark.parametrize(
    "time", ["2026-11-20T21:29:00.456000Z", "2026-11-20 21:29:00.456Z", "2026-11-20T22:29:00.456+01:00"]
)
def test_a_tail_with_a_time_of_another_shape_is_none(time):
    text, tail = tail_of(grown([said("a")]))
    assert parse_tail(text.replace(LATER.encode(), time.encode()), tail.end) is None


def test_a_seal_covers_the_header_the_last_batch_and_the_tail():
    data = grown([said("a")], [said("b")])
    line, _, tail = read_sealed(reader(data), len(data))
    batch = data[tail.start : tail.end]
    assert seal_holds(line, batch, tail)
    assert not seal_holds(line.replace(b"42", b"43"), batch, tail)
    assert not seal_holds(line, batch.replace(b'"b"', b'"c"'), tail)
    other = tail.text.replace(b'"items":2', b'"items":3')
    assert not seal_holds(line, batch, tail._replace(text=other))
    assert not seal_holds(line, batch, tail._replace(text=tail.text[:-1]))
    assert not seal_holds(line, batch, tail._replace(text=tail.text + b" "))
