"""Every torn state of an append, and what of it is damage."""

import itertools
import random
from functools import reduce

import pytest
from seeds import SEED
from session_bytes import (
    AT,
    HEADER,
    LATER,
    appended,
    bodies,
    contents,
    contents_without_tail,
    edited_above,
    grown,
    new_file,
    planned,
    said,
    spliced,
    spoiled,
)

from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.document import Document, encode_document
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.tail import SECTOR

SAMPLES = 1500
"""States that are tried of one append whose states are too many to try all."""

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


# --- what one append can have torn -------------------------------------------------------------------------------


def test_lines_of_two_batches_behind_the_whole_part_are_damage():
    data = grown([said("b"), said("c")], [said("d"), said("e")], start=[said("a")])
    for torn in ((b"b", b"d"), (b"b",), (b"b", b"c")):
        with pytest.raises(Damage, match="not only in its last append"):
            contents_without_tail(spoiled(data, *torn))
    assert contents_without_tail(spoiled(data, b"d")) == ["a", "b", "c"]
    assert contents_without_tail(spoiled(data, b"e")) == ["a", "b", "c"]


def test_lines_of_one_batch_behind_the_whole_part_are_torn():
    data = grown([said("b"), said("c"), said("d"), said("e")], start=[said("a")])
    for torn in ((b"b",), (b"b", b"d"), (b"c",), (b"e",), (b"b", b"c", b"d", b"e")):
        assert contents_without_tail(spoiled(data, *torn)) == ["a"]


def test_a_readable_seal_says_where_the_last_batch_began():
    data = grown([said("b"), said("c")], [said("d")], start=[said("a")])
    place = data.index(b"\n", data.index(b'"d"')) + 1
    assert contents(decode_document(spoiled(data[:-9], b"d"))) == ["a", "b", "c"]
    with pytest.raises(Damage, match=f"after byte {data.index(b',{')}, "):
        decode_document(spoiled(data, b"b", b"c", b"d"))
    with pytest.raises(Damage):  # two batches are claimed, by lines that no longer agree with their checksums
        decode_document(spoiled(data[: place + 9], b"b", b"c", b"d"))


def test_a_reason_tells_what_is_wrong_with_the_text_too():
    data = spoiled(grown([said("b")], [said("c")]), b"b", b"c")
    with pytest.raises(Damage, match=r"not only in its last append \(not JSON at line 2, column 92: .*\)$"):
        decode_document(data)


def test_lines_that_were_all_changed_and_are_no_json_are_damage_and_not_torn():
    data = new_file([said(str(number)) for number in range(50)])
    for lead in (b" ", b"\t", b"  "):
        moved = data.replace(b"\n,{", b"\n" + lead + b",{").replace(b'\n {"seq"', b"\n" + lead + b'{"seq"')
        assert len(decode_document(moved).entries) == 50
        with pytest.raises(Damage):
            decode_document(moved.replace(b'"7"', b'"7', 1))


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


# --- the tail from before the append -----------------------------------------------------------------------------


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


# --- a typo of a person is no torn append ------------------------------------------------------------------------

TYPOS = {
    "a quote that is not escaped": lambda data: b'"Order "42"."'.join(data.rsplit(b'"Order 42."', 1)),
    "a comma behind the last entry": lambda data: data.replace(b'\n],"context"', b',\n],"context"'),
    "a quote that is missing": lambda data: b'"Order 42.'.join(data.rsplit(b'"Order 42."', 1)),
    "a brace that is missing": lambda data: data.replace(b'}}\n],"context"', b'}\n],"context"'),
    "the last line in two": lambda data: b'"Order\n 42."'.join(data.rsplit(b'"Order 42."', 1)),
}


@pytest.mark.parametrize("typo", TYPOS)
@pytest.mark.parametrize(
    "data",
    [
        grown([said("a")], [said("b"), said("Order 42."), said("c")]),
        grown([said("a")], [said("Order 42.")]),
        grown([], [said("Order 42.")]),
        renamed([said("a"), said("Order 42.")]),
    ],
    ids=["in a batch", "alone", "the first", "written whole"],
)
def test_a_typo_in_the_last_batch_is_refused_with_its_place(typo, data):
    edited = TYPOS[typo](data)
    assert edited != data
    with pytest.raises(Damage, match=r"not JSON at line \d+, column \d+"):
        decode_document(edited)


OF_ONE_LENGTH = {
    "a quote that became a letter": lambda text: text.replace(b'"Order 42."', b'"Order 42.x'),
    "a quote that was not escaped": lambda text: text.replace(b"Order 42.", b'Or"er 42.'),
    "another word": lambda text: text.replace(b"Order 42.", b'"rder 43.'),
    "a brace": lambda text: text.replace(b'"Order 42."}', b'"Order 42.")'),
}
LAST_BATCHES = {
    "short": [said("Order 42.")],
    "of several": [said("b"), said("Order 42."), said("c")],
    "over a sector": [said("b" * 700), said("Order 42."), said("c" * 700)],
    "in long lines": [said("b" * 2000), said("Order 42."), said("c" * 2000), said("d")],
    "with what a tail has": [record_entry({"type": "handoff", "from": "a", "to": "b"}), said("Order 42."), said("d")],
}


@pytest.mark.parametrize("batch", LAST_BATCHES)
@pytest.mark.parametrize("typo", OF_ONE_LENGTH)
def test_a_typo_that_keeps_the_length_is_refused_with_its_place(typo, batch):
    data = grown([said("a")], LAST_BATCHES[batch])
    edited = OF_ONE_LENGTH[typo](data)
    assert len(edited) == len(data)
    assert edited != data
    with pytest.raises(Damage, match=r"not JSON at line \d+, column \d+"):
        decode_document(edited)
