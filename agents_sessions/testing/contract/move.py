"""What `move` promises."""

import pytest

from agents_sessions.errors import SessionExistsError, SessionIdError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts

TO = SessionKey("sales", KEY.session_id)


class MoveContract(ContractPart):
    """What `move` promises."""

    async def test_a_moved_session_is_the_other_agents_whole(self, store: SessionStore) -> None:
        await store.create(info_of(name="Order", metadata={"a": 1}), [said("a"), said("b")])
        await store.write_sidecar(KEY, "run_state.json", b"{}")
        await store.write_sidecar(KEY, "checkpoints/1", b"\x00")
        before, entries = await store.load(KEY), await store.entries(KEY)
        assert before is not None
        after = await store.move(KEY, "sales")
        assert after == await store.load(TO)
        assert (after.key, after.name, after.metadata) == (TO, "Order", {"a": 1})
        assert (after.seq, after.context, after.created_at) == (before.seq, before.context, before.created_at)
        assert [(each["seq"], each["at"], each["item"]) for each in await store.entries(TO)] == [
            (each["seq"], each["at"], each["item"]) for each in entries
        ]
        assert [await store.read_sidecar(TO, name) for name in await store.list_sidecars(TO)] == [b"\x00", b"{}"]

    async def test_nothing_is_left_of_a_moved_session(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.write_sidecar(KEY, "a.json", b"old")
        await store.move(KEY, "sales")
        assert await store.load(KEY) is None
        assert await store.find(KEY.session_id) == [TO]
        await store.create(info_of(), [said("new")])
        assert await store.list_sidecars(KEY) == []

    async def test_a_moved_session_goes_on_with_its_numbers_and_moves_back(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.move(KEY, "sales")
        assert (await store.append(TO, [said("b")])).seq == 2
        assert (await store.move(TO, KEY.agent_id)).seq == 2
        assert texts(await store.entries(KEY)) == ["a", "b"]

    async def test_a_session_of_the_same_id_is_not_replaced(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("one")])
        await store.create(info_of(TO), [said("other")])
        with pytest.raises(SessionExistsError):
            await store.move(KEY, "sales")
        assert texts(await store.entries(KEY)) == ["one"]
        assert texts(await store.entries(TO)) == ["other"]

    async def test_what_cannot_be_moved_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.move(KEY, "sales")
        await store.create(info_of(), [said("a")])
        with pytest.raises(SessionIdError):
            await store.move(KEY, "")
        assert texts(await store.entries(KEY)) == ["a"]
