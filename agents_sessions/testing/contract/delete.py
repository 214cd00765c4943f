"""What `delete` promises."""

import pytest

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class DeleteContract(ContractPart):
    """What `delete` promises."""

    async def test_a_deleted_session_is_gone(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.delete(KEY)
        assert await store.load(KEY) is None
        assert [info async for info in store.scan()] == []
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("b")])

    async def test_deleting_a_missing_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.delete(KEY)

    async def test_a_session_that_follows_a_deleted_one_inherits_nothing(self, store: SessionStore) -> None:
        await store.create(info_of(name="old"), [said("a"), said("b")])
        await store.write_sidecar(KEY, "run_state.json", b"old")
        await store.delete(KEY)
        created = await store.create(info_of())
        assert (created.seq, created.name) == (0, None)
        assert await store.entries(KEY) == []
        assert await store.list_sidecars(KEY) == []

    async def test_a_deletion_leaves_other_sessions_alone(self, store: SessionStore) -> None:
        others = [KEY._replace(session_id=f"{KEY.session_id}{more}") for more in ("0", ".json", ".json.torn-01234567")]
        for key in (KEY, *others):
            await store.create(info_of(key), [said(key.session_id)])
            await store.write_sidecar(key, "a.json", b"{}")
        await store.delete(KEY)
        for key in others:
            assert texts(await store.entries(key)) == [key.session_id]
            assert await store.list_sidecars(key) == ["a.json"]
