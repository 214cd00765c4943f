"""Every torn state, every kind of edit, every kind of damage."""

import itertools
import json
import random
from functools import partial, reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seeds import SEED
from session_bytes import (
    AT,
    HEADER,
    LATER,
    appended,
    bodies,
    contents,
    edited_above,
    forged,
    grown,
    new_file,
    planned,
    said,
    spliced,
)

from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.history import typed
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.header import Damage, NewerFormat
from agents_sessions.stores.file.format.reading import check_begin, decode_document
from agents_sessions.stores.file.format.tail import SECTOR

SAMPLES = 1500
"""States that are tried of one append whose states are too many to try all."""

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
        [record_entry({"type": "handoff", "from": "a", "to": "]}" * 300})],
        [[record_entry({"type": "handoff", "from": "a", "to": "b"}), said("c" * 100)]],
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
    decoded = decode_document(state)
    found = bodies(decoded)
    assert found in (before, after), "a part of a batch, or less than was acknowledged"
    if whole:
        assert found == after
    assert decoded.context == fold(ContextStats(), decoded.entries)
    assert decoded.seq >= (decoded.entries[-1]["seq"] if decoded.entries else 0)
    again = bytes(encode_document(decoded))
    assert bodies(decode_document(again)) == found


@pytest.mark.parametrize("name", APPENDS)
def test_an_append_cut_at_any_byte_reads_as_before_or_after(name):
    old, offset, data = torn_append(name)
    before = bodies(decode_document(old))
    after = bodies(decode_document(spliced(old, offset, data)))
    for cut in range(0, len(data) + 1, 1 if len(data) < 4000 else 7):
        state = old[:offset] + data[:cut] + old[offset + cut :]
        assert_before_or_after(state, before, after, whole=cut == len(data))


@pytest.mark.parametrize("name", APPENDS)
def test_an_append_of_which_any_sectors_arrived_reads_as_before_or_after(name):
    old, offset, data = torn_append(name)
    new = spliced(old, offset, data)
    before, after = bodies(decode_document(old)), bodies(decode_document(new))
    print("TRUST_SEED", SEED)  # shown if it fails
    for state in sector_states(old, new, offset, random.Random(SEED)):
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
    assert decode_document(state).seq == 5


def test_the_number_of_a_removed_entry_is_not_a_fact_of_the_session():
    assert decode_document(new_file([said("a")], seq=5)).header == HEADER


def test_an_entry_after_a_removed_one_gets_a_new_number():
    data = appended(new_file([said("a")], seq=5), [said("b")])
    assert [entry["seq"] for entry in decode_document(data).entries] == [1, 6]


def test_a_torn_append_is_called_torn():
    old, offset, data = torn_append("a call and its output")
    assert decode_document(old[:offset] + data[:200]).shape == "torn"


def test_a_line_that_was_changed_by_hand_makes_a_torn_append_behind_it_unreadable():
    """It no longer proves itself, and what a cut of the power makes of bytes that were not synced may be JSON too."""
    old = edited_above(grown([said("b")], [said("c")]), b'"content":"b"', b'"content":"X"')
    assert contents(decode_document(appended(old, [said("d")]))) == ["X", "c", "d"]
    plan = planned(old, [said("d")])
    with pytest.raises(Damage):
        decode_document(spliced(old, plan.offset, plan.data[:20]))


def test_a_line_of_the_last_batch_is_believed_by_its_checksum_alone():
    old = grown([said("a")])
    plan = planned(old, [said("b"), said("c")])
    state = edited_above(old[: plan.offset] + plan.data, b'"content":"b"', b'"content":"X"')
    assert contents(decode_document(state[:-10])) == ["a"]


# --- what proves itself ----------------------------------------------------------------------------------------


def cut_in_its_tail(data):
    return data[: data.rindex(b'],"context":') + 20]


def read_of(data):
    return contents(decode_document(cut_in_its_tail(data)))


def test_a_file_without_its_tail_has_every_whole_batch():
    data = grown([said("b")], [said("c"), said("d"), said("e")], [said("f")], start=[said("a")])
    assert read_of(data) == ["a", "b", "c", "d", "e", "f"]


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
    assert read_of(FILE) == ["a", "b", "c"]
    assert read_of(forged(FILE, FILE.index(b'"c"'), *WRONG[name])) == ["a", "b"]


