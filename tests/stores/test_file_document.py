"""Bytes in, bytes out: the layout, every torn state, every kind of edit, every kind of damage."""

import itertools
import json
import os
import random
import secrets
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents_sessions.context import ContextStats, fold
from agents_sessions.entries import item_entry, record_entry
from agents_sessions.stores import file_document as document
from agents_sessions.stores import file_recovery as recovery
from agents_sessions.stores.file_document import Damage, Document, NewerFormat

AT = "2026-11-20T21:28:00.123Z"
LATER = "2026-11-20T21:29:00.456Z"
HEADER = {"id": "order-42", "agent_id": "support", "name": "Zoë"}
SECTOR = 512
SAMPLES = 1500
"""States that are tried of one append whose states are too many to try all."""


def said(text, **more):
    return item_entry({"role": "user", "content": text, **more})


def reader(data):
    return lambda offset, length: bytearray(data[offset : offset + length])


def new_file(entries=(), *, seq=None, **header):
    numbered = [{**entry, "seq": number} for number, entry in enumerate(entries, 1)]
    newest = len(numbered) if seq is None else seq
    return document.encode_document(
        Document({**HEADER, **header}, numbered, newest, fold(ContextStats(), numbered), AT)
    )


def planned(data, entries, at=LATER):
    sealed = document.read_sealed(reader(data), len(data))
    assert sealed is not None
    return document.plan_append(sealed, [document.encode_entry(entry, at) for entry in entries], entries, at)


def appended(data, entries):
    plan = planned(data, entries)
    return spliced(data, plan.offset, plan.data)


def spliced(data, offset, written):
    return data[:offset] + written + data[offset + len(written) :]


def grown(*batches, start=()):
    return reduce(appended, batches, new_file(start))


def bodies(decoded):
    return [(entry["seq"], entry.get("item", entry.get("record"))) for entry in decoded.entries]


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
    padding = 8192 - len((header + tail).encode()) - len('01234567"}}\n')
    assert written[len(header + tail) + 8 :] == '"}}' + "\t" * padding + "\n"


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
    handoffs = [record_entry({"type": "handoff", "from": "a", "to": name}) for name in ("x" * 3000, "y", "z" * 900, "")]
    data = new_file()
    for entry in handoffs:
        plan = planned(data, [entry])
        old = plan.offset + data[plan.offset :].rindex(b"}") + 1
        assert plan.offset + len(plan.data) >= old
        data = appended(data, [entry])
        assert data.endswith(b"\n")
        json.loads(data)


