"""When a session was created and changed."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.entries import now, timestamp
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said


class TimeContract(ContractPart):
    """When a session was created and changed."""

    async def test_a_clock_that_was_ahead_once_dates_nothing_that_comes_later(self, store: SessionStore) -> None:
        ahead = now() + timedelta(hours=2)
        await store.create(info_of(updated_at=ahead))
        appended = await store.append(KEY, [said("a")])
        assert appended.updated_at < ahead
        assert appended.entries[0]["at"] == (await store.entries(KEY))[0]["at"] < timestamp(ahead)
        rewritten = await store.rewrite(KEY, lambda history: history.with_entries([*history.entries, said("b")]))
        assert rewritten.updated_at < ahead
        assert (await store.entries(KEY))[1]["at"] < timestamp(ahead)

    async def test_a_change_moves_updated_at(self, store: SessionStore) -> None:
        past = now() - timedelta(days=1)
        await store.create(info_of(updated_at=past, created_at=past))
        assert (await store.append(KEY, [said("a")])).updated_at > past

    async def test_the_last_activity_is_the_newest_entry_and_no_change_of_a_fact(self, store: SessionStore) -> None:
        past = now() - timedelta(days=1)
        await store.create(info_of(created_at=past, updated_at=past), [{**said("a"), "at": timestamp(past)}])
        renamed = await store.rewrite(KEY, lambda history: history.with_facts(name="new"))
        assert renamed.last_active_at == past < renamed.updated_at
        appended = await store.append(KEY, [said("b")])
        assert (await store.existing(KEY)).last_active_at == appended.updated_at

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(2026, 11, 20, 21, 28, 0, 123456, UTC),
            datetime(2026, 11, 20, 21, 28, 0, 999, timezone(timedelta(hours=-9, minutes=-30))),
            datetime.min.replace(tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC) - timedelta(days=1),
        ],
    )
    async def test_a_time_of_any_zone_comes_back_in_utc_and_milliseconds(
        self, store: SessionStore, moment: datetime
    ) -> None:
        created = await store.create(info_of(created_at=moment, updated_at=moment))
        assert created == await store.load(KEY)
        for stored in (created.created_at, created.updated_at):
            assert timedelta(0) <= moment - stored < timedelta(milliseconds=1)
            assert (stored.utcoffset(), stored.microsecond % 1000) == (timedelta(0), 0)

    @pytest.mark.parametrize("name", ["created_at", "updated_at"])
    @pytest.mark.parametrize(
        "moment",
        [
            datetime(2026, 11, 20),  # noqa: DTZ001
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        ],
    )
    async def test_a_time_that_utc_cannot_express_is_refused(
        self, store: SessionStore, name: str, moment: datetime
    ) -> None:
        facts: dict[str, Any] = {name: moment}
        with pytest.raises(ValueError, match=name):
            info_of(**facts)
        spoiled = info_of().model_copy(update=facts)  # which validates nothing
        with pytest.raises(InvalidValueError, match=name):
            await store.create(spoiled)

    async def test_a_string_is_not_taken_for_a_time(self, store: SessionStore) -> None:
        spoiled = info_of().model_copy(update={"created_at": "2026-01-01T00:00:00.000Z"})
        with pytest.raises(InvalidValueError, match="created_at"):
            await store.create(spoiled)
        assert await store.load(KEY) is None
