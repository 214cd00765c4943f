"""What an id may be."""

import pytest

from agents_sessions.errors import SessionIdError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.bounds import PATIENCE
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import HOSTILE_IDS, info_of, said, texts


class IdContract(ContractPart):
    """What an id may be."""

    @pytest.mark.parametrize("number", range(len(HOSTILE_IDS)))
    async def test_a_hostile_id_is_an_id_like_any_other(self, store: SessionStore, number: int) -> None:
        hostile = HOSTILE_IDS[number]
        keys = [SessionKey("support", hostile), SessionKey(hostile, "order"), SessionKey(hostile, hostile)]
        for key in keys:
            await store.create(info_of(key), [said(f"{keys.index(key)}")])
            await store.write_sidecar(key, "checkpoints/a.json", str(keys.index(key)).encode())
        for place, key in enumerate(keys):
            await store.append(key, [said("more")])
            assert texts(await store.entries(key)) == [str(place), "more"]
            assert await store.read_sidecar(key, "checkpoints/a.json") == str(place).encode()
            async with store.turn_lock(key, timeout=PATIENCE):
                pass
        assert {info.key async for info in store.scan()} == set(keys)
        assert set(await store.find(hostile)) == {keys[0], keys[2]}
        for key in keys:
            await store.delete(key)

    @pytest.mark.parametrize("pair", [("Abc", "abc"), ("a/b", "a%2Fb"), ("x", "x.json"), ("é", "e\u0301"), ("x", "x.")])
    async def test_two_ids_are_two_sessions(self, store: SessionStore, pair: tuple[str, str]) -> None:
        keys = [SessionKey("support", session_id) for session_id in pair]
        for key in keys:
            await store.create(info_of(key), [said(key.session_id)])
            await store.write_sidecar(key, "a.json", key.session_id.encode())
        for key in keys:
            assert texts(await store.entries(key)) == [key.session_id]
            assert await store.read_sidecar(key, "a.json") == key.session_id.encode()

    @pytest.mark.parametrize("bad", ["", "nul\0nul", "\ud83d\ude00"])
    async def test_an_invalid_id_is_refused(self, store: SessionStore, bad: str) -> None:
        for key in (SessionKey("support", bad), SessionKey(bad, "order")):
            with pytest.raises(SessionIdError):
                await store.create(info_of(key))
        assert [info async for info in store.scan()] == []