@pytest.mark.parametrize("length", [0, 1, 500, 1500, 3300, 3400, 3500, 3600, 7000, 30_000, 300_000])
def test_a_file_has_room_for_the_next_append(length):
    data = new_file([said("x" * length)])
    room = len(data) - data.rindex(b"}") - 1
    assert len(data) % 4096 == 0
    assert 4096 <= room < 4096 + max(4096, min(16384, len(data) // 2))
    assert data[data.rindex(b"}") + 1 :].strip(b"\t") == b"\n"


def test_an_append_within_the_room_writes_no_padding_and_leaves_the_size():
    data = new_file([said("a")])
    sizes = []
    for _ in range(100):
        plan = planned(data, [said("b")])
        if plan.after.tail.size == len(data):
            assert b"\t" not in plan.data
            assert b"}}\n" not in plan.data[-3:]
        data = appended(data, [said("b")])
        assert len(data) == plan.after.tail.size
        sizes.append(len(data))
    grew = sum(size != before for before, size in itertools.pairwise(sizes))
    assert 1 <= grew <= 3


def test_an_append_beyond_the_room_makes_new_room():
    data = new_file([said("a")])
    plan = planned(data, [said("x" * 9000)])
    assert plan.offset + len(plan.data) == plan.after.tail.size == len(appended(data, [said("x" * 9000)]))
    assert plan.after.tail.size % 4096 == 0


def test_padding_is_no_part_of_what_a_file_says():
    data = grown([said("b")], start=[said("a")])
    end = data.rindex(b"}") + 1
    for padding in (b"\n", b" \n", b"\t" * 9 + b"\n", b"\n" * 700, b" " * 70_000 + b"\n"):
        other = data[:end] + padding
        assert recovery.decode_document(other).shape == "sealed"
        assert contents(recovery.decode_document(appended(other, [said("c")]))) == ["a", "b", "c"]


def test_the_seal_tells_header_history_and_last_batch():
    data = grown([said("a")], [said("b"), said("c")])
    seal = json.loads(data)["seal"]
    assert data[: seal["body"]].endswith(b'"history":[\n')
    assert data[seal["start"] : seal["end"]].count(b"\n") == 2
    assert data[seal["end"] :].startswith(b'],"context":')


def test_two_files_have_two_salts():
    assert new_file([said("a")]) != new_file([said("a")])


def test_a_reader_needs_the_last_batch_only():
    data = grown(*[[said("x" * 300)] for _ in range(300)])
    read = []

    def watched(offset, length):
        read.append(length)
        return bytearray(data[offset : offset + length])

    assert document.read_sealed(watched, len(data)) is not None
    assert sum(read) < 30_000


def test_what_was_seen_before_proves_nothing():
    data = grown([said("a")], [said("b")])
    known = document.read_sealed(reader(data), len(data))
    renamed = data.replace("Zoë".encode(), b"Zoee")
    changed = data.replace(b'"content":"b"', b'"content":"c"')
    assert document.read_sealed(reader(renamed), len(renamed), known) is None
    assert document.read_sealed(reader(changed), len(changed), known) is None
    assert document.read_sealed(reader(data), len(data), known) is known


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=700), max_size=30), st.integers(0, 40), st.booleans())
def test_the_newest_entries_are_the_end_of_all(contents, count, items_only):
    data = new_file([said(text) for text in contents])
    sealed = document.read_sealed(reader(data), len(data))
    everything = recovery.decode_document(data).entries
    newest = document.read_newest(reader(data), sealed.tail, count, items_only=items_only)
    assert len(newest) >= min(count, len(everything))
    assert newest == everything[len(everything) - len(newest) :]


def test_a_history_longer_than_a_chunk_comes_whole(monkeypatch):
    monkeypatch.setattr(document, "_CHUNK", 100)
    contents = ["x" * size for size in (0, 10, 500, 99, 100, 101, 3000, 1)]
    data = new_file([said(text) for text in contents])
    assert [entry["item"]["content"] for entry in recovery.decode_document(data).entries] == contents


def test_a_file_that_is_cut_while_it_is_read_is_damage_and_no_endless_loop():
    data = new_file([said("x" * 100)] * 30)
    sealed = document.read_sealed(reader(data), len(data))
    cut = reader(data[:900])
    with pytest.raises(Damage):
        document.read_entries(cut, sealed.tail)
    with pytest.raises(Damage):
        document.read_newest(cut, sealed.tail, 30, items_only=False)


# --- torn appends ----------------------------------------------------------------------------------------------

LOOKALIKE = (
    '"}}\n],"context":{"items":1},"updated_at":"x","seal":{"seq":1,"body":9,"start":9,"end":9,"crc":"00000000"}}\n'
)