def test_a_line_that_is_a_list_is_none_whatever_its_checksum():
    data = forged(FILE, FILE.index(b'"c"'), b'{"seq":3', b'[{"seq":3')
    assert read_of(forged(data, data.index(b'"c"'), b"}}\n", b"}}]\n")) == ["a", "b"]


RIGHT = {
    "the largest number": (b'"seq":3', b'"seq":9007199254740992'),
    "a batch of one that says so": (b'"seq":3', b'"seq":3,"k":1,"n":1'),
    "an agent and a turn": (b'"at":', b'"agent":"a","turn":"r","at":'),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_last_line_that_says_what_can_be_is_read(name):
    assert read_of(forged(FILE, FILE.index(b'"c"'), *RIGHT[name])) == ["a", "b", "c"]


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
            read_of(odd)
    else:
        assert read_of(odd) == found


def spoiled(data, *texts):
    for text in texts:
        data = data.replace(b'"content":"%s"' % text, b'"content":\0%s"' % text)
    return data


def test_lines_of_two_batches_behind_the_whole_part_are_damage():
    data = grown([said("b"), said("c")], [said("d"), said("e")], start=[said("a")])
    for torn in ((b"b", b"d"), (b"b",), (b"b", b"c")):
        with pytest.raises(Damage, match="not only in its last append"):
            read_of(spoiled(data, *torn))
    assert read_of(spoiled(data, b"d")) == ["a", "b", "c"]
    assert read_of(spoiled(data, b"e")) == ["a", "b", "c"]


def test_lines_of_one_batch_behind_the_whole_part_are_torn():
    data = grown([said("b"), said("c"), said("d"), said("e")], start=[said("a")])
    for torn in ((b"b",), (b"b", b"d"), (b"c",), (b"e",), (b"b", b"c", b"d", b"e")):
        assert read_of(spoiled(data, *torn)) == ["a"]


def test_a_readable_seal_says_where_the_last_batch_began():
    data = grown([said("b"), said("c")], [said("d")], start=[said("a")])
    place = data.index(b"\n", data.index(b'"d"')) + 1
    assert contents(decode_document(spoiled(data, b"d"))) == ["a", "b", "c"]
    with pytest.raises(Damage, match=f"after byte {data.index(b',{')}, "):
        decode_document(spoiled(data, b"b", b"c", b"d"))
    with pytest.raises(Damage):  # two batches are claimed, by lines that no longer agree with their checksums
        decode_document(spoiled(data[: place + 9], b"b", b"c", b"d"))


def test_a_reason_tells_what_is_wrong_with_the_text_too():
    data = spoiled(grown([said("b")], [said("c")]), b"b", b"c")
    with pytest.raises(Damage, match=r"not only in its last append \(not JSON at line 2, column 92: .*\)$"):
        decode_document(data)


# --- the end from before ---------------------------------------------------------------------------------------


def renamed(entries):
    """Return a file that was written whole, later than its entries."""
    numbered = [{**entry, "seq": seq, "at": AT} for seq, entry in enumerate(entries, 1)]
    return bytes(encode_document(Document(HEADER, numbered, len(numbered), fold(ContextStats(), numbered), LATER)))


@pytest.mark.parametrize("behind", [b"\0" * 512, b"\0", b"x", b",{\n\n", b"}}\n"])
def test_an_end_that_still_stands_is_believed_whatever_is_behind_it(behind):
    old = renamed([said("a"), said("b")])
    decoded = decode_document(old + behind)
    assert (decoded.shape, contents(decoded), decoded.seq) == ("torn", ["a", "b"], 2)
    assert (decoded.header, decoded.updated_at) == (HEADER, LATER)
    assert decoded.context == fold(ContextStats(), decoded.entries)


def test_an_end_that_still_stands_is_believed_before_the_lines_behind_it():
    old = renamed([said("a"), said("b")])
    new = appended(old, [said("x" * 9000), said("y" * 3000), said("z")])
    assert len(new) > len(old)
    decoded = decode_document(old + new[len(old) :])
    assert (decoded.shape, contents(decoded), decoded.updated_at) == ("torn", ["a", "b"], LATER)


def test_an_end_that_does_not_agree_with_its_lines_is_not_believed():
    old = renamed([said("a"), said("b")])
    for seal in (b'"items":2', b'"updated_at":"' + LATER.encode()):
        changed = old.replace(seal, seal.replace(b"2", b"3", 1))
        assert decode_document(changed + b"\0").updated_at == AT


def test_the_time_of_a_torn_file_is_that_of_its_newest_entry():
    old = new_file([{**said("a"), "at": LATER}, {**said("b"), "at": AT}])
    assert decode_document(cut_in_its_tail(old)).updated_at == LATER
    assert decode_document(cut_in_its_tail(new_file())).updated_at > LATER


def test_a_hand_edit_is_not_taken_for_the_end_of_a_file():
    """Wherever its lines end: a line is no end, for there is no padding behind it."""
    for length in range(SECTOR):
        data = grown([said("x" * 600), said("y" * length), said("z" * 600)], start=[said("a")])
        decoded = decode_document(data.replace(b'"xx', b'"yx'))
        assert (decoded.shape, len(decoded.entries)) == ("edited", 4)


def numbers(key, count):
    return item_entry({key: [1] * count})


def test_a_tab_that_a_person_typed_is_an_edit():
    data = grown([said("b")], [said("c")], start=[said("a")])
    line = data.index(b',{"seq":3')
    typed = data[:line] + b"\t" * 100 + data[line:].replace(b'"c"', b'\t"C"')
    assert decode_document(typed).shape == "edited"
    assert contents(decode_document(typed)) == ["a", "b", "C"]


# --- how a file begins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "why"),
    [
        (b"", "it is empty"),
        (b" \r\n\t", "it is empty"),
        (bytes(4096), "it is empty"),
        (b"\xef\xbb\xbf", "it is empty"),
        (b"\xef\xbb\xbf\n\0", "it is empty"),
        (b"[", "it does not begin as JSON"),
        (b"\0{", "it does not begin as JSON"),
        (b"\x0b{", "it does not begin as JSON"),
        (b"X{", "it does not begin as JSON"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{", "it does not begin as JSON"),
    ],
)
def test_what_begins_as_no_object_tells_why(begin, why):
    with pytest.raises(Damage, match=f"^{why}$"):
        check_begin(begin)
    with pytest.raises(Damage, match=f"^{why}$"):
        decode_document(begin)


@pytest.mark.parametrize("begin", [b"{", b" \r\n\t{", b"\xef\xbb\xbf{", b"\xef\xbb\xbf\r\n{"])
def test_what_begins_as_an_object_may_be_one(begin):
    check_begin(begin)


def test_an_object_begins_near_the_begin_of_a_file():
    text = json.dumps(json.loads(FILE)).encode()
    assert contents(decode_document(b" " * 4095 + text)) == ["a", "b", "c"]
    with pytest.raises(Damage):
        decode_document(b" " * 4096 + text)


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0x00, 0xFF, ord('"'), ord("}"), ord("\n")])
def test_a_wrong_byte_anywhere_never_loses_more_than_the_last_batch(value):
    data = grown([said("b")], [said("c"), said("d")], start=[said("a")])
    for place in range(len(data)):
        spoiled = data[:place] + bytes([value]) + data[place + 1 :]
        try:
            decoded = decode_document(spoiled)
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
        decode_document(data[:place] + b"\0" + data[place + 1 :])


