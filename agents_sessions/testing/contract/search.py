"""What `search` promises."""

from typing import Any

import pytest

from agents_sessions.errors import InvalidValueError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, item_entry, parse_time, timestamp
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import MAX_TYPED, SearchHit, SearchQuery
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said

TEXTS: list[str] = [
    "Please refund order 42, the blue one.",
    "The refund was sent. A second refund follows.",
    "Où est l'hôtel Ångström, Straße 5?",
    "订单42已经退款",
    "東京タワーはどこですか",
    "환불해 주세요",
    "ขอเงินคืน",
    'He said "never again" AND left.',
    "a db of go code; user@example.com",
]

CALL = item_entry({"type": "function_call", "call_id": "c1", "name": "find_invoice", "arguments": '{"number":"X77"}'})
OUTPUT = item_entry({"type": "function_call_output", "call_id": "c1", "output": "invoice paid in Reykjavik"})


def answered(text: str) -> Entry:
    """Return an answer of an assistant as a new entry."""
    part: Item = {"type": "output_text", "text": text, "annotations": []}
    return item_entry({"type": "message", "role": "assistant", "content": [part]}, agent="support")


async def search(store: SessionStore, text: str, **asked: Any) -> list[SearchHit]:
    """Return all that is found by one question, at once."""
    filters = asked.pop("sessions", {})
    return list(await store.search(SearchQuery(text=text, sessions=SessionQuery(**filters), limit=1000, **asked)))


async def found(store: SessionStore, text: str, **asked: Any) -> set[int | None]:
    """Return the numbers of the entries in which something is found."""
    return {hit.seq for hit in await search(store, text, **asked)}