APPENDS = {
    "first item": ([], [[said("Hi")]]),
    "one item": ([said("Hi")], [[said("Hello")]]),
    "a call and its output": ([said("Hi")], [[said("call")], [said("call"), said("output" * 20)]]),
    "three in a row": ([said("a"), said("b")], [[said("c")], [said("d"), said("e"), said("f")]]),
    "some sectors": ([said("a")], [[said("x" * 500), said("y" * 700)]]),
    "many sectors": ([said("a")], [[said("q")], [said("x" * 3000), said("y" * 3000), said("z" * 900)]]),
    "many small": ([said("a")], [[said(str(number)) for number in range(30)]]),
    "looks like a tail": ([said(LOOKALIKE)], [[said(LOOKALIKE * 5), said(LOOKALIKE * 9)]]),
    "brackets": ([said("a")], [[item_entry({"x": [[[{"y": [[{}]]}]]] * 30}), item_entry({"z": [{}] * 200})]]),
    "a tail that shrinks": (
        [record_entry({"type": "handoff", "from": "a", "to": "]}" * 900})],
        [[record_entry({"type": "handoff", "from": "a", "to": "b"}), said("c")]],
    ),
    "a tail that grows": (
        [said("a")],
        [[said("b"), record_entry({"type": "handoff", "from": "a", "to": "]}" * 900}), said("c")]],
    ),
    "surrogates": ([said("\ud800")], [[said("\udfff" * 80), said("é" * 300)]]),
}


def torn_append(name):
    start, batches = APPENDS[name]
    before = reduce(appended, batches[:-1], new_file(start))
    plan = planned(before, batches[-1])
    return before, plan.offset, plan.data


def assert_before_or_after(state, before, after, whole):
    decoded = recovery.decode_document(state)
    found = bodies(decoded)
    assert found in (before, after), "a part of a batch, or less than was acknowledged"
    if whole:
        assert found == after
    assert decoded.context == fold(ContextStats(), decoded.entries)
    assert decoded.seq >= (decoded.entries[-1]["seq"] if decoded.entries else 0)
    again = document.encode_document(decoded)
    assert bodies(recovery.decode_document(again)) == found


@pytest.mark.parametrize("name", APPENDS)
def test_an_append_cut_at_any_byte_reads_as_before_or_after(name):
    old, offset, data = torn_append(name)
    before = bodies(recovery.decode_document(old))
    after = bodies(recovery.decode_document(spliced(old, offset, data)))
    for cut in range(0, len(data) + 1, 1 if len(data) < 4000 else 7):
        state = old[:offset] + data[:cut] + old[offset + cut :]
        assert_before_or_after(state, before, after, whole=cut == len(data))


@pytest.mark.parametrize("name", APPENDS)
def test_an_append_of_which_any_sectors_arrived_reads_as_before_or_after(name):
    old, offset, data = torn_append(name)
    new = spliced(old, offset, data)
    before, after = bodies(recovery.decode_document(old)), bodies(recovery.decode_document(new))
    seed = int(os.environ.get("TORN_SEED", secrets.randbits(32)))
    print("TORN_SEED", seed)  # shown if it fails
    for state in sector_states(old, new, offset, random.Random(seed)):
        assert_before_or_after(state, before, after, whole=state == new)


