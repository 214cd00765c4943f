"""Nobody shares an object with the store."""

import asyncio
from copy import deepcopy
from typing import cast

from agents_sessions.model.entries import Item, item_entry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class SharingContract(ContractPart):
    """Nobody shares an object with the store."""

    async def test_changing_a_given_item_does_not_change_the_store(self, store: SessionStore) -> None:
        item: Item = {"content": ["a"]}
        await store.create(info_of())
        await store.append(KEY, [item_entry(item)])
        cast("list[str]", item["content"]).append("b")
        assert await store.items(KEY) == [{"content": ["a"]}]

    async def test_changing_a_returned_entry_does_not_change_the_store(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        (entry,) = await store.entries(KEY)
        entry["item"]["content"] = "b"
        (item,) = await store.items(KEY)
        item["content"] = "c"
        assert texts(await store.entries(KEY)) == ["a"]

    async def test_changing_given_and_returned_facts_does_not_change_the_store(self, store: SessionStore) -> None:
        given = info_of(metadata={"a": [1]}, labels=["a"])
        clean = deepcopy(given)
        created = await store.create(given)
        for shared in (given, created, await store.load(KEY), await store.rewrite(KEY, lambda history: history)):
            assert shared is not None
            cast("list[int]", shared.metadata["a"]).append(2)
            shared.metadata["b"] = 1
            cast("dict[str, list[str]]", shared.model_extra)["labels"].append("b")
        loaded = await store.load(KEY)
        assert loaded is not None
        assert (loaded.metadata, loaded.model_extra) == (clean.metadata, clean.model_extra)

    async def test_an_append_does_not_change_what_it_was_given(self, store: SessionStore) -> None:
        entry = said("a")
        await store.create(info_of())
        await store.append(KEY, [entry])
        assert entry == said("a")

    async def test_an_append_that_waits_stores_and_counts_what_it_was_given(self, store: SessionStore) -> None:
        await store.create(info_of())
        given = [said(str(number)) for number in range(20)]
        waiting = [asyncio.create_task(store.append(KEY, [entry])) for entry in given]
        await asyncio.sleep(0)
        for entry in given:
            entry["item"].update(role="assistant", content="changed")
        await asyncio.gather(*waiting)
        stored = await store.entries(KEY)
        assert texts(stored) == [str(number) for number in range(20)]
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.context == fold(ContextStats(), stored)
        assert loaded.context.user_messages == 20

    async def test_a_creation_that_waits_stores_and_counts_what_it_was_given(self, store: SessionStore) -> None:
        entry, info = said("a"), info_of(metadata={"a": [1]})
        before = [asyncio.create_task(store.append(KEY, [said("b")])) for _ in range(20)]
        creating = asyncio.create_task(store.create(info, [entry]))
        await asyncio.sleep(0)
        entry["item"].update(role="assistant", content=float("nan"))
        info.metadata["a"] = b"bytes"  # type: ignore[assignment]
        created = await creating
        await asyncio.gather(*before, return_exceptions=True)
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.metadata == created.metadata == {"a": [1]}
        assert (await store.items(KEY))[0] == {"role": "user", "content": "a"}
        assert (created.context.user_messages, created.context.assistant_messages) == (1, 0)
