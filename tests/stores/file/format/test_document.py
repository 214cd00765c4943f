"""Bytes in, bytes out: the layout, and what is read of a file whose seal holds."""

import asyncio
import json
import secrets
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from session_bytes import AT, LATER, appended, grown, new_file, planned, reader, said, spliced

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats
from agents_sessions.stores.file.format.append import plan_append
from agents_sessions.stores.file.format.document import encode_document
from agents_sessions.stores.file.format.header import Damage, NewerFormat, check_format, parse_header, salt_of
from agents_sessions.stores.file.format.lines import CRC_OPENS, MAX_SEQ, encode_entry
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_entries, read_items, read_newest, read_sealed
from agents_sessions.stores.file.format.tail import parse_tail, seal_holds
from agents_sessions.stores.file.store import FileStore

# --- layout ----------------------------------------------------------------------------------------------------


def test_an_empty_session_is_two_lines(monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda _: "5d0c91aa")
    zero = json.dumps(ContextStats().to_json(), separators=(",", ":"))
    header = (
        '{"format":"agents-sessions/1","id":"order-42","agent_id":"support","name":"Zoë",'
        '"salt":"5d0c91aa","history":[\n'
    )
    size = len(header.encode())
    tail = f'],"context":{zero},"updated_at":"{AT}","seal":{{"seq":0,"body":{size},"start":{size},"end":{size},"crc":"'
    written = new_file().decode()
    assert written.startswith(header + tail)
    assert written[len(header + tail) + 8 :] == '"}}\n'


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


def test_a_file_is_json_after_every_write():
    data = new_file([said("first")])
    for number in range(20):
        data = appended(data, [said(f"{number}-{place}" * number) for place in range(number % 3 + 1)])
        whole = json.loads(data)
        assert whole["history"][-1]["item"]["content"] == f"{number}-{number % 3}" * number
        assert whole["context"]["items"] == len(whole["history"])
        assert whole["seal"]["seq"] == len(whole["history"])


def test_an_append_leaves_every_byte_above_the_tail():
    data = grown([said("a")], [said("b")])
    plan = planned(data, [said("c")])
    assert data[plan.offset :].startswith(b'],"context":')
    assert appended(data, [said("c")]).startswith(data[: plan.offset])


def test_an_append_costs_the_same_bytes_at_any_length():
    short, long = new_file([said("x")] * 8), new_file([said("x")] * 9999)
    assert abs(len(planned(long, [said("y")]).data) - len(planned(short, [said("y")]).data)) < 40


def test_an_append_always_covers_the_tail_before_it():
    handoffs = [record_entry({"type": "handoff", "from": "a", "to": name}) for name in ("x" * 500, "y", "z" * 600, "")]
    data = new_file()
    for entry in handoffs:
        plan = planned(data, [entry])
        old = plan.offset + data[plan.offset :].rindex(b"}") + 1
        assert plan.offset + len(plan.data) >= old
        data = appended(data, [entry])
        assert data.endswith(b"\n")
        json.loads(data)


def test_the_seal_tells_header_history_and_last_batch():
    data = grown([said("a")], [said("b"), said("c")])
    seal = json.loads(data)["seal"]
    assert data[: seal["body"]].endswith(b'"history":[\n')
    assert data[seal["start"] : seal["end"]].count(b"\n") == 2
    assert data[seal["end"] :].startswith(b'],"context":')


def test_what_the_writer_knows_of_the_file_is_what_a_reader_finds():
    data = grown([said("b"), said("c")], start=[said("a")])
    for entries in ([said("d")], [said("e"), said("x" * 20_000)], [said("f")]):
        plan = planned(data, entries)
        data = spliced(data, plan.offset, plan.data)
        assert read_sealed(reader(data), len(data)) == plan.after


def test_the_time_of_a_file_never_goes_back():
    data = new_file([said("a")])
    before = planned(data, [said("b")], at="2025-01-01T00:00:00.000Z")
    assert before.after.tail.updated_at == AT
    assert planned(data, [said("b")], at=LATER).after.tail.updated_at == LATER


def test_an_entry_keeps_the_time_that_it_has():
    kept = {**said("a"), "at": AT}
    assert encoded_at(kept, LATER) == AT
    assert encoded_at(said("a"), LATER) == LATER


def encoded_at(entry, at):
    return json.loads(b"{" + encode_entry(entry, at).envelope + b"}")["at"]


def test_a_written_file_numbers_no_entry_twice_on_its_line():
    data = grown([said("b"), said("c")], start=[said("a")])
    again = encode_document(decode_document(data))
    assert [again.count(name) for name in (b'"k":', b'"n":', b'"crc":', b'"seq":')] == [0, 0, 4, 4]


def test_two_files_have_two_salts():
    assert new_file([said("a")]) != new_file([said("a")])


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
        read_newest(other, tail, 3, items_only=False)


def test_a_file_that_went_on_is_read_anew():
    old = grown([said("a")])
    known = read_sealed(reader(old), len(old))
    data = appended(old, [said("b")])
    assert read_sealed(reader(data), len(data), known).tail.seq == 2


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


class Watched:
    """Reads a file, and remembers how much."""

    def __init__(self, data):
        self.data, self.lengths = data, []

    def __call__(self, offset, length):
        self.lengths.append(length)
        return bytearray(self.data[offset : offset + length])