def sector_states(old, new, offset, chance):
    """Yield files in which every sector of an append is old, new or (if nothing committed is in it) zero."""
    places = range(offset // SECTOR * SECTOR, len(new), SECTOR)
    padded = old.ljust(len(new), b"\0")
    choices = []
    for place in places:
        sources = [padded, new] + ([bytes(len(new))] if place >= offset else [])
        choices.append(sorted({source[place : place + SECTOR] for source in sources}))
    total = 1
    for choice in choices:
        total *= len(choice)
    if total <= SAMPLES:
        picked = itertools.product(*choices)
    else:
        picked = ([chance.choice(choice) for choice in choices] for _ in range(SAMPLES))
    for sectors in picked:
        state = new[: places[0]] + b"".join(sectors)
        yield state
        yield state[: len(old)]


def test_a_torn_append_keeps_the_number_of_a_removed_entry():
    old = new_file([said("a")], seq=5)
    plan = planned(old, [said("b")])
    state = old[: plan.offset] + plan.data[:20]
    assert recovery.decode_document(state).seq == 5


def test_the_number_of_a_removed_entry_is_not_a_fact_of_the_session():
    assert recovery.decode_document(new_file([said("a")], seq=5)).header == HEADER


def test_an_entry_after_a_removed_one_gets_a_new_number():
    data = appended(new_file([said("a")], seq=5), [said("b")])
    assert [entry["seq"] for entry in recovery.decode_document(data).entries] == [1, 6]


def test_a_torn_append_is_called_torn():
    old, offset, data = torn_append("a call and its output")
    assert recovery.decode_document(old[:offset] + data[:200]).shape == "torn"


def edited_above(data, old, new):
    assert len(old) == len(new)
    assert data.count(old) == 1
    return data.replace(old, new)


def test_a_line_that_was_changed_by_hand_makes_a_torn_append_behind_it_unreadable():
    """It no longer proves itself, and what a cut of the power makes of bytes that were not synced may be JSON too."""
    old = edited_above(grown([said("b")], [said("c")]), b'"content":"b"', b'"content":"X"')
    assert contents(recovery.decode_document(appended(old, [said("d")]))) == ["X", "c", "d"]
    plan = planned(old, [said("d")])
    with pytest.raises(Damage):
        recovery.decode_document(spliced(old, plan.offset, plan.data[:20]))


def test_padding_in_the_middle_of_a_sealed_history_is_damage():
    """Without a sync, a sector of an older append may be missing; what is left can be JSON."""
    data = grown([said("b"), said("c")], [said("d")], start=[said("a")])
    lines = data.split(b"\n")
    gap = data.replace(lines[3], b"\t" * len(lines[3]))
    sealed = document.read_sealed(reader(gap), len(gap))
    assert sealed is not None
    assert json.loads(gap)["seal"]["seq"] == 4
    for read in (document.read_entries, document.read_items):
        with pytest.raises(Damage):
            read(reader(gap), sealed.tail)
    with pytest.raises(Damage):
        document.read_newest(reader(gap), sealed.tail, 3, items_only=True)
    with pytest.raises(Damage):
        recovery.decode_document(gap)


def test_a_line_of_the_last_batch_is_believed_by_its_checksum_alone():
    old = grown([said("a")])
    plan = planned(old, [said("b"), said("c")])
    state = edited_above(old[: plan.offset] + plan.data, b'"content":"b"', b'"content":"X"')
    assert contents(recovery.decode_document(state[:-10])) == ["a"]


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0x00, 0xFF, ord('"'), ord("}"), ord("\n")])
def test_a_wrong_byte_anywhere_never_loses_more_than_the_last_batch(value):
    data = grown([said("b")], [said("c"), said("d")], start=[said("a")])
    for place in range(len(data)):
        spoiled = data[:place] + bytes([value]) + data[place + 1 :]
        try:
            decoded = recovery.decode_document(spoiled)
        except (Damage, NewerFormat):
            continue
        if decoded.shape == "torn":
            assert contents(decoded)[:2] == ["a", "b"]
            assert len(decoded.entries) in (2, 4)
        else:
            assert len(decoded.entries) == 4


def test_damage_above_the_last_batch_is_refused():
    data = grown([said("b")], [said("c")], start=[said("a")])
    place = data.index(b'"content":"b"')
    with pytest.raises(Damage):
        recovery.decode_document(data[:place] + b"\0" + data[place + 1 :])


def test_damage_in_a_file_that_was_written_whole_is_refused():
    data = new_file([said("a"), said("b")])
    place = data.index(b'"content":"b"')
    with pytest.raises(Damage):
        recovery.decode_document(data[:place] + b"\0" + data[place + 1 :])


def test_damage_of_two_batches_is_refused():
    data = grown([said("a")], [said("b")], [said("c")])
    place = data.index(b'"content":"b"')
    spoiled = data[:place] + b"\0" + data[place + 1 :]
    with pytest.raises(Damage):
        recovery.decode_document(spoiled[: spoiled.index(b'],"context":') + 10])


def test_damage_of_the_header_is_refused():
    data = grown([said("a")])
    with pytest.raises(Damage):
        recovery.decode_document(b"\0" + data[1:])


def test_damage_under_a_seal_that_holds_is_refused():
    data = grown([said("a")], [said("b")])
    with pytest.raises(Damage):
        recovery.decode_document(data.replace(b'"content":"a"', b'"content":\0a"'))


