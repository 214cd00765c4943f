"""What `set_aside` promises, of stores that can."""

import asyncio

import pytest

from agents_sessions.errors import SessionExistsError, SessionNotFoundError
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class AsideContract(ContractPart):
    """What `set_aside` promises, of stores that can."""

    @pytest.fixture
    def trash(self, store: SessionStore) -> SessionStore:
        # Not for every test, as `autouse` would be: the parts are one class, so it would skip the whole contract.
        if type(store).set_aside is SessionStore.set_aside:
            pytest.skip("this store does not set sessions aside: it has no `set_aside`")
        return store

    async def test_a_session_that_was_set_aside_is_out_of_sight(self, trash: SessionStore) -> None:
        await trash.create(info_of(), [said("a")])
        aside = await trash.set_aside(KEY, "trash-30d")
        assert await trash.load(KEY) is None
        assert [info async for info in trash.scan()] == []
        assert await trash.find(KEY.session_id) == []
        assert await trash.list_sidecars(KEY) == []
        with pytest.raises(SessionNotFoundError):
            await trash.append(KEY, [said("b")])
        assert [(each.token, each.key, each.note) for each in await trash.list_aside()] == [
            (aside.token, KEY, "trash-30d")
        ]

    async def test_it_comes_back_whole(self, trash: SessionStore) -> None:
        await trash.create(info_of(name="Order"), [said("a"), said("b")])
        await trash.write_sidecar(KEY, "checkpoints/1", b"1")
        before = await trash.load(KEY), await trash.entries(KEY)
        aside = await trash.set_aside(KEY)
        assert await trash.bring_back(aside.token) == before[0]
        assert (await trash.load(KEY), await trash.entries(KEY)) == before
        assert await trash.read_sidecar(KEY, "checkpoints/1") == b"1"
        assert await trash.list_aside() == []
        assert (await trash.append(KEY, [said("c")])).seq == 3

    async def test_its_facts_and_its_size_are_known_by_its_token(self, trash: SessionStore) -> None:
        info = await trash.create(info_of(name="Order"), [said("a")])
        await trash.write_sidecar(KEY, "a", b"1" * 100)
        sizes = await trash.sizes([KEY])
        aside = await trash.set_aside(KEY)
        assert await trash.load_aside(aside.token) == info
        assert await trash.sizes([aside.token, KEY, "nothing"]) == [*sizes, None, None]
        await trash.discard(aside.token)
        with pytest.raises(LookupError):
            await trash.load_aside(aside.token)

    async def test_its_id_is_free_and_a_new_session_is_not_replaced(self, trash: SessionStore) -> None:
        await trash.create(info_of(), [said("old")])
        await trash.write_sidecar(KEY, "a.json", b"old")
        aside = await trash.set_aside(KEY)
        await trash.create(info_of(), [said("new")])
        assert await trash.list_sidecars(KEY) == []
        with pytest.raises(SessionExistsError):
            await trash.bring_back(aside.token)
        assert texts(await trash.entries(KEY)) == ["new"]
        await trash.delete(KEY)
        await trash.bring_back(aside.token)
        assert texts(await trash.entries(KEY)) == ["old"]
        assert await trash.read_sidecar(KEY, "a.json") == b"old"

    async def test_a_discarded_session_is_gone(self, trash: SessionStore) -> None:
        await trash.create(info_of(), [said("a")])
        aside = await trash.set_aside(KEY)
        await trash.discard(aside.token)
        assert await trash.list_aside() == []
        for act in (trash.bring_back, trash.discard):
            with pytest.raises(LookupError):
                await act(aside.token)

    @pytest.mark.parametrize("token", ["", "/", "../x", "a/../../b", "support/order-42.json", "nothing"])
    async def test_a_token_that_names_nothing_is_an_error(self, trash: SessionStore, token: str) -> None:
        await trash.create(info_of(), [said("a")])
        for act in (trash.bring_back, trash.discard):
            with pytest.raises(LookupError):
                await act(token)
        assert texts(await trash.entries(KEY)) == ["a"]

    async def test_a_missing_session_is_not_set_aside(self, trash: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await trash.set_aside(KEY)

    async def test_of_bringing_back_and_discarding_at_once_one_wins(self, trash: SessionStore) -> None:
        for _ in range(10):
            await trash.create(info_of(), [said("a")])
            token = (await trash.set_aside(KEY)).token
            back, gone = await asyncio.gather(trash.bring_back(token), trash.discard(token), return_exceptions=True)
            assert isinstance(back, LookupError) != isinstance(gone, LookupError)
            if not isinstance(back, LookupError):
                assert texts(await trash.entries(KEY)) == ["a"]
                await trash.delete(KEY)
            assert await trash.load(KEY) is None
            assert await trash.list_aside() == []
