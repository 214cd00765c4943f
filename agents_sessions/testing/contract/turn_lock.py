"""What `turn_lock` promises inside one process."""

import asyncio
from time import monotonic

import pytest

from agents_sessions.errors import SessionBusyError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.bounds import PATIENCE, ends
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said


class TurnLockContract(ContractPart):
    """What `turn_lock` promises inside one process."""

    async def test_the_turn_lock_lets_one_in(self, store: SessionStore) -> None:
        await store.create(info_of())
        inside = 0

        async def turn() -> None:
            nonlocal inside
            async with store.turn_lock(KEY, timeout=PATIENCE):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                await store.append(KEY, [said("x")])
                inside -= 1

        await asyncio.gather(*(turn() for _ in range(10)))
        assert len(await store.entries(KEY)) == 10

    async def test_turns_are_served_in_the_order_in_which_they_came(self, store: SessionStore) -> None:
        await store.create(info_of())
        served: list[int] = []

        async def turn(number: int) -> None:
            async with store.turn_lock(KEY, timeout=PATIENCE):
                served.append(number)

        async with store.turn_lock(KEY):
            turns = []
            for number in range(8):
                turns.append(asyncio.create_task(turn(number)))
                await asyncio.sleep(0)
        await asyncio.gather(*turns)
        assert served == list(range(8))

    @pytest.mark.parametrize("timeout", [0, 0.05])
    async def test_a_wait_for_a_turn_is_bounded(self, store: SessionStore, timeout: float) -> None:
        await store.create(info_of())
        async with store.turn_lock(KEY):
            begun = monotonic()
            with pytest.raises(SessionBusyError) as caught:
                async with store.turn_lock(KEY, timeout=timeout):
                    pytest.fail("two in one turn")
            assert monotonic() - begun < PATIENCE / 2
            assert caught.value.session_id == KEY.session_id
        async with store.turn_lock(KEY, timeout=0):
            pass

    async def test_a_session_is_running_as_long_as_its_turn_lock_is_held(self, store: SessionStore) -> None:
        await store.create(info_of())
        assert not await store.is_running(KEY)
        async with store.turn_lock(KEY):
            assert await store.is_running(KEY)
            assert not await store.is_running(SessionKey("support", "other"))
        assert not await store.is_running(KEY)

    async def test_a_look_at_a_turn_lock_does_not_keep_it(self, store: SessionStore) -> None:
        await store.create(info_of())
        assert not await store.is_running(KEY)
        async with store.turn_lock(KEY, timeout=0):
            assert await store.is_running(KEY)
        async with store.turn_lock(KEY, timeout=0):
            pass

    async def test_turns_of_other_sessions_do_not_wait(self, store: SessionStore) -> None:
        other = SessionKey("support", "other")
        await store.create(info_of())
        await store.create(info_of(other))
        async with store.turn_lock(KEY), store.turn_lock(other, timeout=0):
            pass

    async def test_the_turn_lock_does_not_stop_appends_and_rewrites(self, store: SessionStore) -> None:
        await store.create(info_of())
        async with store.turn_lock(KEY):
            await store.append(KEY, [said("a")])
            await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
            assert len(await store.entries(KEY)) == 1

    async def test_an_error_in_a_turn_releases_its_lock(self, store: SessionStore) -> None:
        await store.create(info_of())
        with pytest.raises(ZeroDivisionError):
            async with store.turn_lock(KEY):
                raise ZeroDivisionError
        async with store.turn_lock(KEY, timeout=0):
            pass

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 6, 10, 20])
    async def test_a_cancelled_turn_releases_its_lock(self, store: SessionStore, steps: int) -> None:
        async def turn() -> None:
            async with store.turn_lock(KEY):
                await asyncio.sleep(PATIENCE)

        await store.create(info_of())
        for _ in range(10):
            task = asyncio.create_task(turn())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await ends(task)
            async with store.turn_lock(KEY, timeout=0):
                pass

    async def test_a_cancelled_waiter_does_not_stop_the_queue(self, store: SessionStore) -> None:
        await store.create(info_of())

        async def turn() -> None:
            async with store.turn_lock(KEY, timeout=PATIENCE):
                pass

        async with store.turn_lock(KEY):
            waiters = [asyncio.create_task(turn()) for _ in range(4)]
            await asyncio.sleep(0)
            waiters[0].cancel()
            waiters[2].cancel()
        await ends(*waiters)
        assert [task.cancelled() for task in waiters] == [True, False, True, False]
        assert all(task.cancelled() or task.exception() is None for task in waiters)
