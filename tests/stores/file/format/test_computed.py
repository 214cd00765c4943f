"""The number, the time and the totals of a file whose tail is not believed."""

import pytest
from session_bytes import AT, LATER, cut_in_its_tail, edited, new_file, said

from agents_sessions.stores.file.format.reading import decode_document


def test_the_time_of_a_torn_file_is_that_of_its_newest_entry():
    old = new_file([{**said("a"), "at": LATER}, {**said("b"), "at": AT}])
    assert decode_document(cut_in_its_tail(old)).updated_at == LATER
    assert decode_document(cut_in_its_tail(new_file())).updated_at > LATER


def test_totals_changed_by_hand_are_counted_again():
    decoded = edited(lambda whole: whole["context"].update(items=99))
    assert decoded.context.items == 4


@pytest.mark.parametrize(
    ("seq", "found"), [(9, 9), (2**52, 2**52), (2**52 + 1, 4), (True, 4), ("9", 4), (-9, 4), (3, 4)]
)
def test_a_number_of_the_session_is_kept_if_it_can_be_one(seq, found):
    assert edited(lambda whole: whole.update(seq=seq)).seq == found
    assert edited(lambda whole: whole["seal"].update(seq=seq)).seq == found


def test_a_session_without_entries_keeps_its_number():
    assert edited(lambda whole: whole.update(history=[])).seq == 4
    assert edited(lambda whole: whole.update(history=[], seal={})).seq == 0


@pytest.mark.parametrize("time", ["yesterday", None, 5, "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_none_is_now(time):
    assert edited(lambda whole: whole.update(updated_at=time)).updated_at > LATER
    assert edited(lambda whole: whole.pop("updated_at")).updated_at > LATER
