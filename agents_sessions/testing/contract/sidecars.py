"""What the small documents beside a session promise."""

import pytest

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said


class SidecarContract(ContractPart):
    """What the small documents beside a session promise."""

    async def test_a_sidecar_comes_back_as_it_was(self, store: SessionStore) -> None:
        await store.create(info_of())
        for data in (b"", b"\0\xff" * 10_000, b"{}"):
            await store.write_sidecar(KEY, "run_state.json", data)
            assert await store.read_sidecar(KEY, "run_state.json") == data

    async def test_sidecars_are_listed_by_the_names_they_were_given(self, store: SessionStore) -> None:
        given = ["checkpoints/before refund.json", "checkpoints/Zoë", "checkpoints/..", ".hidden", "run_state.json"]
        await store.create(info_of())
        for name in given:
            await store.write_sidecar(KEY, name, name.encode())
        listed = await store.list_sidecars(KEY)
        assert listed == sorted(given)
        assert [await store.read_sidecar(KEY, name) for name in listed] == [name.encode() for name in listed]

    @pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "a/b/c", "nul\0nul", "\ud83d\ude00", "x" * 61])
    async def test_an_invalid_sidecar_name_is_refused(self, store: SessionStore, name: str) -> None:
        await store.create(info_of())
        for refused in (
            store.write_sidecar(KEY, name, b"1"),
            store.read_sidecar(KEY, name),
            store.delete_sidecar(KEY, name),
        ):
            with pytest.raises(ValueError, match="sidecar"):
                await refused
        assert await store.list_sidecars(KEY) == []

    async def test_the_longest_name_of_a_sidecar_comes_back(self, store: SessionStore) -> None:
        name = f"{'x' * 60}/{'é' * 30}"
        await store.create(info_of())
        await store.write_sidecar(KEY, name, b"1")
        assert await store.list_sidecars(KEY) == [name]
        assert await store.read_sidecar(KEY, name) == b"1"

    async def test_a_sidecar_is_deleted_once(self, store: SessionStore) -> None:
        await store.create(info_of())
        await store.write_sidecar(KEY, "a.json", b"1")
        assert await store.delete_sidecar(KEY, "a.json") is True
        assert await store.delete_sidecar(KEY, "a.json") is False
        assert await store.read_sidecar(KEY, "a.json") is None

    async def test_a_missing_session_has_no_sidecars(self, store: SessionStore) -> None:
        assert await store.read_sidecar(KEY, "a.json") is None
        assert await store.list_sidecars(KEY) == []
        assert await store.delete_sidecar(KEY, "a.json") is False

    async def test_a_sidecar_of_a_missing_session_is_not_written(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.write_sidecar(KEY, "a.json", b"1")
        await store.create(info_of())
        assert await store.list_sidecars(KEY) == []

    async def test_sidecars_survive_a_rewrite(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.write_sidecar(KEY, "a.json", b"1")
        await store.rewrite(KEY, lambda history: history.with_entries([]))
        assert await store.read_sidecar(KEY, "a.json") == b"1"
