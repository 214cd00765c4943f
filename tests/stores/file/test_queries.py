"""What a session is asked for: the same of a file whose seal holds, from its end, as of all of it."""

import itertools
from datetime import UTC, datetime

import pytest
from session_bytes import AT, HEADER, LATER, grown, new_file, reader, said

from agents_sessions.model.entries import record_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.base import Standing
from agents_sessions.stores.file import queries
from agents_sessions.stores.file.format.header import Damage
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_sealed

HANDOFF = record_entry({"type": "handoff", "from": "a", "to": "b"})
FACTS = {"created_at": AT, "status": "active", "session_type": "user", "metadata": {"tags": ["x"]}}
LINES = [said("a"), HANDOFF, said("b"), said("c"), HANDOFF, HANDOFF, said("d"), HANDOFF]
FILE = grown(LINES[5:], start=LINES[:5])
FILE_OF_ITS_OWN = new_file(LINES[:2], **FACTS)


def both(query, data):
    """Return what a query says of a file by its seal, and of all of it."""
    sealed = read_sealed(reader(data), len(data))
    return query.of_sealed(reader(data), sealed), query.of_whole(decode_document(data))


@pytest.mark.parametrize("after", [None, -1, 0, 1, 4, 7, 8, 99])
def test_the_entries_are_those_between_two_numbers_from_the_end_that_was_named(after):
    for before, limit in itertools.product([None, -1, 1, 2, 5, 9, 99], [None, 0, 1, 2, 8, 9, 99]):
        numbers = [seq for seq in range(1, 9) if seq > (after or 0) and (before is None or seq < before)]
        count = len(numbers) if limit is None else min(limit, len(numbers))
        wanted = numbers[:count] if after is not None else numbers[len(numbers) - count :]
        for found in both(queries.entries_query(after, before, limit), FILE):
            assert [entry["seq"] for entry in found] == wanted, (before, limit)


@pytest.mark.parametrize(("last", "wanted"), [(None, "abcd"), (0, ""), (1, "d"), (2, "cd"), (4, "abcd"), (99, "abcd")])
def test_the_items_are_all_or_the_last_of_them(last, wanted):
    for found in both(queries.items_query(last), FILE):
        assert [item["content"] for item in found] == list(wanted)


def test_the_newest_of_a_long_history_are_read_from_its_end():
    data = new_file([said("x" * 300)] * 2000 + [HANDOFF] * 100)
    sealed = read_sealed(reader(data), len(data))
    for query, count, most in (
        (queries.entries_query(None, None, 5), 5, 5000),
        (queries.entries_query(2095, None, None), 5, 5000),
        (queries.items_query(5), 5, 60_000),
    ):
        lengths = []
        assert len(query.of_sealed(watched(data, lengths), sealed)) == count
        assert sum(lengths) <= most


def test_what_a_session_is_is_known_without_reading_it():
    sealed = read_sealed(reader(FILE), len(FILE))
    assert queries.INFO_QUERY.of_sealed(None, sealed).seq == 8


@pytest.mark.parametrize("query", [queries.entries_query(None, None, None), queries.items_query(None)])
def test_all_of_a_long_history_is_read_in_parts(query):
    data = new_file([said("x" * 3000)] * 1000)
    lengths = []
    assert len(query.of_sealed(watched(data, lengths), read_sealed(reader(data), len(data)))) == 1000
    assert max(lengths) == 1 << 20


def watched(data, lengths):
    def read(offset, length):
        lengths.append(length)
        return bytearray(data[offset : offset + length])

    return read


def test_a_session_is_its_facts_and_its_totals():
    for info in both(queries.INFO_QUERY, grown([said("b")], start=[said("a")])):
        assert (info.id, info.agent_id, info.name) == tuple(HEADER.values())
        assert (info.seq, info.context.items) == (2, 2)
        assert info.updated_at == datetime.fromisoformat(LATER)
    for info in both(queries.INFO_QUERY, FILE_OF_ITS_OWN):
        assert info.metadata == {"tags": ["x"]}
        assert info.created_at == datetime(2026, 11, 20, 21, 28, 0, 123_000, tzinfo=UTC)


def test_what_a_caller_gets_is_its_own():
    sealed = read_sealed(reader(FILE_OF_ITS_OWN), len(FILE_OF_ITS_OWN))
    info = queries.INFO_QUERY.of_sealed(reader(FILE_OF_ITS_OWN), sealed)
    info.metadata["tags"].append("y")
    assert sealed.header["metadata"] == {"tags": ["x"]}


def test_a_fact_that_cannot_be_is_damage_and_is_named_without_its_value():
    data = new_file([said("a")], status="secret", metadata=7)
    sealed = read_sealed(reader(data), len(data))
    for ask in (
        lambda: queries.INFO_QUERY.of_sealed(reader(data), sealed),
        lambda: queries.info_of(decode_document(data)),
    ):
        with pytest.raises(Damage, match=r"^its header has an invalid value: .*metadata") as caught:
            ask()
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_the_totals_of_a_tail_are_those_of_its_file():
    tail = read_sealed(reader(FILE), len(FILE)).tail
    totals = fold(ContextStats(), [*LINES[:-1], {**LINES[-1], "at": LATER}])
    assert queries.standing_of(tail) == Standing(8, datetime.fromisoformat(LATER), totals)
