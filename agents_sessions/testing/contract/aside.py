"""What `set_aside` promises, of stores that can."""

import asyncio

import pytest

from agents_sessions.errors import SessionExistsError, SessionNotFoundError
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class AsideContract(ContractPart):
    """What `set_aside` promises, of stores that can."""

    @pytest.fixture(autouse=True)
    def _can_set_aside(self, store: SessionStore) -> None:
        if type(store).set_aside is SessionStore.set_aside:
            pytest.skip("this store does not set sessions aside: it has no `set_aside`")

    async def test_a_session_that_was_set_aside_is_out_of_sight(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        aside = await store.set_aside(KEY, "trash-30d")
        assert await store.load(KEY) is None
        assert [info async for info in store.scan()] == []
        assert await store.find(KEY.session_id) == []
        assert await store.list_sidecars(KEY) == []
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("b")])
        assert [(each.token, each.key, each.note) for each in await store.list_aside()] == [
            (aside.token, KEY, "trash-30d")
        ]

    async def test_it_comes_back_whole(self, store: SessionStore) -> None:
        await store.create(info_of(name="Order"), [said("a"), said("b")])
        await store.write_sidecar(KEY, "checkpoints/1", b"1")
        before = await store.load(KEY), await store.entries(KEY)
        aside = await store.set_aside(KEY)
        assert await store.bring_back(aside.token) == before[0]
        assert (await store.load(KEY), await store.entries(KEY)) == before
        assert await store.read_sidecar(KEY, "checkpoints/1") == b"1"
        assert await store.list_aside() == []
        assert (await store.append(KEY, [said("c")])).seq == 3

    async def test_its_id_is_free_and_a_new_session_is_not_replaced(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("old")])
        await store.write_sidecar(KEY, "a.json", b"old")
        aside = await store.set_aside(KEY)
        await store.create(info_of(), [said("new")])
        assert await store.list_sidecars(KEY) == []
        with pytest.raises(SessionExistsError):
            await store.bring_back(aside.token)
        assert texts(await store.entries(KEY)) == ["new"]
        await store.delete(KEY)
        await store.bring_back(aside.token)
        assert texts(await store.entries(KEY)) == ["old"]
        assert await store.read_sidecar(KEY, "a.json") == b"old"

    async def test_a_discarded_session_is_gone(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        aside = await store.set_aside(KEY)
        await store.discard(aside.token)
        assert await store.list_aside() == []
        for act in (store.bring_back, store.discard):
            with pytest.raises(LookupError):
                await act(aside.token)

    @pytest.mark.parametrize("token", ["", "/", "../x", "a/../../b", "support/order-42.json", "nothing"])
    async def test_a_token_that_names_nothing_is_an_error(self, store: SessionStore, token: str) -> None:
        await store.create(info_of(), [said("a")])
        for act in (store.bring_back, store.discard):
            with pytest.raises(LookupError):
                await act(token)
        assert texts(await store.entries(KEY)) == ["a"]

    async def test_a_missing_session_is_not_set_aside(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.set_aside(KEY)

    async def test_of_bringing_back_and_discarding_at_once_one_wins(self, store: SessionStore) -> None:
        for _ in range(10):
            await store.create(info_of(), [said("a")])
            token = (await store.set_aside(KEY)).token
            back, gone = await asyncio.gather(store.bring_back(token), store.discard(token), return_exceptions=True)
            assert isinstance(back, LookupError) != isinstance(gone, LookupError)
            if not isinstance(back, LookupError):
                assert texts(await store.entries(KEY)) == ["a"]
                await store.delete(KEY)
            assert await store.load(KEY) is None
            assert await store.list_aside() == []
