"""What `scan` and `find` promise."""

import pytest

from agents_sessions.errors import SessionIdError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import info_of, said


class ScanContract(ContractPart):
    """What `scan` and `find` promise."""

    async def test_scan_yields_every_session_once(self, store: SessionStore) -> None:
        keys = [SessionKey(agent, session) for agent in ("a", "b") for session in ("1", "2", "3")]
        for key in reversed(keys):
            await store.create(info_of(key), [said("x")])
        found = [info async for info in store.scan()]
        assert sorted(info.key for info in found) == keys
        assert [info.context.items for info in found] == [1] * 6

    async def test_scan_of_an_agent_yields_its_sessions_only(self, store: SessionStore) -> None:
        keys = [SessionKey(agent, session) for agent in ("a", "ab", "b") for session in ("1", "2")]
        for key in keys:
            await store.create(info_of(key))
        assert sorted([info.key async for info in store.scan("a")]) == keys[:2]

    async def test_scan_keeps_its_order_while_no_session_comes_or_goes(self, store: SessionStore) -> None:
        ids = ["é", "B", "a b", "a", "b-c", "b", "b0", "x" * 300, "xy"]
        for agent in ("Zoë", "a b", "a-b"):
            for session_id in ids:
                await store.create(info_of(SessionKey(agent, session_id)))
        first = [info.key async for info in store.scan()]
        await store.append(first[-1], [said("more")])
        assert [info.key async for info in store.scan()] == first
        for agent in ("Zoë", "a b", "a-b"):
            assert [info.key async for info in store.scan(agent)] == [key for key in first if key.agent_id == agent]

    async def test_scan_and_find_refuse_an_invalid_id(self, store: SessionStore) -> None:
        with pytest.raises(SessionIdError):
            await anext(aiter(store.scan("")))
        with pytest.raises(SessionIdError):
            await store.find("")

    async def test_scan_of_an_unknown_agent_yields_nothing(self, store: SessionStore) -> None:
        await store.create(info_of())
        assert [info async for info in store.scan("nobody")] == []

    async def test_find_returns_a_key_for_each_agent_that_has_the_id(self, store: SessionStore) -> None:
        for agent, session in (("a", "1"), ("b", "1"), ("b", "2")):
            await store.create(info_of(SessionKey(agent, session)))
        assert set(await store.find("1")) == {("a", "1"), ("b", "1")}
        assert await store.find("3") == []
