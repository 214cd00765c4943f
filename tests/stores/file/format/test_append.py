"""The write that appends a batch."""

import asyncio
import json

import pytest
from session_bytes import LATER, appended, grown, new_file, plan, planned, reader, said, spliced

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.file.format.reading import decode_document
from agents_sessions.stores.file.format.sealed import read_sealed
from agents_sessions.stores.file.store import FileStore


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


def test_what_the_writer_knows_of_the_file_is_what_a_reader_finds():
    data = grown([said("b"), said("c")], start=[said("a")])
    for entries in ([said("d")], [said("e"), said("x" * 20_000)], [said("f")]):
        plan = planned(data, entries)
        data = spliced(data, plan.offset, plan.data)
        assert read_sealed(reader(data), len(data)) == plan.after


@pytest.mark.parametrize("at", ["2025-01-01T00:00:00.000Z", LATER])
def test_the_time_of_a_file_is_that_of_its_last_change_whatever_the_clock_said_before(at):
    assert planned(new_file([said("a")]), [said("b")], at=at).after.tail.updated_at == at


def test_an_entry_after_a_removed_one_gets_a_new_number():
    data = appended(new_file([said("a")], seq=5), [said("b")])
    assert [entry["seq"] for entry in decode_document(data).entries] == [1, 6]


def test_no_append_leaves_a_sector_of_nothing_but_padding():
    """Where it did not reach the disk, it would pass for a part of the text that a later append put there."""
    long = [record_entry({"type": "handoff", "from": "a", "to": "b" * 3000})]
    short = [record_entry({"type": "handoff", "from": "b", "to": "c"})]
    data = appended(new_file(), long)
    sealed = read_sealed(reader(data), len(data))
    assert plan(sealed, short, LATER) is None


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
