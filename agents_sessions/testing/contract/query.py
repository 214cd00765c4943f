"""What `query` and `count` promise."""

from datetime import timedelta
from typing import Any

import pytest

from agents_sessions.errors import InvalidValueError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import parse_time, timestamp
from agents_sessions.model.query import SessionQuery
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import info_of, said

DAY = parse_time("2026-11-20T00:00:00.000Z")
HOUR = timedelta(hours=1)


async def fill(store: SessionStore) -> None:
    """Make six sessions, each an hour younger than the one before, and last active in the opposite order."""
    for number, (agent, session, facts) in enumerate(_SESSIONS):
        info = info_of(SessionKey(agent, session), created_at=DAY + number * HOUR, **facts)
        await store.create(info, [{**said("x"), "at": timestamp(DAY + (10 - number) * HOUR)}])


_SESSIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("a", "1", {"user_id": "ann", "tags": ("red", "blue"), "metadata": {"city": "Oslo", "n": 1}}),
    ("a", "2", {"user_id": "bob", "status": "closed", "name": "Zebra"}),
    ("a", "3", {"mode": "plan", "working_dir": "/src", "pinned": True, "tags": ("red",)}),
    ("b", "1", {"session_type": "scheduled", "parent_id": "2", "name": "apple"}),
    ("b", "2", {"metadata": {"city": "Oslo", "n": 2}}),
    ("b", "4", {"metadata": {"city": None}}),
]


_LIVES: dict[str, dict[str, Any]] = {
    "1": {"ttl": 60},
    "2": {},
    "3": {"ttl": 60, "refreshed_at": DAY + timedelta(seconds=1)},
    "4": {"ttl": 10.0**9, "refreshed_at": None},
}
"""Sessions whose last activity was on a day of the past, and how long they live."""


class QueryContract(ContractPart):
    """What `query` and `count` promise."""

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({}, "a1 a2 a3 b1 b2 b4"),
            ({"sort": "created"}, "b4 b2 b1 a3 a2 a1"),
            ({"sort": "id"}, "a1 b1 a2 b2 a3 b4"),
            ({"sort": "name", "agent_id": "a"}, "a1 a3 a2"),
            ({"agent_id": "b"}, "b1 b2 b4"),
            ({"agent_id": "nobody"}, ""),
            ({"user_id": "ann"}, "a1"),
            ({"status": "closed"}, "a2"),
            ({"mode": "plan"}, "a3"),
            ({"session_type": "scheduled"}, "b1"),
            ({"tags": ("red",)}, "a1 a3"),
            ({"tags": ("red", "blue")}, "a1"),
            ({"metadata": {"city": "Oslo"}}, "a1 b2"),
            ({"metadata": {"city": "Oslo", "n": 2}}, "b2"),
            ({"metadata": {"city": None}}, "b4"),
            ({"metadata": {"n": 1.0}}, "a1"),
            ({"id_prefix": "1"}, "a1 b1"),
            ({"id_prefix": "12"}, ""),
            ({"working_dir": "/src"}, "a3"),
            ({"parent_id": "2"}, "b1"),
            ({"name": "Zebra"}, "a2"),
            ({"pinned": True}, "a3"),
            ({"created_after": DAY + HOUR, "created_before": DAY + 3 * HOUR}, "a2 a3"),
            ({"active_after": DAY + 9 * HOUR}, "a1 a2"),
            ({"active_before": DAY + 6 * HOUR}, "b4"),
        ],
    )
    async def test_a_query_finds_what_is_asked_for_in_its_order(
        self, store: SessionStore, asked: dict[str, Any], found: str
    ) -> None:
        await fill(store)
        query = SessionQuery(**asked)
        page = await store.query(query)
        assert [info.agent_id + info.id for info in page] == found.split()
        assert page.next_cursor is None
        assert await store.count(query) == len(page)

    @pytest.mark.parametrize("sort", ["last_active", "created", "updated", "name", "id"])
    async def test_pages_hold_every_session_once(self, store: SessionStore, sort: Any) -> None:
        await fill(store)
        seen, cursor = [], None
        for _ in range(3):
            page = await store.query(SessionQuery(sort=sort, limit=2, cursor=cursor))
            seen += [info.key for info in page]
            cursor = page.next_cursor
        assert cursor is None
        assert seen == [info.key for info in await store.query(SessionQuery(sort=sort))]
        assert len(set(seen)) == 6

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"expired": None}, "a1 a2 a3 a4"),
            ({"expired": True}, "a1 a3"),
            ({"expired": False}, "a2 a4"),
            ({"expired": True, "default_ttl": 3600}, "a1 a2 a3"),
            ({"expired": False, "default_ttl": 10.0**9}, "a2 a4"),
        ],
    )
    async def test_what_has_expired_by_now_is_asked_for_or_left_out(
        self, store: SessionStore, asked: dict[str, Any], found: str
    ) -> None:
        for name, facts in _LIVES.items():
            info = info_of(SessionKey("a", name), created_at=DAY, updated_at=DAY, **facts)
            await store.create(info, [{**said("x"), "at": timestamp(DAY)}])
        query = SessionQuery(sort="id", **asked)
        assert [info.agent_id + info.id for info in await store.query(query)] == found.split()
        assert sorted([info.agent_id + info.id async for info in store.every(query)]) == found.split()
        assert await store.count(query) == len(found.split())

    async def test_a_session_that_becomes_active_comes_not_twice_and_hides_none(self, store: SessionStore) -> None:
        await fill(store)
        first = await store.query(SessionQuery(limit=3))
        await store.append(SessionKey("b", "4"), [said("new")])
        await store.append(SessionKey("a", "2"), [said("new")])
        second = await store.query(SessionQuery(limit=3, cursor=first.next_cursor))
        assert [info.agent_id + info.id for info in [*first, *second]] == ["a1", "a2", "a3", "b1", "b2"]

    async def test_a_cursor_of_another_question_is_refused(self, store: SessionStore) -> None:
        await fill(store)
        page = await store.query(SessionQuery(limit=2))
        with pytest.raises(InvalidValueError, match="another question"):
            SessionQuery(limit=2, status="active", cursor=page.next_cursor)
        with pytest.raises(InvalidValueError, match="next_cursor"):
            SessionQuery(cursor="nonsense")
        assert len(await store.query(SessionQuery(limit=3, cursor=page.next_cursor))) == 3

    @pytest.mark.parametrize(
        "asked",
        [
            {"limit": 0},
            {"limit": -1},
            {"limit": True},
            {"limit": 1001},
            {"sort": "size"},
            {"status": "asleep"},
            {"session_type": "robot"},
            {"tags": "red"},
            {"metadata": {1: "x"}},
            {"metadata": {"x": float("nan")}},
            {"user_id": 5},
            {"pinned": "yes"},
            {"expired": 1},
            {"default_ttl": 0},
            {"created_after": "2026-11-20"},
            {"active_before": DAY.replace(tzinfo=None)},
        ],
    )
    def test_a_question_that_no_session_can_answer_is_refused(self, asked: dict[str, Any]) -> None:
        with pytest.raises(InvalidValueError, match=next(iter(asked))):
            SessionQuery(**asked)
