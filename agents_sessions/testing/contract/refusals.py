"""What cannot be stored without loss is refused, and nothing is stored."""

from typing import Any, cast

import pytest

from agents_sessions.errors import InvalidItemError
from agents_sessions.model.entries import Entry, Item, RequestRow, item_entry, record_entry
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, REFUSED_ITEMS, info_of, said, texts


class RefusalContract(ContractPart):
    """What cannot be stored without loss is refused, and nothing is stored."""

    @pytest.mark.parametrize("number", range(len(REFUSED_ITEMS)))
    async def test_a_batch_with_an_item_that_json_cannot_carry_is_refused_whole(
        self, store: SessionStore, number: int
    ) -> None:
        before = await store.create(info_of(), [said("kept")])
        bad = item_entry(cast("Item", REFUSED_ITEMS[number]))
        with pytest.raises(InvalidItemError):
            await store.append(KEY, [said("good"), bad, said("good")])
        assert texts(await store.entries(KEY)) == ["kept"]
        assert await store.load(KEY) == before

    async def test_an_item_that_holds_itself_is_refused(self, store: SessionStore) -> None:
        item: Item = {}
        item["self"] = item
        await store.create(info_of())
        with pytest.raises(InvalidItemError):
            await store.append(KEY, [item_entry(item)])

    async def test_a_session_with_a_bad_first_item_is_not_created(self, store: SessionStore) -> None:
        with pytest.raises(InvalidItemError):
            await store.create(info_of(), [said("good"), item_entry(cast("Item", {"x": {1}}))])
        assert await store.load(KEY) is None

    @pytest.mark.parametrize(
        "envelope",
        [
            {"more": float("nan")},
            {"at": None},
            {"at": 5},
            {"at": "yesterday"},
            {"agent": None},
            {"agent": ["x"]},
            {"turn": None},
            {"turn": {}},
            {"seq": "1"},
            {"seq": 1.5},
            {"seq": True},
            {"seq": 2**53},
        ],
    )
    async def test_an_envelope_that_cannot_be_stored_is_refused(
        self, store: SessionStore, envelope: dict[str, Any]
    ) -> None:
        bad = cast("Entry", {"item": {}, **envelope})
        with pytest.raises(InvalidItemError):
            await store.create(info_of(), [bad])
        before = await store.create(info_of(), [said("kept")])
        with pytest.raises(InvalidItemError):
            await store.append(KEY, [said("good"), bad])
        with pytest.raises(InvalidItemError):
            await store.rewrite(KEY, lambda history: history.with_entries([*history.entries, bad]))
        assert await store.load(KEY) == before
        assert texts(await store.entries(KEY)) == ["kept"]

    @pytest.mark.parametrize(
        "record",
        [
            {},
            {"type": "note"},
            {"type": "decision"},
            {"type": "handoff", "from": "a"},
            {"type": "turn", "status": "odd", "usage": {}, "duration_ms": 1},
            {"type": "usage", "requests": [{"requests": "many"}]},
        ],
    )
    async def test_a_record_that_could_never_be_shown_is_refused(
        self, store: SessionStore, record: dict[str, Any]
    ) -> None:
        bad = cast("Entry", {"record": record})
        with pytest.raises(InvalidItemError):
            await store.create(info_of(), [bad])
        before = await store.create(info_of(), [said("kept")])
        with pytest.raises(InvalidItemError, match="item 2 of 2"):
            await store.append(KEY, [said("good"), bad])
        with pytest.raises(InvalidItemError):
            await store.rewrite(KEY, lambda history: history.with_entries([*history.entries, bad]))
        assert await store.load(KEY) == before

    async def test_a_record_that_would_make_a_total_infinite_is_refused(self, store: SessionStore) -> None:
        row = cast("RequestRow", dict.fromkeys(("requests", "input_tokens", "output_tokens", "total_tokens"), 1e308))
        usage = record_entry({"type": "usage", "requests": [row]})
        before = await store.create(info_of(), [said("kept")])
        with pytest.raises(InvalidItemError):
            await store.append(KEY, [usage, usage])
        assert await store.load(KEY) == before
