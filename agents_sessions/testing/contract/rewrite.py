"""What `rewrite` promises."""

import asyncio
from typing import cast

import pytest

from agents_sessions.errors import InvalidItemError, SessionNotFoundError
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.base import History, SessionStore
from agents_sessions.testing.contract.bounds import PATIENCE
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts, without_last


class RewriteContract(ContractPart):
    """What `rewrite` promises."""

    async def test_a_rewrite_changes_facts_and_keeps_the_history(self, store: SessionStore) -> None:
        await store.create(info_of(name="old", metadata={"a": 1}), [said("a")])
        before = await store.entries(KEY)
        rewritten = await store.rewrite(KEY, lambda history: history.with_facts(name="new"))
        assert rewritten == await store.load(KEY)
        assert (rewritten.name, rewritten.metadata) == ("new", {"a": 1})
        assert [(entry["seq"], entry["at"], entry["item"]) for entry in await store.entries(KEY)] == [
            (entry["seq"], entry["at"], entry["item"]) for entry in before
        ]

    async def test_a_change_that_returns_its_history_does_nothing(self, store: SessionStore) -> None:
        before = await store.create(info_of(), [said("a")])
        assert await store.rewrite(KEY, lambda history: history) == before
        assert await store.load(KEY) == before

    @pytest.mark.parametrize(
        "refusal", [ZeroDivisionError(), FileNotFoundError(2, "mine"), BlockingIOError(11, "mine")]
    )
    async def test_a_change_that_raises_leaves_the_session_as_it_was(
        self, store: SessionStore, refusal: Exception
    ) -> None:
        before = await store.create(info_of(), [said("a")])

        def refuse(history: History) -> History:
            history.entries.clear()
            raise refusal

        with pytest.raises(type(refusal)) as caught:
            await store.rewrite(KEY, refuse)
        assert caught.value is refusal
        assert await store.load(KEY) == before
        assert texts(await store.entries(KEY)) == ["a"]

    async def test_a_change_that_raises_stop_iteration_is_an_error_and_does_not_hang(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])

        def refuse(history: History) -> History:
            return next(iter(()))

        with pytest.raises(RuntimeError, match="StopIteration"):  # what Python makes of it in a coroutine
            await asyncio.wait_for(store.rewrite(KEY, refuse), PATIENCE)
        assert texts(await store.entries(KEY)) == ["a"]

    async def test_a_rewrite_of_a_missing_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.rewrite(KEY, lambda history: history)

    async def test_a_popped_entry_is_gone(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.append(KEY, [said("b"), said("c")])
        await store.rewrite(KEY, without_last(1))
        assert texts(await store.entries(KEY)) == ["a", "b"]

    async def test_the_totals_are_counted_again_after_a_rewrite(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a"), said("b"), item_entry({"type": "reasoning"})])
        info = await store.rewrite(KEY, without_last(2))
        assert (info.context.items, info.context.user_messages, info.context.reasoning_items) == (1, 1, 0)

    async def test_a_number_is_never_given_again(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a"), said("b"), said("c")])
        await store.rewrite(KEY, without_last(2))
        await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
        await store.append(KEY, [said("d")])
        await store.rewrite(KEY, lambda history: history.with_entries([]))
        await store.append(KEY, [said("e")])
        assert [entry["seq"] for entry in await store.entries(KEY)] == [5]

    async def test_entries_that_a_rewrite_puts_in_get_new_numbers(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a"), said("b")])

        def put_first(history: History) -> History:
            return history.with_entries([said("new"), *history.entries, said("newer")])

        info = await store.rewrite(KEY, put_first)
        entries = await store.entries(KEY)
        numbers = [entry["seq"] for entry in entries]
        assert texts(entries) == ["new", "a", "b", "newer"]
        assert numbers == sorted(set(numbers))
        assert min(numbers) > 2
        assert info.seq == max(numbers)

    async def test_pops_and_appends_give_what_a_list_gives(self, store: SessionStore) -> None:
        await store.create(info_of())
        model: list[object] = []
        for number in range(40):
            if number % 3 == 2:
                await store.rewrite(KEY, without_last(1))
                model.pop()
            else:
                await store.append(KEY, [said(str(number))])
                model.append(str(number))
            assert texts(await store.entries(KEY)) == model

    async def test_a_rewrite_to_an_item_that_json_cannot_carry_is_refused(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])

        def spoil(history: History) -> History:
            return history.with_entries([{**history.entries[0], "item": {"x": float("nan")}}])

        with pytest.raises(InvalidItemError):
            await store.rewrite(KEY, spoil)
        assert texts(await store.entries(KEY)) == ["a"]

    async def test_a_rewrite_to_another_id_is_refused(self, store: SessionStore) -> None:
        before = await store.create(info_of())
        with pytest.raises(ValueError, match="cannot change the id"):
            await store.rewrite(KEY, lambda history: history.with_facts(id="other"))
        assert await store.load(KEY) == before

    async def test_concurrent_rewrites_are_all_applied(self, store: SessionStore) -> None:
        await store.create(info_of(metadata={"count": 0}))

        def count(history: History) -> History:
            return history.with_facts(metadata={"count": cast("int", history.info.metadata["count"]) + 1})

        await asyncio.gather(*(store.rewrite(KEY, count) for _ in range(20)))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.metadata == {"count": 20}