def test_damage_in_a_file_that_was_written_whole_is_refused():
    data = new_file([said("a"), said("b")])
    place = data.index(b'"content":"b"')
    with pytest.raises(Damage):
        decode_document(data[:place] + b"\0" + data[place + 1 :])


def test_damage_of_two_batches_is_refused():
    data = grown([said("a")], [said("b")], [said("c")])
    place = data.index(b'"content":"b"')
    spoiled = data[:place] + b"\0" + data[place + 1 :]
    with pytest.raises(Damage):
        decode_document(spoiled[: spoiled.index(b'],"context":') + 10])


def test_damage_of_the_header_is_refused():
    data = grown([said("a")])
    with pytest.raises(Damage):
        decode_document(b"\0" + data[1:])


def test_a_reason_holds_nothing_of_the_conversation():
    data = grown([said("secret")], [said("secret")], [said("secret")])
    told = []
    for place in range(data.index(b"secret") - 30, len(data), 3):
        try:
            decode_document(data[:place] + b"\0" + data[place + 1 :])
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
        decode_document(FOREIGN[name])


@pytest.mark.parametrize("version", ["2", "10", "1000000", "9" * 5000])
def test_a_newer_version_is_refused_as_such(version):
    data = new_file([said("a")]).replace(b"agents-sessions/1", b"agents-sessions/" + version.encode())
    with pytest.raises(NewerFormat):
        decode_document(data)
    with pytest.raises(NewerFormat):
        decode_document(b'{"format":"agents-sessions/' + version.encode() + b'"}')


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
        {"context": {"items": "x", "turns": None}},
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
        decoded = decode_document(body + b"]," + text[1:].encode() + b"\n")
        assert decoded.shape == "edited"
        assert [entry["item"]["content"] for entry in decoded.entries] == ["a", "b"]
        assert decoded.context == fold(ContextStats(), decoded.entries)


