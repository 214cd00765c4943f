"""A file whose seal holds: how little of it is read, and what damage a reader meets under the seal."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_bytes import Watched, appended, grown, new_file, reader, said

from agents_sessions.model.entries import record_entry
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import (
    read_entries,
    read_items,
    read_newest,
    read_newest_items,
    read_sealed,
)


def test_a_reader_needs_the_last_batch_only():
    data = grown(*[[said("x" * 300)] for _ in range(300)])
    read = []

    def watched(offset, length):
        read.append(length)
        return bytearray(data[offset : offset + length])

    assert read_sealed(watched, len(data)) is not None
    assert sum(read) < 30_000


def test_what_was_seen_before_proves_nothing():
    data = grown([said("a")], [said("b")])
    known = read_sealed(reader(data), len(data))
    renamed = data.replace("Zoë".encode(), b"Zoee")
    changed = data.replace(b'"content":"b"', b'"content":"c"')
    assert read_sealed(reader(renamed), len(renamed), known) is None
    assert read_sealed(reader(changed), len(changed), known) is None
    assert read_sealed(reader(data), len(data), known) is known


def test_a_file_that_changes_while_it_is_read_is_damage_and_no_endless_loop():
    data = new_file([said("x" * 100)] * 30)
    tail = read_sealed(reader(data), len(data)).tail
    other = reader(b"x" * len(data))
    with pytest.raises(Damage):
        read_entries(other, tail)
    with pytest.raises(Damage):
        read_newest(other, tail, 3)


def test_a_file_that_went_on_is_read_anew():
    old = grown([said("a")])
    known = read_sealed(reader(old), len(old))
    data = appended(old, [said("b")])
    assert read_sealed(reader(data), len(data), known).tail.seq == 2


def test_the_newest_entries_are_found_with_one_read_of_little_more():
    data = new_file([said("x" * 600)] * 3000)
    tail = read_sealed(reader(data), len(data)).tail
    line = (tail.end - tail.body) // 3000
    for count in (1, 20, 500):
        watched = Watched(data)
        assert len(read_newest_items(watched, tail, count)) >= count
        assert len(watched.lengths) == 1
        assert sum(watched.lengths) < count * line * 1.3 + 2100


def test_the_newest_entries_are_read_further_until_there_are_enough():
    data = new_file([said("y")] * 300 + [said("x" * 9000), record_entry({"type": "handoff", "from": "a", "to": "b"})])
    tail = read_sealed(reader(data), len(data)).tail
    watched = Watched(data)
    assert len(read_newest(watched, tail, 1)) >= 1
    assert sum(watched.lengths) < 3000
    watched = Watched(data)
    newest = read_newest_items(watched, tail, 2)
    assert newest == read_items(reader(data), tail)[-len(newest) :]
    assert len(newest) >= 2
    assert 10_000 < sum(watched.lengths) < 60_000


def test_no_entries_are_read_of_none():
    data = new_file([said("a")])
    tail = read_sealed(reader(data), len(data)).tail
    watched = Watched(data)
    assert read_newest(watched, tail, 0) == []
    assert read_newest_items(watched, tail, -1) == []
    assert watched.lengths == []


def test_a_history_is_read_in_chunks_and_once():
    data = new_file([said("x" * 1000)] * 3000)
    tail = read_sealed(reader(data), len(data)).tail
    for read in (read_entries, read_items):
        watched = Watched(data)
        assert len(read(watched, tail)) == 3000
        assert max(watched.lengths) == 1 << 20
        assert sum(watched.lengths) < (tail.end - tail.body) + 3 * 1200


def test_a_line_longer_than_a_chunk_is_read_in_few_reads(monkeypatch):
    monkeypatch.setattr("agents_sessions.stores.file.format.sealed._CHUNK", 100)
    data = new_file([said("x" * 50_000), said("b")])
    tail = read_sealed(reader(data), len(data)).tail
    watched = Watched(data)
    assert [len(item["content"]) for item in read_items(watched, tail)] == [50_000, 1]
    assert len(watched.lengths) < 15


@pytest.mark.parametrize("text", ["plain", "\ud800"])
def test_the_items_are_those_of_the_entries(monkeypatch, text):
    monkeypatch.setattr("agents_sessions.stores.file.format.sealed._CHUNK", 300)
    handoff = record_entry({"type": "handoff", "from": "a", "to": "b"})
    data = grown([handoff], [said("b"), handoff, said(text)], [handoff, handoff, handoff], start=[said("a"), handoff])
    tail = read_sealed(reader(data), len(data)).tail
    entries = read_entries(reader(data), tail)
    assert [entry["seq"] for entry in entries] == list(range(1, 10))
    items = read_items(reader(data), tail)
    assert items == [entry["item"] for entry in entries if "item" in entry]
    assert [item["content"] for item in items] == ["a", "b", text]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=700), max_size=30), st.integers(0, 40))
def test_the_newest_entries_are_the_end_of_all(contents, count):
    data = new_file([said(text) for text in contents])
    sealed = read_sealed(reader(data), len(data))
    everything = decode_document(data).entries
    newest = read_newest(reader(data), sealed.tail, count)
    assert len(newest) >= min(count, len(everything))
    assert newest == everything[len(everything) - len(newest) :]
    items = read_newest_items(reader(data), sealed.tail, count)
    assert len(items) >= min(count, len(everything))
    assert items == [entry["item"] for entry in everything[len(everything) - len(items) :]]


def test_a_history_longer_than_a_chunk_comes_whole(monkeypatch):
    monkeypatch.setattr("agents_sessions.stores.file.format.sealed._CHUNK", 100)
    contents = ["x" * size for size in (0, 10, 500, 99, 100, 101, 3000, 1)]
    data = new_file([said(text) for text in contents])
    assert [entry["item"]["content"] for entry in decode_document(data).entries] == contents


def test_a_file_that_is_cut_while_it_is_read_is_damage_and_no_endless_loop():
    data = new_file([said("x" * 100)] * 30)
    sealed = read_sealed(reader(data), len(data))
    cut = reader(data[:900])
    with pytest.raises(Damage):
        read_entries(cut, sealed.tail)
    with pytest.raises(Damage):
        read_newest(cut, sealed.tail, 30)


# --- damage under a seal that holds ------------------------------------------------------------------------------


def test_damage_under_a_seal_that_holds_is_refused():
    data = grown([said("a")], [said("b")])
    with pytest.raises(Damage):
        decode_document(data.replace(b'"content":"a"', b'"content":\0a"'))


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"[]",
        b'"seq"',
        b'{"seq":1}',
        b'{"item":{}}',
        b'{"seq":1.5,"item":{}}',
        b'{"seq":"1","item":{}}',
        b'{"seq":true,"item":{}}',
        b'{"seq":0,"item":{}}',
        b'{"seq":-1,"item":{}}',
        b'{"seq":9007199254740993,"item":{}}',
        b'{"seq":1,"item":[]}',
        b'{"seq":1,"item":7}',
        b'{"seq":1,"record":null}',
        b'{"seq":1,"item":{}},{"seq":2}',
    ],
)
def test_an_entry_that_is_none_is_damage_to_every_reader(line):
    data = grown([said("x" * 80)], [said("b")])
    begin = data.index(b"\n") + 2
    end = data.index(b"\n", begin)
    spoiled = data[:begin] + line.ljust(end - begin) + data[end:]
    for read in readings(spoiled):
        with pytest.raises(Damage, match=rf"an entry that is none, after byte {begin - 1}$"):
            read()


def readings(data):
    read, tail = reader(data), read_sealed(reader(data), len(data)).tail
    yield lambda: read_entries(read, tail)
    yield lambda: read_items(read, tail)
    yield lambda: read_newest(read, tail, 9)


def test_damage_under_a_seal_tells_where_it_is():
    data = grown([said("a")], [said("b")])
    begin = data.index(b"\n") + 1
    spoiled = data.replace(b'"content":"a"', b'"content":\0a"')
    for read in readings(spoiled):
        with pytest.raises(Damage, match=rf"is damaged after byte {begin}\b"):
            read()


def test_damage_further_below_tells_the_place_of_its_chunk(monkeypatch):
    monkeypatch.setattr("agents_sessions.stores.file.format.sealed._CHUNK", 200)
    data = grown([said("x" * 100)], [said("x" * 100)], [said("y" * 100)], [said("z")])
    spoiled = data.replace(b"yy", b"\0y")
    begin = data.index(b',{"seq":3')
    tail = read_sealed(reader(spoiled), len(spoiled)).tail
    for read in (read_entries, read_items):
        with pytest.raises(Damage, match=rf"after byte {begin}\b"):
            read(reader(spoiled), tail)
