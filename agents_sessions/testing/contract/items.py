"""Every item that JSON can carry comes back as it was."""

import json

import pytest

from agents_sessions.model.entries import Item, item_entry
from agents_sessions.model.lossless_json import MAX_DEPTH
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, LOSSLESS_ITEMS, info_of, nested, said, without_last


class ItemContract(ContractPart):
    """Every item that JSON can carry comes back as it was."""

    @pytest.mark.parametrize("number", range(len(LOSSLESS_ITEMS)))
    async def test_an_item_comes_back_as_it_was(self, store: SessionStore, number: int) -> None:
        item = LOSSLESS_ITEMS[number]
        await store.create(info_of(), [item_entry(item)])
        await store.append(KEY, [item_entry(item), item_entry(item)])
        await store.append(KEY, [said("newest")])
        await store.rewrite(KEY, without_last(1))
        # As text, because 1 == 1.0 == True and dicts are equal in any order.
        assert [json.dumps(each) for each in await store.items(KEY)] == [json.dumps(item)] * 3

    async def test_the_deepest_item_comes_back_as_it_was(self, store: SessionStore) -> None:
        item = nested(MAX_DEPTH)
        await store.create(info_of())
        await store.append(KEY, [item_entry(item)])
        await store.rewrite(KEY, lambda history: history.with_facts(name="rewritten"))
        assert await store.items(KEY) == [item]

    async def test_a_long_item_comes_back_as_it_was(self, store: SessionStore) -> None:
        item: Item = {"role": "user", "content": "0123456789abcdé" * 150_000}
        await store.create(info_of(), [said("before")])
        await store.append(KEY, [item_entry(item)])
        await store.append(KEY, [said("after")])
        assert (await store.items(KEY))[1] == item
        assert await store.items(KEY, limit=2) == [item, {"role": "user", "content": "after"}]