class SearchContract(ContractPart):
    """What `search` promises."""

    @pytest.mark.parametrize(
        ("text", "numbers"),
        [
            ("refund", {1, 2}),
            ("REFUND sent", {2}),
            ("sent refund", {2}),
            ("refund nowhere", set()),
            ('"refund order"', {1}),
            ('"order refund"', set()),
            ("ref", {1, 2}),
            ("ref order", set()),
            ("refund ord", {1}),
            ('"refund ord"', set()),
            ("hotel", {3}),
            ("HÔTEL", {3}),
            ("angstrom strasse", {3}),
            ("订", {4}),
            ("订单", {4}),
            ("单订", set()),
            ("订单42", {4}),
            ("已经退款", {4}),
            ("东", set()),
            ("東", {5}),
            ("京タワ", {5}),
            ("タワー", {5}),
            ("환", {6}),
            ("환불", {6}),
            ("불해 주", {6}),
            ("เงิน", {7}),
            ("db", {9}),
            ("go", {9}),
            ("user@example", {9}),
            ("AND", {8}),
            ("NOT refund", set()),
            ("refund OR db", set()),
            ('"never again', {8}),
            ("again*", {8}),
            ("-refund", {1, 2}),
            ("name:refund", set()),
            ("(refund", {1, 2}),
            ("^refund", {1, 2}),
            ('""" refund', {1, 2}),
            ("?!", set()),
            ("", set()),
        ],
    )
    async def test_a_search_finds_words_phrases_and_beginnings_in_any_script(
        self, store: SessionStore, text: str, numbers: set[int]
    ) -> None:
        await store.create(info_of(), [said(each) for each in TEXTS])
        assert await found(store, text) == numbers

    async def test_a_hit_says_where_it_is_and_shows_what_was_found(self, store: SessionStore) -> None:
        at = "2026-11-20T10:00:00.000Z"
        text = "Well. " * 50 + "Your order was shipped,\nand the órder is paid. " + "Bye. " * 50
        await store.create(info_of(name="About an order"), [said("hi"), {**answered(text), "at": at}])
        name, hit = await search(store, "order")
        assert (hit.key, hit.session_id, hit.session.name) == (KEY, KEY.session_id, "About an order")
        assert (hit.kind, hit.seq, hit.role, hit.agent, hit.at) == (
            "message",
            2,
            "assistant",
            "support",
            parse_time(at),
        )
        assert [hit.snippet[mark.start : mark.end] for mark in hit.marks] == ["order", "órder"]
        assert "shipped, and" in hit.snippet
        assert len(hit.snippet) < 200
        assert (name.kind, name.seq, name.role, name.snippet) == ("name", None, None, "About an order")
        assert [name.snippet[mark.start : mark.end] for mark in name.marks] == ["order"]

    async def test_the_best_come_first_and_of_equals_the_newest(self, store: SessionStore) -> None:
        texts = ["tea", "tea", "tea and tea and tea", "tea " + "and many other words " * 20]
        days = [f"2026-11-{day}T00:00:00.000Z" for day in (10, 11, 12, 13)]
        entries: list[Entry] = [{**said(text), "at": day} for text, day in zip(texts, days, strict=True)]
        await store.create(info_of(name="Tea?"), entries)
        assert [hit.seq for hit in await search(store, "tea")] == [None, 3, 2, 1, 4]

    async def test_what_tools_were_asked_and_gave_is_found_if_asked_for(self, store: SessionStore) -> None:
        await store.create(info_of(name="x77 in Reykjavik"), [said("hello"), CALL, OUTPUT])
        assert await found(store, "X77") == {None}
        assert await found(store, "X77", kinds=("tool_call",)) == {2}
        assert await found(store, "find_invoice", kinds=("tool_call", "tool_output")) == {2}
        assert await found(store, "reykjavik", kinds=("name", "tool_output")) == {None, 3}
        assert await found(store, "function_call c1", kinds=("tool_call", "tool_output")) == set()

    async def test_only_sessions_that_are_asked_for_are_searched(self, store: SessionStore) -> None:
        for agent, session, user in (("a", "1", "ann"), ("a", "2", "bob"), ("b", "3", "ann")):
            await store.create(info_of(SessionKey(agent, session), user_id=user, tags=(f"t{session}",)), [said("tea")])
        for filters, ids in (
            ({}, {"1", "2", "3"}),
            ({"user_id": "ann"}, {"1", "3"}),
            ({"user_id": "ann", "agent_id": "b"}, {"3"}),
            ({"tags": ("t2",)}, {"2"}),
            ({"user_id": "eve"}, set()),
        ):
            assert {hit.session_id for hit in await search(store, "tea", sessions=filters)} == ids

    async def test_a_session_that_is_not_indexed_is_never_found_by_its_text(self, store: SessionStore) -> None:
        await store.create(info_of(name="secret name", indexed=False), [said("secret"), CALL])
        await store.append(KEY, [said("another secret")])
        assert await search(store, "secret", kinds=("name", "message", "tool_call")) == []
        assert await store.count(SessionQuery()) == 1
        await store.rewrite(KEY, lambda history: history.with_facts(indexed=True))
        assert await found(store, "secret") == {None, 1, 3}
        await store.rewrite(KEY, lambda history: history.with_facts(indexed=False))
        assert await search(store, "secret") == []

    async def test_a_search_sees_what_has_changed_since_the_last_one(self, store: SessionStore) -> None:
        await store.create(info_of(name="old name"), [said("first words")])
        assert await found(store, "first") == {1}
        await store.append(KEY, [said("second words")])
        assert await found(store, "words") == {1, 2}
        await store.rewrite(KEY, lambda history: history.with_entries(history.entries[1:]).with_facts(name="new name"))
        assert await found(store, "words") == {2}
        assert (await found(store, "old"), await found(store, "new")) == (set(), {None})
        await store.purge()
        assert await found(store, "words") == {2}
        await store.delete(KEY)
        assert await search(store, "words") == []
        await store.purge()

    async def test_pages_hold_every_hit_once_while_others_come(self, store: SessionStore) -> None:
        for session in ("1", "2", "3"):
            entries = [said(f"tea {'and more ' * (number % 3)}") for number in range(4)]
            await store.create(info_of(SessionKey("a", session)), entries)
        seen, cursor = [], None
        for number in range(10):
            page = await store.search(SearchQuery(text="tea", limit=5, cursor=cursor))
            seen += [(hit.session_id, hit.seq) for hit in page]
            cursor = page.next_cursor
            if cursor is None:
                break
            new = info_of(SessionKey("a", f"new {number}"))
            await store.create(new, [{**said("tea tea tea"), "at": timestamp()}])
        old = [place for place in seen if not place[0].startswith("new")]
        assert len(set(seen)) == len(seen)
        assert sorted(old) == [(session, seq) for session in ("1", "2", "3") for seq in (1, 2, 3, 4)]

    async def test_a_cursor_of_another_search_is_refused(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("tea")] * 3)
        page = await store.search(SearchQuery(text="tea", limit=1))
        sessions = await store.query(SessionQuery())
        assert sessions.next_cursor is None
        with pytest.raises(InvalidValueError, match="another question"):
            SearchQuery(text="coffee", cursor=page.next_cursor)
        with pytest.raises(InvalidValueError, match="another question"):
            SearchQuery(text="tea", sessions=SessionQuery(user_id="ann"), cursor=page.next_cursor)
        with pytest.raises(InvalidValueError, match="next_cursor"):
            SearchQuery(text="tea", cursor="nonsense")
        assert len(await store.search(SearchQuery(text="tea", limit=3, cursor=page.next_cursor))) == 2

    async def test_texts_that_no_text_should_hold_are_found_all_the_same(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("half \ud800 a\0character"), said("x" * 70_000 + " end")])
        assert await found(store, "half character") == {1}
        assert await found(store, "end") == {2}

    @pytest.mark.parametrize(
        "asked",
        [
            {"text": None},
            {"text": "x" * (MAX_TYPED + 1)},
            {"text": "x", "kinds": ()},
            {"text": "x", "kinds": "name"},
            {"text": "x", "kinds": ("letter",)},
            {"text": "x", "limit": 0},
            {"text": "x", "cursor": 5},
        ],
    )
    def test_a_search_that_has_no_answer_is_refused(self, asked: dict[str, Any]) -> None:
        with pytest.raises(InvalidValueError, match=list(asked)[-1]):
            SearchQuery(**asked)
