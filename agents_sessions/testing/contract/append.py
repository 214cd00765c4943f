"""What `append` promises."""

import pytest

from agents_sessions.errors import SessionConflictError, SessionNotFoundError
from agents_sessions.model.entries import Entry, item_entry, record_entry
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import HUGE, KEY, info_of, said, texts


class AppendContract(ContractPart):
    """What `append` promises."""

    async def test_entries_come_back_in_the_order_of_their_appends(self, store: SessionStore) -> None:
        await store.create(info_of())
        for number in range(10):
            await store.append(KEY, [said(f"{number}a"), said(f"{number}b")])
        assert texts(await store.entries(KEY)) == [f"{number}{part}" for number in range(10) for part in "ab"]

    async def test_sequence_numbers_grow_by_one(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("1")])
        await store.append(KEY, [said("2"), said("3")])
        totals = await store.append(KEY, [said("4")])
        assert [entry["seq"] for entry in await store.entries(KEY)] == [1, 2, 3, 4]
        assert totals.seq == 4

    async def test_append_returns_the_totals_that_load_returns(self, store: SessionStore) -> None:
        await store.create(info_of())
        totals = await store.append(KEY, [said("a"), item_entry({"type": "function_call", "name": "f"})])
        loaded = await store.load(KEY)
        assert loaded is not None
        assert (loaded.seq, loaded.updated_at, loaded.context) == (totals.seq, totals.updated_at, totals.context)
        assert (loaded.context.items, loaded.context.user_messages, loaded.context.function_calls) == (2, 1, 1)

    async def test_append_returns_the_batch_as_it_is_stored(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        dated: Entry = {**said("c"), "at": "2026-01-02T03:04:05.678Z"}
        batch = [said("b"), dated, record_entry({"type": "usage", "requests": []})]
        appended = await store.append(KEY, batch)
        stored = await store.entries(KEY, after=1)
        parts = ("seq", "at", "item", "record")
        assert [[entry.get(part) for part in parts] for entry in appended.entries] == [
            [entry.get(part) for part in parts] for entry in stored
        ]

    async def test_an_entry_keeps_its_envelope(self, store: SessionStore) -> None:
        await store.create(info_of())
        await store.append(KEY, [item_entry({"role": "user"}, agent="triage", turn="r-1")])
        (entry,) = await store.entries(KEY)
        assert (entry["agent"], entry["turn"], entry["item"]) == ("triage", "r-1", {"role": "user"})
        assert entry["at"].endswith("Z")

    async def test_a_record_comes_back_as_it_was(self, store: SessionStore) -> None:
        await store.create(info_of())
        await store.append(KEY, [record_entry({"type": "handoff", "from": "a", "to": "b"})])
        (entry,) = await store.entries(KEY)
        assert entry["record"] == {"type": "handoff", "from": "a", "to": "b"}

    async def test_an_append_of_nothing_changes_nothing(self, store: SessionStore) -> None:
        before = await store.create(info_of(), [said("a")])
        totals = await store.append(KEY, [])
        assert await store.load(KEY) == before
        assert totals.seq == 1

    async def test_an_append_to_a_missing_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("a")])
        assert await store.load(KEY) is None

    async def test_an_append_at_the_expected_number_is_stored(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        assert (await store.append(KEY, [said("b")], expected_seq=1)).seq == 2

    @pytest.mark.parametrize("expected", [0, 1, 3, HUGE, -1])
    async def test_an_append_at_another_number_is_refused(self, store: SessionStore, expected: int) -> None:
        await store.create(info_of(), [said("a"), said("b")])
        with pytest.raises(SessionConflictError) as caught:
            await store.append(KEY, [said("c")], expected_seq=expected)
        assert (caught.value.expected_seq, caught.value.actual_seq) == (expected, 2)
        assert texts(await store.entries(KEY)) == ["a", "b"]