# --- edits by hand ---------------------------------------------------------------------------------------------


def edited(change, *, dump=json.dumps):
    whole = json.loads(grown([said("b")], [said("c"), said("d")], start=[said("a")]))
    change(whole)
    return decode_document(dump(whole).encode())


def test_a_pretty_printed_file_is_read():
    decoded = edited(lambda whole: None, dump=lambda whole: json.dumps(whole, indent=4, ensure_ascii=False))
    assert decoded.shape == "edited"
    assert (contents(decoded), decoded.seq, decoded.header) == (["a", "b", "c", "d"], 4, HEADER)


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\n\n"])
def test_a_file_with_other_line_ends_is_read(line_end):
    data = grown([said("a")], [said("b")]).decode().replace("\n", line_end).encode()
    assert contents(decode_document(data)) == ["a", "b"]


def test_a_file_with_a_byte_order_mark_is_read():
    assert contents(decode_document(b"\xef\xbb\xbf" + grown([said("a")]))) == ["a"]


def test_a_file_without_its_last_newline_is_read():
    assert contents(decode_document(grown([said("a")]).rstrip(b"\n"))) == ["a"]


def test_a_file_with_more_lines_at_its_end_is_read():
    assert contents(decode_document(grown([said("a")]) + b"\n\n")) == ["a"]


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


USAGE = {"requests": 1, "input_tokens": 1, "cached_tokens": 0, "output_tokens": 1, "reasoning_tokens": 0,
         "total_tokens": 2}  # fmt: skip
RUN = {"type": "turn", "status": "completed", "usage": USAGE, "duration_ms": 1}


def without(record, name):
    return {key: value for key, value in record.items() if key != name}


UNTYPED = {
    "a time that is none": ({"at": "today", "item": {"role": "user", "content": "x"}}, "invalid value of at"),
    "a record of no known type": ({"record": {"type": "note", "requests": []}}, "of no known type"),
    "a record without a type": ({"record": {"requests": []}}, "record that is incomplete"),
    "a run without usage": ({"record": without(RUN, "usage")}, "invalid value of usage"),
    "a run of no known status": ({"record": {**RUN, "status": "lost"}}, "invalid value of status"),
    "a handoff from nobody": ({"record": {"type": "handoff", "to": "b"}}, "record that is incomplete"),
    "usage that is no number": ({"record": {"type": "usage", "requests": [{**USAGE, "requests": "many"}]}}, "requests"),
}


@pytest.mark.parametrize("name", UNTYPED)
def test_an_entry_that_could_never_be_shown_is_damage_that_names_it(name):
    entry, why = UNTYPED[name]
    with pytest.raises(Damage, match=f"entry 2 of its history has an? .*{why}"):
        edited(lambda whole: whole["history"].insert(1, entry))


def test_records_that_a_hand_has_added_whole_are_read():
    records = [RUN, {"type": "handoff", "from": "a", "to": "b"}, {"type": "usage", "requests": [USAGE]}]
    decoded = edited(lambda whole: whole["history"].extend({"record": record} for record in records))
    assert [typed(entry).type for entry in decoded.entries[-3:]] == ["turn", "handoff", "usage"]


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
    decoded = decode_document(data)
    assert decoded.shape == "edited"
    assert contents(decoded)[-1] == "Jello"


def test_an_only_message_changed_in_place_is_read_as_it_stands():
    decoded = decode_document(new_file([said("Hello")]).replace(b"Hello", b"Jello"))
    assert contents(decoded) == ["Jello"]


