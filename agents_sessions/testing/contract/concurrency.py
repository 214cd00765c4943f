"""What holds for many tasks and threads at once."""

import asyncio

import pytest

from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.bounds import PATIENCE, ends, in_threads, run
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class ConcurrencyContract(ContractPart):
    """What holds for many tasks and threads at once."""

    async def test_a_hundred_concurrent_appends_lose_nothing(self, store: SessionStore) -> None:
        await store.create(info_of())
        await asyncio.gather(*(store.append(KEY, [said(f"{n}a"), said(f"{n}b")]) for n in range(100)))
        found = [str(text) for text in texts(await store.entries(KEY))]
        assert sorted(found[::2]) == sorted(f"{number}a" for number in range(100))
        assert found[1::2] == [text[:-1] + "b" for text in found[::2]]

    def test_threads_with_loops_of_their_own_lose_nothing(self, store: SessionStore) -> None:
        async def write(worker: int) -> None:
            for number in range(20):
                await store.append(KEY, [said(f"{worker}-{number}")])

        run(store.create(info_of()))
        in_threads(5, write)
        found = [str(text) for text in texts(run(store.entries(KEY)))]
        for worker in range(5):
            mine = [text for text in found if text.startswith(f"{worker}-")]
            assert mine == [f"{worker}-{number}" for number in range(20)]

    def test_turns_of_several_threads_exclude_each_other(self, store: SessionStore) -> None:
        inside = 0
        met: list[int] = []

        async def turns(_thread: int) -> None:
            nonlocal inside
            for _ in range(10):
                async with store.turn_lock(KEY, timeout=PATIENCE):
                    inside += 1
                    met.append(inside)
                    await asyncio.sleep(0)
                    inside -= 1

        run(store.create(info_of()))
        in_threads(4, turns)
        assert met == [1] * 40

    async def test_a_reader_beside_a_writer_sees_whole_batches_only(self, store: SessionStore) -> None:
        await store.create(info_of())

        async def write() -> None:
            for number in range(60):
                await store.append(KEY, [said(str(number))] * 3)

        writer = asyncio.create_task(write())
        seen = 0
        while not writer.done():
            count = len(await store.entries(KEY))
            assert count % 3 == 0
            assert count >= seen
            seen = count
            await asyncio.sleep(0)
        await writer
        assert len(await store.entries(KEY)) == 180

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
    async def test_a_cancelled_append_is_whole_or_absent_once_the_cancellation_is_raised(
        self, store: SessionStore, steps: int
    ) -> None:
        await store.create(info_of())
        expected = 0
        for _ in range(10):
            task = asyncio.create_task(store.append(KEY, [said("a"), said("b")]))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await ends(task)
            stored = len(await store.entries(KEY)) - expected
            assert stored in ((0, 2) if task.cancelled() else (2,))
            await store.append(KEY, [said("next")])
            expected += stored + 1
            assert len(await store.entries(KEY)) == expected
