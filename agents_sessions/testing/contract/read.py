"""What `entries` and `items` promise."""

import itertools

import pytest

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.model.entries import record_entry
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import HUGE, KEY, info_of, said, texts


class ReadContract(ContractPart):
    """What `entries` and `items` promise."""

    @pytest.mark.parametrize("limit", [0, 1, 2, 9, 10, 11, HUGE, -1, None])
    async def test_the_newest_entries_come_in_order(self, store: SessionStore, limit: int | None) -> None:
        await store.create(info_of(), [said(str(number)) for number in range(5)])
        await store.append(KEY, [said(str(number)) for number in range(5, 10)])
        everything = [str(number) for number in range(10)]
        expected = everything if limit is None else everything[max(0, 10 - max(0, limit)) :]
        assert texts(await store.entries(KEY, limit=limit)) == expected
        assert [item["content"] for item in await store.items(KEY, limit=limit)] == expected

    @pytest.mark.parametrize("after", [-1, 0, 1, 6, 9, 10, 11, HUGE])
    async def test_the_entries_after_a_number_come_in_order(self, store: SessionStore, after: int) -> None:
        await store.create(info_of(), [said(str(number)) for number in range(1, 11)])
        await store.rewrite(KEY, lambda history: history.with_entries(history.entries[:3] + history.entries[4:]))
        expected = [str(number) for number in range(1, 11) if number > after and number != 4]
        assert texts(await store.entries(KEY, after=after)) == expected

    async def test_a_page_comes_from_the_end_that_was_named(self, store: SessionStore) -> None:
        await store.create(info_of(), [said(str(number)) for number in range(1, 11)])
        await store.rewrite(KEY, lambda history: history.with_entries(history.entries[:3] + history.entries[4:]))
        places = (None, -1, 0, 1, 4, 5, 9, 10, 11, HUGE)
        for after, before, limit in itertools.product(places, places, (0, 1, 2, 9, HUGE, -1, None)):
            numbers = [n for n in range(1, 11) if n != 4 and n > (after or 0) and (before is None or n < before)]
            count = len(numbers) if limit is None else min(max(0, limit), len(numbers))
            expected = numbers[:count] if after is not None else numbers[len(numbers) - count :]
            found = await store.entries(KEY, after=after, before=before, limit=limit)
            assert [entry["seq"] for entry in found] == expected, (after, before, limit)

    async def test_a_poller_that_reads_by_page_misses_nothing(self, store: SessionStore) -> None:
        await store.create(info_of(), [said(str(number)) for number in range(1200)])
        seen, after = 0, 0
        while page := await store.entries(KEY, after=after, limit=100):
            seen, after = seen + len(page), page[-1]["seq"]
        assert (seen, after) == (1200, 1200)

    async def test_a_walk_yields_every_entry_up_to_a_number(self, store: SessionStore) -> None:
        await store.create(info_of(), [said(str(number)) for number in range(1, 1201)])
        assert [entry["seq"] async for entry in store.walk(KEY)] == list(range(1, 1201))
        assert [entry["seq"] async for entry in store.walk(KEY, before=8)] == list(range(1, 8))

    async def test_items_are_the_history_without_records(self, store: SessionStore) -> None:
        record = record_entry({"type": "handoff", "from": "a", "to": "b"})
        await store.create(info_of(), [said("1"), record, said("2"), record, record])
        assert [item["content"] for item in await store.items(KEY)] == ["1", "2"]
        assert [item["content"] for item in await store.items(KEY, limit=1)] == ["2"]
        assert [item["content"] for item in await store.items(KEY, limit=2)] == ["1", "2"]

    async def test_the_newest_of_a_long_history_are_found(self, store: SessionStore) -> None:
        await store.create(info_of(), [said(f"{number} " + "x" * (number % 7) * 300) for number in range(2000)])
        for limit in (1, 50, 1999):
            found = [str(text).split()[0] for text in texts(await store.entries(KEY, limit=limit))]
            assert found == [str(number) for number in range(2000 - limit, 2000)]

    async def test_reading_a_missing_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.entries(KEY)
        with pytest.raises(SessionNotFoundError):
            await store.items(KEY, limit=1)