def test_a_message_changed_to_another_length_is_read_as_it_stands():
    data = grown([said("Hello")], [said("b")]).replace(b"Hello", b"Good morning")
    assert contents(decode_document(data)) == ["Good morning", "b"]


def test_a_changed_fact_is_read_as_it_stands():
    data = grown([said("a")]).replace("Zoë".encode(), b"Zara")
    assert decode_document(data).header["name"] == "Zara"


def test_totals_changed_by_hand_are_counted_again():
    decoded = edited(lambda whole: whole["context"].update(items=99))
    assert decoded.context.items == 4


def test_a_file_without_a_tail_is_read():
    decoded = edited(lambda whole: [whole.pop(name) for name in ("context", "updated_at", "seal", "salt")])
    assert contents(decoded) == ["a", "b", "c", "d"]


def test_an_edited_file_is_sealed_by_the_next_write():
    decoded = edited(lambda whole: whole["history"].pop(0))
    again = decode_document(bytes(encode_document(decoded)))
    assert (again.shape, contents(again), again.seq) == ("sealed", ["b", "c", "d"], 4)


def test_unknown_facts_survive_an_edit():
    decoded = edited(lambda whole: whole.update(tags=["x"]))
    assert decoded.header == {**HEADER, "tags": ["x"]}


@pytest.mark.parametrize(
    ("seq", "found"), [(9, 9), (2**52, 2**52), (2**52 + 1, 4), (True, 4), ("9", 4), (-9, 4), (3, 4)]
)
def test_a_number_of_the_session_is_kept_if_it_can_be_one(seq, found):
    assert edited(lambda whole: whole.update(seq=seq)).seq == found
    assert edited(lambda whole: whole["seal"].update(seq=seq)).seq == found


def test_a_session_without_entries_keeps_its_number():
    assert edited(lambda whole: whole.update(history=[])).seq == 4
    assert edited(lambda whole: whole.update(history=[], seal={})).seq == 0


def test_numbers_that_grow_are_kept():
    def change(whole):
        for entry, seq in zip(whole["history"], (1, 5, 9, 2**52), strict=True):
            entry["seq"] = seq

    decoded = edited(change)
    assert [entry["seq"] for entry in decoded.entries] == [1, 5, 9, 2**52]
    assert decoded.seq == 2**52


def test_entries_whose_numbers_do_not_grow_get_numbers_that_were_never_given():
    def change(whole):
        for entry, seq in zip(whole["history"], (7, 7, 2**52 + 1, 9), strict=True):
            entry["seq"] = seq

    assert [entry["seq"] for entry in edited(change).entries] == [7, 10, 11, 12]


def test_an_added_entry_never_gets_the_number_of_one_that_was_removed():
    new = {"item": {"role": "user", "content": "new"}}
    assert [entry["seq"] for entry in edited(lambda whole: whole.update(history=[new])).entries] == [5]
    numbers = [entry["seq"] for entry in edited(lambda whole: whole["history"].__setitem__(3, new)).entries]
    assert numbers == [1, 2, 3, 5]


def test_an_entry_of_an_edited_file_has_no_part_of_its_old_line():
    decoded = edited(lambda whole: None, dump=lambda whole: json.dumps(whole, indent=1))
    assert [set(entry) for entry in decoded.entries] == [{"seq", "at", "item"}] * 4


def test_the_times_of_an_edited_file_are_kept():
    decoded = edited(
        lambda whole: [whole["history"][0].pop("at"), whole.update(updated_at="2027-01-02T03:04:05+01:00")]
    )
    assert decoded.updated_at == "2027-01-02T02:04:05.000Z"
    assert [entry["at"] for entry in decoded.entries] == [decoded.updated_at, LATER, LATER, LATER]


