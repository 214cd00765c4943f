"""What `create` and `load` promise."""

import asyncio
from typing import Any

import pytest

from agents_sessions.errors import SessionExistsError
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said, texts


class CreateContract(ContractPart):
    """What `create` and `load` promise."""

    async def test_a_created_session_is_loaded_with_its_facts(self, store: SessionStore) -> None:
        facts: dict[str, Any] = {"user_id": "u-1", "name": "Ordér", "mode": "plan", "metadata": {"a": [1, {"b": None}]}}
        created = await store.create(info_of(**facts))
        loaded = await store.load(KEY)
        assert loaded == created
        assert loaded is not None
        assert loaded.model_dump(include=set(facts)) == facts

    async def test_load_returns_none_for_a_missing_session(self, store: SessionStore) -> None:
        assert await store.load(KEY) is None

    async def test_an_existing_session_is_not_created_again(self, store: SessionStore) -> None:
        await store.create(info_of(name="first"), [said("kept")])
        with pytest.raises(SessionExistsError):
            await store.create(info_of(name="second"))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.name == "first"
        assert texts(await store.entries(KEY)) == ["kept"]

    async def test_of_many_creators_one_succeeds(self, store: SessionStore) -> None:
        tries = [store.create(info_of(name=str(number))) for number in range(20)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(outcome, SessionInfo) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, SessionExistsError) for outcome in outcomes) == 19

    async def test_a_session_is_created_with_its_first_entries(self, store: SessionStore) -> None:
        created = await store.create(info_of(), [said("a"), said("b")])
        assert (created.seq, created.context.user_messages) == (2, 2)
        assert texts(await store.entries(KEY)) == ["a", "b"]

    async def test_unknown_facts_are_kept(self, store: SessionStore) -> None:
        await store.create(info_of(labels=["a", {"b": 1}]))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.model_extra == {"labels": ["a", {"b": 1}]}
