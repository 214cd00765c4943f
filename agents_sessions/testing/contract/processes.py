"""What holds if several processes share the data."""

import asyncio
import time

import pytest

from agents_sessions.errors import SessionBusyError
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.bounds import MARGIN, run
from agents_sessions.testing.contract.children import Child, append_some, append_without_end, hold_turn
from agents_sessions.testing.contract.part import ContractPart, Opener
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class ProcessContract(ContractPart):
    """What holds if several processes share the data."""

    async def test_a_second_store_sees_what_the_first_stored(self, store: SessionStore, open_again: Opener) -> None:
        async with self.opened(open_again) as second:
            await store.create(info_of(), [said("a")])
            assert texts(await second.entries(KEY)) == ["a"]
            await second.append(KEY, [said("b")])
            await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
            await second.append(KEY, [said("c")])
            assert texts(await store.entries(KEY)) == ["a", "b", "c"]
            assert await store.load(KEY) == await second.load(KEY)

    async def test_two_stores_on_the_same_data_exclude_each_others_turns(
        self, store: SessionStore, open_again: Opener
    ) -> None:
        await store.create(info_of())
        async with store.turn_lock(KEY), self.opened(open_again) as second:
            with pytest.raises(SessionBusyError):
                async with second.turn_lock(KEY, timeout=0.02):
                    pytest.fail("two in one turn")

    def test_two_processes_that_append_and_rewrite_lose_nothing(self, store: SessionStore, open_again: Opener) -> None:
        run(store.create(info_of()))
        with Child(append_some, open_again, "0", 100) as first, Child(append_some, open_again, "1", 100) as second:
            first.finish()
            second.finish()
        entries = run(store.entries(KEY))
        for name in ("0", "1"):
            mine = [text for text in texts(entries) if str(text).startswith(f"{name}-")]
            assert mine == [f"{name}-{number}" for number in range(100)]
        assert [entry["seq"] for entry in entries] == list(range(1, 201))

    def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_no_part_of_a_batch(
        self, store: SessionStore, open_again: Opener
    ) -> None:
        run(store.create(info_of()))
        acknowledged = 0
        for _ in range(3):
            with Child(append_without_end, open_again, acknowledged) as writer:
                acknowledged = max(writer.receive(30))
                acknowledged = max([acknowledged, *writer.kill()])
            if store.lock_grace:  # A server may still be at the last statement of the client that died.
                time.sleep(0.3)
            found = texts(run(store.entries(KEY)))
            batches, rest = divmod(len(found), 3)
            assert rest == 0
            assert batches in (acknowledged, acknowledged + 1)
            assert found == [f"{number}{part}" for number in range(1, batches + 1) for part in "abc"]
            acknowledged = batches
            run(store.rewrite(KEY, lambda history: history.with_facts(name="still writable")))

    def test_the_turn_lock_excludes_other_processes(self, store: SessionStore, open_again: Opener) -> None:
        run(store.create(info_of()))
        with Child(hold_turn, open_again) as holder:
            holder.receive(1)
            assert run(store.is_running(KEY))
            with pytest.raises(SessionBusyError):
                run(_take_turn(store, timeout=0.02))

    def test_the_turn_lock_of_a_killed_process_is_free_within_its_grace(
        self, store: SessionStore, open_again: Opener
    ) -> None:
        run(store.create(info_of()))
        with Child(hold_turn, open_again) as holder:
            holder.receive(1)
            holder.kill()
            grace = store.lock_grace if self.lock_grace is None else self.lock_grace
            run(_stops_running(store, within=grace + MARGIN), within=grace + 2 * MARGIN)
            run(_take_turn(store, timeout=grace + MARGIN), within=grace + 2 * MARGIN)


async def _stops_running(store: SessionStore, within: float) -> None:
    async with asyncio.timeout(within):
        while await store.is_running(KEY):  # noqa: ASYNC110 -- another process's lock sets no event
            await asyncio.sleep(0.01)


async def _take_turn(store: SessionStore, timeout: float) -> None:
    async with store.turn_lock(KEY, timeout=timeout):
        pass