@pytest.mark.parametrize("time", ["yesterday", None, 5, "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_none_is_now(time):
    assert edited(lambda whole: whole.update(updated_at=time)).updated_at > LATER
    assert edited(lambda whole: whole.pop("updated_at")).updated_at > LATER


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda history: history[1].pop("item"), "entry 2 of its history has neither an item nor a record"),
        (lambda history: history[1].update(record={}), "entry 2 of its history has neither an item nor a record"),
        (lambda history: history[2].update(item=None), "entry 3 of its history has neither an item nor a record"),
        (lambda history: history.insert(0, 7), "entry 1 of its history has neither an item nor a record"),
        (lambda history: history[1].update(turn=7), "entry 2 of its history has an `at`, `agent` or `turn` that is no"),
        (
            lambda history: history[1].update(at=None),
            "entry 2 of its history has an `at`, `agent` or `turn` that is no",
        ),
        (
            lambda history: history[0].update(agent=[]),
            "entry 1 of its history has an `at`, `agent` or `turn` that is no",
        ),
        (lambda history: history[3].update(item={"x": float("inf")}), "entry 4 of its history holds NaN"),
        (lambda history: history[3].update(more=float("inf")), "entry 4 of its history holds NaN"),
        (
            lambda history: history.append({"record": {}}),
            "entry 5 of its history has a record that is incomplete or of no known type",
        ),
    ],
)
def test_an_edit_that_cannot_be_taken_tells_where(change, why):
    with pytest.raises(Damage, match=f"^{why}"):
        edited(
            lambda whole: change(whole["history"]), dump=lambda whole: json.dumps(whole).replace("Infinity", "1e999")
        )


def test_a_fact_that_cannot_be_taken_tells_so():
    with pytest.raises(Damage, match=r"^its header holds NaN or an infinity"):
        edited(lambda whole: whole.update(x=0.5), dump=lambda whole: json.dumps(whole).replace("0.5", "1e999"))
    with pytest.raises(Damage, match=r"^its history is not a list$"):
        edited(lambda whole: whole.update(history=None))


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
        decoded = decode_document(json.dumps(value).encode())
    except (Damage, NewerFormat):
        return
    assert bodies(decode_document(bytes(encode_document(decoded)))) == bodies(decoded)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 300))
def test_any_bytes_anywhere_are_a_session_or_damage(junk, place, removed):
    data = grown([said("b")], [said("c"), said("d" * 300)], start=[said("a")])
    spoiled = data[:place] + junk + data[place + removed :]
    try:
        decoded = decode_document(spoiled)
    except (Damage, NewerFormat):
        return
    assert bodies(decode_document(bytes(encode_document(decoded)))) == bodies(decoded)


# --- damage of any extent --------------------------------------------------------------------------------------


def test_lines_that_were_all_changed_and_are_no_json_are_damage_and_not_torn():
    data = new_file([said(str(number)) for number in range(50)])
    for lead in (b" ", b"\t", b"  "):
        moved = data.replace(b"\n,{", b"\n" + lead + b",{").replace(b'\n {"seq"', b"\n" + lead + b'{"seq"')
        assert len(decode_document(moved).entries) == 50
        with pytest.raises(Damage):
            decode_document(moved.replace(b'"7"', b'"7', 1))


def test_two_documents_in_one_file_are_damage():
    data = grown([said("b")], start=[said("a")])
    with pytest.raises(Damage):
        decode_document(data + data)


def test_the_highest_number_of_a_hand_leaves_room_for_more():
    whole = json.loads(new_file([said("a")]))
    whole["seq"] = 2**53
    data = appended(bytes(encode_document(decode_document(json.dumps(whole).encode()))), [said("b")])
    plan = planned(data, [said("torn")])
    assert contents(decode_document(data[: plan.offset] + plan.data[:3])) == ["a", "b"]


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


def test_lines_that_are_gone_above_a_tail_that_says_where_the_last_batch_began_are_damage():
    """All of the history is zeros, and no line is left that claims to have been there: the tail does."""
    data = grown([said("a")], [said("b")])
    begin, end = data.index(b"\n") + 1, data.rindex(b"],") - 1
    with pytest.raises(Damage, match=f"damaged after byte {begin}"):
        decode_document(data[:begin] + b"\0" * (end - begin) + data[end:])


def test_a_whole_line_behind_one_that_is_gone_is_damage_and_not_a_torn_append():
    """No tail is left that says so, and it claims to begin a batch: one append left nothing like it."""
    data = grown([said("a")], [said("b")], [said("c")])
    second, third = data.index(b',{"seq":2'), data.index(b',{"seq":3')
    cut = data[:second] + b"\0" * (third - 1 - second) + data[third - 1 : data.rindex(b"],")]
    with pytest.raises(Damage, match=f"damaged after byte {second}"):
        decode_document(cut)
