"""What becomes of the facts of a session: name, status, metadata."""

import json
from typing import Any

import pytest

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import MAX_DEPTH
from agents_sessions.stores.base import History, SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, nested, said


class FactContract(ContractPart):
    """What becomes of the facts of a session: name, status, metadata."""

    @pytest.mark.parametrize(
        "facts",
        [
            {"metadata": {"x": float("nan")}},
            {"metadata": {"x": b"bytes"}},
            {"metadata": {"x": {1}}},
            {"metadata": {1: "x"}},
            {"metadata": nested(MAX_DEPTH + 5)},
            {"metadata": None},
            {"status": "asleep"},
            {"name": 5},
            {"labels": {"a", "b"}},
            {"labels": float("inf")},
            {"format": "theirs"},
            {"history": []},
            {"seal": {}},
        ],
    )
    async def test_facts_that_cannot_be_stored_are_refused(self, store: SessionStore, facts: dict[str, Any]) -> None:
        # As a caller does who goes round the validation of the model.
        spoiled = SessionInfo.model_construct(**{**dict(info_of()), **facts})
        with pytest.raises(InvalidValueError):
            await store.create(spoiled)
        assert await store.load(KEY) is None
        before = await store.create(info_of(), [said("a")])
        with pytest.raises(InvalidValueError):
            await store.rewrite(KEY, lambda history: History(spoiled, history.entries))
        assert await store.load(KEY) == before

    async def test_lossless_facts_come_back_as_they_were(self, store: SessionStore) -> None:
        metadata = {"\ud800": "\udfff\u2028", "big": 2**70, "float": 1e22, "z": 1, "a": [True, 1, 1.0, None]}
        await store.create(info_of(metadata=metadata, name="\ud800", user_id="日本"))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert json.dumps(loaded.metadata) == json.dumps(metadata)
        assert (loaded.name, loaded.user_id) == ("\ud800", "日本")
