"""What `follow` promises."""

import asyncio
import contextlib

import pytest

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.bounds import PATIENCE
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class FollowContract(ContractPart):
    """What `follow` promises."""

    async def test_a_follower_sees_every_entry_once_and_in_order(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("old"), said("0")])

        async def write() -> None:
            for number in range(1, 20):
                await store.append(KEY, [said(str(number))])

        writer = asyncio.create_task(write())
        seen = []
        async with asyncio.timeout(PATIENCE), contextlib.aclosing(store.follow(KEY, after=1)) as entries:
            async for entry in entries:
                seen.append(entry)
                if len(seen) == 20:
                    break
        await writer
        assert texts(seen) == [str(number) for number in range(20)]

    async def test_a_follower_without_a_number_sees_what_is_new(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("old")])
        async with asyncio.timeout(PATIENCE), contextlib.aclosing(store.follow(KEY)) as entries:
            first = asyncio.ensure_future(anext(entries))
            await asyncio.sleep(0.1)
            assert not first.done()
            await store.append(KEY, [said("new")])
            assert texts([await first]) == ["new"]

    async def test_a_follower_of_a_session_that_is_deleted_is_told(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await anext(store.follow(KEY))
        await store.create(info_of(), [said("a")])
        async with asyncio.timeout(PATIENCE), contextlib.aclosing(store.follow(KEY, after=0)) as entries:
            assert texts([await anext(entries)]) == ["a"]
            await store.delete(KEY)
            with pytest.raises(SessionNotFoundError):
                await anext(entries)