def test_the_newest_entries_are_found_with_one_read_of_little_more():
    data = new_file([said("x" * 600)] * 3000)
    tail = read_sealed(reader(data), len(data)).tail
    line = (tail.end - tail.body) // 3000
    for count in (1, 20, 500):
        watched = Watched(data)
        assert len(read_newest(watched, tail, count, items_only=True)) >= count
        assert len(watched.lengths) == 1
        assert sum(watched.lengths) < count * line * 1.3 + 2100


def test_the_newest_entries_are_read_further_until_there_are_enough():
    data = new_file([said("y")] * 300 + [said("x" * 9000), record_entry({"type": "handoff", "from": "a", "to": "b"})])
    tail = read_sealed(reader(data), len(data)).tail
    watched = Watched(data)
    assert len(read_newest(watched, tail, 1, items_only=False)) >= 1
    assert sum(watched.lengths) < 3000
    watched = Watched(data)
    newest = read_newest(watched, tail, 2, items_only=True)
    assert [entry["seq"] for entry in newest] == list(range(newest[0]["seq"], 303))
    assert 10_000 < sum(watched.lengths) < 60_000


def test_no_entries_are_read_of_none():
    data = new_file([said("a")])
    tail = read_sealed(reader(data), len(data)).tail
    watched = Watched(data)
    assert read_newest(watched, tail, 0, items_only=False) == []
    assert read_newest(watched, tail, -1, items_only=True) == []
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
@given(st.lists(st.text(max_size=700), max_size=30), st.integers(0, 40), st.booleans())
def test_the_newest_entries_are_the_end_of_all(contents, count, items_only):
    data = new_file([said(text) for text in contents])
    sealed = read_sealed(reader(data), len(data))
    everything = decode_document(data).entries
    newest = read_newest(reader(data), sealed.tail, count, items_only=items_only)
    assert len(newest) >= min(count, len(everything))
    assert newest == everything[len(everything) - len(newest) :]


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
        read_newest(cut, sealed.tail, 30, items_only=False)


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
    yield lambda: read_newest(read, tail, 9, items_only=False)


def test_items_are_read_without_decoding_what_is_around_them(monkeypatch):
    data = new_file([said("a"), record_entry({"type": "usage", "requests": []}), said("b")])
    tail = read_sealed(reader(data), len(data)).tail
    monkeypatch.setattr("agents_sessions.stores.file.format.lines._decode_list", None)
    assert [item["content"] for item in read_items(reader(data), tail)] == ["a", "b"]


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


# --- what is no tail and no header -----------------------------------------------------------------------------


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


HEAD = b'{"format":"agents-sessions/1","salt":"5d0c91aa","history":[\n'


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (HEAD[:-1], "not the header"),
        (HEAD + b"\n", "not the header"),
        (b"", "not the header"),
        (b"x" + HEAD, "its header is"),
        (HEAD.replace(b'"salt":"5d0c91aa"', b'"x":1'), "no salt"),
        (HEAD.replace(b"5d0c91aa", b"salt"), "no salt"),
        (HEAD.replace(b"agents-sessions/1", b"agents-sessions"), "no format agents-sessions/…"),
    ],
)
def test_a_line_that_is_no_header_tells_why(line, why):
    assert parse_header(HEAD)["salt"] == "5d0c91aa"
    with pytest.raises(Damage, match=why):
        parse_header(line)


@pytest.mark.parametrize("salt", ["0", "ffffffff", "5d0c91aa5d0c91aa", "-1", 12])
def test_any_salt_that_is_a_number_salts(salt):
    assert 0 <= salt_of({"salt": salt}) <= 0xFFFFFFFF
    assert salt_of({"salt": "5d0c91aa"}) == 0x5D0C91AA


@pytest.mark.parametrize("version", ["2", "10", "1000", "1001", "10000", "9" * 5000])
def test_the_name_of_a_newer_format_is_told_and_bounded(version):
    with pytest.raises(NewerFormat) as caught:
        check_format({"format": f"agents-sessions/{version}"})
    assert caught.value.args == (f"agents-sessions/{version}"[:40],)


def test_no_append_leaves_a_sector_of_nothing_but_padding():
    """Where it did not reach the disk, it would pass for a part of the text that a later append put there."""
    long = [record_entry({"type": "handoff", "from": "a", "to": "b" * 3000})]
    short = [record_entry({"type": "handoff", "from": "b", "to": "c"})]
    data = appended(new_file(), long)
    sealed = read_sealed(reader(data), len(data))
    assert plan_append(sealed, [encode_entry(entry, LATER) for entry in short], short, LATER) is None


def test_an_append_whose_padding_would_fill_a_sector_writes_the_file_anew(tmp_path):
    store, key = FileStore(tmp_path, durability="process"), SessionKey("support", "order-42")

    async def work():
        await store.create(SessionInfo(agent_id="support", id="order-42"))
        await store.append(key, [record_entry({"type": "handoff", "from": "a", "to": "b" * 3000})])
        totals = await store.append(key, [record_entry({"type": "handoff", "from": "b", "to": "c"})])
        return totals, await store.entries(key)

    totals, entries = asyncio.run(work())
    assert (totals.seq, totals.context.last_agent, len(entries)) == (2, "c", 2)
    assert b" " * 512 not in store.path(key).read_bytes()