@pytest.mark.parametrize(
    "line", [b"null", b"[]", b'"text"', b'{"seq":1}', b'{"seq":"1","item":{}}', b'{"item":{}}', b"{}"]
)
def test_an_entry_that_is_none_is_damage(line):
    data = grown([said("x" * 80)], [said("b")])
    begin = data.index(b"\n") + 2
    end = data.index(b"\n", begin)
    with pytest.raises(Damage):
        recovery.decode_document(data[:begin] + line.ljust(end - begin) + data[end:])


def test_a_reason_holds_nothing_of_the_conversation():
    data = grown([said("secret")], [said("secret")], [said("secret")])
    told = []
    for place in range(data.index(b"secret") - 30, len(data), 3):
        try:
            recovery.decode_document(data[:place] + b"\0" + data[place + 1 :])
        except Damage as damage:
            told.append(damage)
    assert told
    assert not [damage for damage in told if "secret" in repr(damage) or damage.__cause__ is not None]


FOREIGN = {
    "empty": b"",
    "a newline": b"\n",
    "zeros": bytes(5000),
    "blank": b" \r\n\t\0",
    "text": b"hello",
    "binary": bytes(range(256)) * 20,
    "utf-16": new_file([said("a")]).decode().encode("utf-16"),
    "latin-1": new_file([said("a")]).decode().encode("latin-1"),
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "text in json": b'"x"',
    "object": b"{}",
    "another format": b'{"format":"openai/1","history":[]}',
    "no version": b'{"format":"agents-sessions","history":[]}',
    "a version that is no number": b'{"format":"agents-sessions/x","history":[]}',
    "a negative version": b'{"format":"agents-sessions/-1","history":[]}',
    "a format that is no text": b'{"format":1,"history":[]}',
    "no history": b'{"format":"agents-sessions/1"}',
    "history that is an object": b'{"format":"agents-sessions/1","history":{}}',
    "an entry that is null": b'{"format":"agents-sessions/1","history":[null]}',
    "an entry that is a number": b'{"format":"agents-sessions/1","history":[1]}',
    "an entry without a body": b'{"format":"agents-sessions/1","history":[{}]}',
    "an entry with two bodies": b'{"format":"agents-sessions/1","history":[{"item":{},"record":{}}]}',
    "an item that is a list": b'{"format":"agents-sessions/1","history":[{"item":[]}]}',
    "an agent that is a number": b'{"format":"agents-sessions/1","history":[{"item":{},"agent":1}]}',
    "a time that is a number": b'{"format":"agents-sessions/1","history":[{"item":{},"at":1}]}',
    "a record without a type": b'{"format":"agents-sessions/1","history":[{"record":{}}]}',
    "usage without requests": b'{"format":"agents-sessions/1","history":[{"record":{"type":"usage"}}]}',
    "usage of text": b'{"format":"agents-sessions/1","history":[{"record":{"type":"usage","requests":["x"]}}]}',
    "usage of odd numbers": b'{"format":"agents-sessions/1","history":[{"record":{"type":"usage","requests":'
    b'[{"requests":1e308,"total_tokens":1},{"requests":1' + b"0" * 400 + b"}]}}]}",
    "a number beyond a float": b'{"format":"agents-sessions/1","history":[{"item":{"x":1e400}}]}',
    "a fact beyond a float": b'{"format":"agents-sessions/1","x":1e400,"history":[]}',
    "a number beyond reading": b'{"format":"agents-sessions/1","history":[{"item":{"x":' + b"1" * 5000 + b"}}]}",
    "NaN": b'{"format":"agents-sessions/1","history":[{"item":{"x":NaN}}]}',
    "deep": b"[" * 100_000,
    "deep item": b'{"format":"agents-sessions/1","history":[{"item":{"x":' + b"[" * 150 + b"]" * 150 + b"}}]}",
    "a header alone": new_file().split(b"\n")[0][:-3] + b"\n",
    "a header that is cut": new_file()[:40],
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_session_is_damage(name):
    with pytest.raises(Damage):
        recovery.decode_document(FOREIGN[name])


@pytest.mark.parametrize("version", ["2", "10", "1000000", "9" * 5000])
def test_a_newer_version_is_refused_as_such(version):
    data = new_file([said("a")]).replace(b"agents-sessions/1", b"agents-sessions/" + version.encode())
    with pytest.raises(NewerFormat):
        recovery.decode_document(data)
    with pytest.raises(NewerFormat):
        recovery.decode_document(b'{"format":"agents-sessions/' + version.encode() + b'"}')


@pytest.mark.parametrize(
    "tail",
    [
        {"seal": None},
        {"seal": []},
        {"seal": "x"},
        {"seal": {}},
        {"seal": {"seq": "1", "body": None, "start": [], "end": {}}},
        {"seal": {"seq": 10**50, "body": 10**50, "start": 10**50, "end": 10**50}},
        {"seal": {"seq": -1, "body": -1, "start": -1, "end": -1}},
        {"seal": {"seq": 1.5, "body": True, "start": 1, "end": 1}},
        {"context": None},
        {"context": "items"},
        {"context": {"items": "x", "runs": None}},
        {"context": ["items"]},
        {"updated_at": None},
        {"updated_at": "yesterday"},
        {"updated_at": 5},
        {"updated_at": "0001-01-01T00:00:00+23:59"},
        {"updated_at": "9999-12-31T23:59:59-23:59"},
    ],
)
def test_a_tail_of_odd_values_is_an_edit(tail):
    data = new_file([said("a"), said("b")])
    body = data[: data.rindex(b"\n]") + 1]
    odd = {**{name: json.loads(data)[name] for name in ("context", "updated_at", "seal")}, **tail}
    for text in (json.dumps(odd), json.dumps(odd, separators=(",", ":"))):
        decoded = recovery.decode_document(body + b"]," + text[1:].encode() + b"\n")
        assert decoded.shape == "edited"
        assert [entry["item"]["content"] for entry in decoded.entries] == ["a", "b"]
        assert decoded.context == fold(ContextStats(), decoded.entries)


# --- edits by hand ---------------------------------------------------------------------------------------------


def edited(change, *, dump=json.dumps):
    whole = json.loads(grown([said("b")], [said("c"), said("d")], start=[said("a")]))
    change(whole)
    return recovery.decode_document(dump(whole).encode())


def contents(decoded):
    return [entry["item"]["content"] for entry in decoded.entries]


def test_a_pretty_printed_file_is_read():
    decoded = edited(lambda whole: None, dump=lambda whole: json.dumps(whole, indent=4, ensure_ascii=False))
    assert decoded.shape == "edited"
    assert (contents(decoded), decoded.seq, decoded.header) == (["a", "b", "c", "d"], 4, HEADER)


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\n\n"])
def test_a_file_with_other_line_ends_is_read(line_end):
    data = grown([said("a")], [said("b")]).decode().replace("\n", line_end).encode()
    assert contents(recovery.decode_document(data)) == ["a", "b"]


def test_a_file_with_a_byte_order_mark_is_read():
    assert contents(recovery.decode_document(b"\xef\xbb\xbf" + grown([said("a")]))) == ["a"]


def test_a_file_without_its_last_newline_is_read():
    assert contents(recovery.decode_document(grown([said("a")]).rstrip(b"\n"))) == ["a"]


def test_a_file_with_more_lines_at_its_end_is_read():
    assert contents(recovery.decode_document(grown([said("a")]) + b"\n\n")) == ["a"]


def test_reordered_keys_are_read():
    decoded = edited(lambda whole: None, dump=lambda whole: json.dumps(dict(reversed(whole.items()))))
    assert contents(decoded) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("place", range(4))
def test_a_removed_entry_is_gone_and_its_number_is_not_given_again(place):
    decoded = edited(lambda whole: whole["history"].pop(place))
    assert len(decoded.entries) == 3
    assert (decoded.seq, decoded.context.items) == (4, 3)


def test_an_added_entry_gets_a_number_and_a_time():
    decoded = edited(lambda whole: whole["history"].insert(1, {"item": {"role": "user", "content": "new"}}))
    assert contents(decoded) == ["a", "new", "b", "c", "d"]
    assert [entry["seq"] for entry in decoded.entries] == sorted({entry["seq"] for entry in decoded.entries})
    assert all(entry["at"] for entry in decoded.entries)


@pytest.mark.parametrize("number", [0, -1, 1, "2", None, 2.0, True, 10**40])
def test_an_odd_number_of_an_entry_is_mended(number):
    decoded = edited(lambda whole: whole["history"][2].update(seq=number))
    numbers = [entry["seq"] for entry in decoded.entries]
    assert numbers == sorted(set(numbers))
    assert all(type(number) is int for number in numbers)
    assert decoded.seq == numbers[-1]


@pytest.mark.parametrize("start", [[], [said("a")], [said("a"), said("z")]])
def test_a_last_message_changed_in_place_is_read_as_it_stands(start):
    data = appended(new_file(start), [said("Hello")]).replace(b"Hello", b"Jello")
    decoded = recovery.decode_document(data)
    assert decoded.shape == "edited"
    assert contents(decoded)[-1] == "Jello"


def test_an_only_message_changed_in_place_is_read_as_it_stands():
    decoded = recovery.decode_document(new_file([said("Hello")]).replace(b"Hello", b"Jello"))
    assert contents(decoded) == ["Jello"]


def test_a_message_changed_to_another_length_is_read_as_it_stands():
    data = grown([said("Hello")], [said("b")]).replace(b"Hello", b"Good morning")
    assert contents(recovery.decode_document(data)) == ["Good morning", "b"]


def test_a_changed_fact_is_read_as_it_stands():
    data = grown([said("a")]).replace("Zoë".encode(), b"Zara")
    assert recovery.decode_document(data).header["name"] == "Zara"


def test_totals_changed_by_hand_are_counted_again():
    decoded = edited(lambda whole: whole["context"].update(items=99))
    assert decoded.context.items == 4


def test_a_file_without_a_tail_is_read():
    decoded = edited(lambda whole: [whole.pop(name) for name in ("context", "updated_at", "seal", "salt")])
    assert contents(decoded) == ["a", "b", "c", "d"]


def test_an_edited_file_is_sealed_by_the_next_write():
    decoded = edited(lambda whole: whole["history"].pop(0))
    again = recovery.decode_document(document.encode_document(decoded))
    assert (again.shape, contents(again), again.seq) == ("sealed", ["b", "c", "d"], 4)


def test_unknown_facts_survive_an_edit():
    decoded = edited(lambda whole: whole.update(tags=["x"]))
    assert decoded.header == {**HEADER, "tags": ["x"]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["format", "seq", "history", "item", "record", "type", "seal", "context", "at", "requests", "k"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(JSON, st.sampled_from(["agents-sessions/1", "agents-sessions/2", None]))
def test_any_json_is_a_session_or_damage(value, name):
    if isinstance(value, dict) and name is not None:
        value["format"] = name
    try:
        decoded = recovery.decode_document(json.dumps(value).encode())
    except (Damage, NewerFormat):
        return
    assert bodies(recovery.decode_document(document.encode_document(decoded))) == bodies(decoded)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 300))
def test_any_bytes_anywhere_are_a_session_or_damage(junk, place, removed):
    data = grown([said("b")], [said("c"), said("d" * 300)], start=[said("a")])
    spoiled = data[:place] + junk + data[place + removed :]
    try:
        decoded = recovery.decode_document(spoiled)
    except (Damage, NewerFormat):
        return
    assert bodies(recovery.decode_document(document.encode_document(decoded))) == bodies(decoded)
