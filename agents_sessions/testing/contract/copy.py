"""What `create` promises of a history that comes from elsewhere, and `copy`."""

from collections.abc import AsyncIterator

import pytest

from agents_sessions.errors import InvalidItemError, SessionExistsError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, item_entry
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts

FORK = SessionKey("support", "fork")
AT = "2026-01-02T03:04:05.678Z"
SIDECARS = {"run_state.json": b"{}", "checkpoints/1.json": b"\x00\xff"}


async def stream(*entries: Entry) -> AsyncIterator[Entry]:
    """Yield some entries as they would come from another store."""
    for entry in entries:
        yield entry


class CopyContract(ContractPart):
    """What `create` promises of a history that comes from elsewhere, and `copy`."""

    async def test_a_stream_keeps_its_numbers_and_times(self, store: SessionStore) -> None:
        given: list[Entry] = [{**said("a"), "seq": 3, "at": AT}, {**said("b"), "seq": 7}, said("c")]
        created = await store.create(info_of(name="moved"), stream(*given))
        entries = await store.entries(KEY)
        assert [entry["seq"] for entry in entries] == [3, 7, 8]
        assert entries[0]["at"] == AT
        assert (created.seq, created.name, created.context.user_messages) == (8, "moved", 3)
        assert await store.load(KEY) == created

    async def test_numbers_that_were_given_before_are_not_given_again(self, store: SessionStore) -> None:
        given: Entry = {**said("a"), "seq": 2}
        streamed = await store.create(info_of().model_copy(update={"seq": 9}), stream(given))
        listed = await store.create(info_of(FORK).model_copy(update={"seq": 9}), [given])
        assert (streamed.seq, listed.seq) == (9, 9)
        for key in (KEY, FORK):
            assert (await store.append(key, [said("b")])).seq == 10

    async def test_a_session_is_created_with_its_sidecars(self, store: SessionStore) -> None:
        await store.create(info_of(), stream(said("a")), sidecars=SIDECARS)
        assert await store.list_sidecars(KEY) == sorted(SIDECARS)
        assert {name: await store.read_sidecar(KEY, name) for name in SIDECARS} == SIDECARS
        with pytest.raises(SessionExistsError):
            await store.create(info_of(), [], sidecars={"run_state.json": b"other"})
        assert await store.read_sidecar(KEY, "run_state.json") == b"{}"
        assert texts(await store.entries(KEY)) == ["a"]

    async def test_a_stream_that_breaks_off_leaves_nothing(self, store: SessionStore) -> None:
        async def broken() -> AsyncIterator[Entry]:
            yield said("a")
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            await store.create(info_of(), broken(), sidecars=SIDECARS)
        with pytest.raises(InvalidItemError):
            await store.create(info_of(), stream(said("a"), item_entry({"x": float("nan")})))
        assert await store.load(KEY) is None
        assert await store.list_sidecars(KEY) == []
        await store.create(info_of(), [said("b")])
        assert texts(await store.entries(KEY)) == ["b"]

    async def test_a_copy_has_the_entries_before_a_number(self, store: SessionStore) -> None:
        await store.create(info_of(), [said(str(number)) for number in range(1, 8)])
        await store.write_sidecar(KEY, "a.json", b"1")
        copied = await store.copy(KEY, info_of(FORK, name="fork"), before=5)
        parts = ("seq", "at", "item")
        one, other = await store.entries(KEY, before=5), await store.entries(FORK)
        assert [[entry[part] for part in parts] for entry in other] == [  # type: ignore[literal-required]
            [entry[part] for part in parts]  # type: ignore[literal-required]
            for entry in one
        ]
        assert (copied.name, copied.seq, copied.context.items) == ("fork", 4, 4)
        assert await store.list_sidecars(FORK) == []
        await store.append(FORK, [said("other")])
        assert len(await store.entries(KEY)) == 7

    async def test_a_copy_of_a_missing_session_or_over_another_one_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.copy(KEY, info_of(FORK))
        assert await store.load(FORK) is None
        await store.create(info_of(), [said("a")])
        await store.create(info_of(FORK), [said("mine")])
        with pytest.raises(SessionExistsError):
            await store.copy(KEY, info_of(FORK))
        assert texts(await store.entries(FORK)) == ["mine"]
