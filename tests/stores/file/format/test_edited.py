"""Every kind of edit by hand."""

import json

import pytest
from session_bytes import HEADER, LATER, appended, contents, edited, grown, new_file, planned, said

from agents_sessions.model.history import typed
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.file.format.document import encode_document
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.reading import decode_document


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


def test_the_highest_number_of_a_hand_leaves_room_for_more():
    whole = json.loads(new_file([said("a")]))
    whole["seq"] = 2**53
    data = appended(bytes(encode_document(decode_document(json.dumps(whole).encode()))), [said("b")])
    plan = planned(data, [said("torn")])
    assert contents(decode_document(data[: plan.offset] + plan.data[:3])) == ["a", "b"]
