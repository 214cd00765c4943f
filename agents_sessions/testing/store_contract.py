"""The contract of `agents_sessions.stores.base` as a test class.

A backend proves itself in a few lines::

    class TestMyStore(StoreContract):
        def make_store(self, folder):
            return MyStore(f"my://{folder}")

        def opener(self, store):
            return functools.partial(MyStore, store.url)

It needs pytest and nothing else. A test's name is the promise that it holds.
"""

# ruff: noqa: D102, S101 -- a test says in its name what it asserts

import asyncio
import functools
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any, ParamSpec, cast

import pytest

from agents_sessions.errors import (
    InvalidItemError,
    SessionBusyError,
    SessionConflictError,
    SessionExistsError,
    SessionIdError,
    SessionNotFoundError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, RequestRow, item_entry, now, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import MAX_DEPTH
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.base import Change, History, SessionStore

Opener = Callable[[], SessionStore]

KEY = SessionKey("support", "order-42")
HUGE = 10**30
PATIENCE = 60.0
"""Seconds after which something that should have come is taken for lost."""

HOSTILE_IDS = [
    "../x",
    "..",
    ".",
    ".hidden",
    "-rf",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "CON",
    "con.txt",
    "x.json",
    "x.json.torn-01234567",
    "trailing.",
    "with space",
    "new\nline",
    "%41",
    "~",
    "name:stream",
    "Zoë",
    "日本語",
    "\U0001f600",
    "\ud800",
    "e\u0301",
    "x" * 300,
    "ü" * 300,
    "*",
    "history",
]
"""Ids that have led a store out of its folder, into another session, or nowhere. All of them are allowed."""

LOSSLESS_ITEMS: list[Item] = [
    {},
    {"role": "user", "content": "Grüße, 日本語, \U0001f600"},
    {"text": "lone \ud800 and \udfff surrogates", "\udead": "in a key"},
    {"text": "line\u2028separator\u2029and\x85next\x00nul\x7f\r\n"},
    {"text": '"],"context":{}}\n],"context":{"items":9},"updated_at":"x","seal":{"crc":"00000000"}}\n'},
    {"big": 2**64, "bigger": -(10**3999), "byte": 255, "zero": 0},
    {"float": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308, "power": 1e22, "minus": -0.0, "whole": 1.0},
    {"yes": True, "no": False, "none": None, "one": 1},
    {"z": 1, "a": 2, "m": {"z": 1, "a": 2}, "": 3},
    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": [1, 2]}'},
    {"seq": 7, "crc": "00000000", "k": 2, "n": 3, "id": None, "history": [], "seal": {}},
]
"""Items that a careless encoder changes."""


def nested(levels: int) -> Item:
    """Return an item of so many levels."""
    value: Any = "core"
    for level in range(levels - 1):
        value = [value] if level % 2 else {"in": value}
    return {"in": value}


REFUSED_ITEMS: list[object] = [
    {"x": float("nan")},
    {"x": [float("inf")]},
    {"x": {"y": -float("inf")}},
    {"x": b"bytes"},
    {"x": {1, 2}},
    {"x": object()},
    {1: "x"},
    {"x": {None: 1}},
    {"\ud83d\ude00": 1, "\U0001f600": 2},
    {"x": 10**5000},
    nested(MAX_DEPTH + 1),
    nested(5000),
    "text",
    ["list"],
    None,
    7,
]
"""What JSON does not carry, or carries as something else."""


def said(text: str) -> Entry:
    """Return a user's message as a new entry."""
    return item_entry({"role": "user", "content": text})


def texts(entries: list[Entry]) -> list[object]:
    """Return what the messages of a history say."""
    return [entry["item"].get("content") for entry in entries if "item" in entry]


def info_of(key: SessionKey = KEY, **facts: Any) -> SessionInfo:
    """Return a new session of that key."""
    return SessionInfo(id=key.session_id, agent_id=key.agent_id, **facts)


_Given = ParamSpec("_Given")


def in_loop(test: Callable[_Given, Coroutine[Any, Any, None]]) -> Callable[_Given, None]:
    """Let a coroutine be a test without a plugin."""

    @functools.wraps(test)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def without_last(count: int) -> Change:
    """Return a change that removes the newest entries."""
    return lambda history: history.with_entries(history.entries[:-count])


class StoreContract:
    """Subclass it, name the subclass `Test…`, and override `make_store`; `opener` too if processes share the store."""

    def make_store(self, folder: Path) -> SessionStore:
        """Return an empty store. `folder` is an empty folder that is the test's own."""
        raise NotImplementedError

    def opener(self, store: SessionStore) -> Opener | None:
        """Return a picklable callable that opens the same data, here or in another process; None if none can."""
        del store
        return None

    @pytest.fixture
    def store(self, tmp_path: Path) -> SessionStore:
        return self.make_store(tmp_path)

    @pytest.fixture
    def open_again(self, store: SessionStore) -> Opener:
        opener = self.opener(store)
        if opener is None:
            pytest.skip("this store is not shared")
        return opener

    # --- create and load ---

    @in_loop
    async def test_a_created_session_is_loaded_with_its_facts(self, store: SessionStore) -> None:
        facts: dict[str, Any] = {"user_id": "u-1", "name": "Ordér", "mode": "plan", "metadata": {"a": [1, {"b": None}]}}
        created = await store.create(info_of(**facts))
        loaded = await store.load(KEY)
        assert loaded == created
        assert loaded is not None
        assert loaded.model_dump(include=set(facts)) == facts

    @in_loop
    async def test_a_session_that_was_never_created_is_none(self, store: SessionStore) -> None:
        assert await store.load(KEY) is None

    @in_loop
    async def test_an_existing_session_is_not_created_again(self, store: SessionStore) -> None:
        await store.create(info_of(name="first"), [said("kept")])
        with pytest.raises(SessionExistsError):
            await store.create(info_of(name="second"))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.name == "first"
        assert texts(await store.entries(KEY)) == ["kept"]

    @in_loop
    async def test_of_many_creators_one_succeeds(self, store: SessionStore) -> None:
        tries = [store.create(info_of(name=str(number))) for number in range(20)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(isinstance(outcome, SessionInfo) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, SessionExistsError) for outcome in outcomes) == 19

    @in_loop
    async def test_a_session_is_created_with_its_first_entries(self, store: SessionStore) -> None:
        created = await store.create(info_of(), [said("a"), said("b")])
        assert (created.seq, created.context.user_messages) == (2, 2)
        assert texts(await store.entries(KEY)) == ["a", "b"]

    @in_loop
    async def test_unknown_facts_are_kept(self, store: SessionStore) -> None:
        await store.create(info_of(tags=["a", {"b": 1}]))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.model_extra == {"tags": ["a", {"b": 1}]}

    # --- append ---

    @in_loop
    async def test_entries_come_back_in_the_order_of_their_appends(self, store: SessionStore) -> None:
        await store.create(info_of())
        for number in range(10):
            await store.append(KEY, [said(f"{number}a"), said(f"{number}b")])
        assert texts(await store.entries(KEY)) == [f"{number}{part}" for number in range(10) for part in "ab"]

    @in_loop
    async def test_sequence_numbers_grow_by_one(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("1")])
        await store.append(KEY, [said("2"), said("3")])
        totals = await store.append(KEY, [said("4")])
        assert [entry["seq"] for entry in await store.entries(KEY)] == [1, 2, 3, 4]
        assert totals.seq == 4

    @in_loop
    async def test_append_returns_the_totals_that_load_returns(self, store: SessionStore) -> None:
        await store.create(info_of())
        totals = await store.append(KEY, [said("a"), item_entry({"type": "function_call", "name": "f"})])
        loaded = await store.load(KEY)
        assert loaded is not None
        assert (loaded.seq, loaded.updated_at, loaded.context) == (totals.seq, totals.updated_at, totals.context)
        assert (loaded.context.items, loaded.context.user_messages, loaded.context.function_calls) == (2, 1, 1)

    @in_loop
    async def test_an_entry_keeps_its_envelope(self, store: SessionStore) -> None:
        await store.create(info_of())
        await store.append(KEY, [item_entry({"role": "user"}, agent="triage", turn="r-1")])
        (entry,) = await store.entries(KEY)
        assert (entry["agent"], entry["turn"], entry["item"]) == ("triage", "r-1", {"role": "user"})
        assert entry["at"].endswith("Z")

    @in_loop
    async def test_a_record_comes_back_as_it_was(self, store: SessionStore) -> None:
        await store.create(info_of())
        await store.append(KEY, [record_entry({"type": "handoff", "from": "a", "to": "b"})])
        (entry,) = await store.entries(KEY)
        assert entry["record"] == {"type": "handoff", "from": "a", "to": "b"}

    @in_loop
    async def test_an_append_of_nothing_changes_nothing(self, store: SessionStore) -> None:
        before = await store.create(info_of(), [said("a")])
        totals = await store.append(KEY, [])
        assert await store.load(KEY) == before
        assert totals.seq == 1

    @in_loop
    async def test_an_append_to_no_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("a")])
        assert await store.load(KEY) is None

    @in_loop
    async def test_an_append_at_the_expected_number_is_stored(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        assert (await store.append(KEY, [said("b")], expected_seq=1)).seq == 2

    @pytest.mark.parametrize("expected", [0, 1, 3, HUGE, -1])
    def test_an_append_at_another_number_is_refused(self, store: SessionStore, expected: int) -> None:
        async def scenario() -> None:
            await store.create(info_of(), [said("a"), said("b")])
            with pytest.raises(SessionConflictError) as caught:
                await store.append(KEY, [said("c")], expected_seq=expected)
            assert (caught.value.expected_seq, caught.value.actual_seq) == (expected, 2)
            assert texts(await store.entries(KEY)) == ["a", "b"]

        asyncio.run(scenario())

    @pytest.mark.parametrize("number", range(len(LOSSLESS_ITEMS)))
    def test_an_item_comes_back_as_it_was(self, store: SessionStore, number: int) -> None:
        async def scenario() -> None:
            item = LOSSLESS_ITEMS[number]
            await store.create(info_of(), [item_entry(item)])
            await store.append(KEY, [item_entry(item), item_entry(item)])
            await store.append(KEY, [said("newest")])
            await store.rewrite(KEY, without_last(1))
            # As text, because 1 == 1.0 == True and dicts are equal in any order.
            assert [json.dumps(each) for each in await store.items(KEY)] == [json.dumps(item)] * 3

        asyncio.run(scenario())

    @in_loop
    async def test_the_deepest_item_comes_back_as_it_was(self, store: SessionStore) -> None:
        item = nested(MAX_DEPTH)
        await store.create(info_of())
        await store.append(KEY, [item_entry(item)])
        await store.rewrite(KEY, lambda history: history.with_facts(name="rewritten"))
        assert await store.items(KEY) == [item]

    @in_loop
    async def test_a_long_item_comes_back_as_it_was(self, store: SessionStore) -> None:
        item: Item = {"role": "user", "content": "0123456789abcdé" * 150_000}
        await store.create(info_of(), [said("before")])
        await store.append(KEY, [item_entry(item)])
        await store.append(KEY, [said("after")])
        assert (await store.items(KEY))[1] == item
        assert await store.items(KEY, limit=2) == [item, {"role": "user", "content": "after"}]

    @pytest.mark.parametrize("number", range(len(REFUSED_ITEMS)))
    def test_a_batch_with_an_item_that_json_cannot_carry_is_refused_whole(
        self, store: SessionStore, number: int
    ) -> None:
        async def scenario() -> None:
            before = await store.create(info_of(), [said("kept")])
            bad = item_entry(cast("Item", REFUSED_ITEMS[number]))
            with pytest.raises(InvalidItemError):
                await store.append(KEY, [said("good"), bad, said("good")])
            assert texts(await store.entries(KEY)) == ["kept"]
            assert await store.load(KEY) == before

        asyncio.run(scenario())

    @in_loop
    async def test_an_item_that_holds_itself_is_refused(self, store: SessionStore) -> None:
        item: Item = {}
        item["self"] = item
        await store.create(info_of())
        with pytest.raises(InvalidItemError):
            await store.append(KEY, [item_entry(item)])

    @in_loop
    async def test_a_session_with_a_bad_first_item_is_not_created(self, store: SessionStore) -> None:
        with pytest.raises(InvalidItemError):
            await store.create(info_of(), [said("good"), item_entry(cast("Item", {"x": {1}}))])
        assert await store.load(KEY) is None

    @pytest.mark.parametrize(
        "envelope",
        [
            {"more": float("nan")},
            {"at": None},
            {"at": 5},
            {"at": "yesterday"},
            {"agent": None},
            {"agent": ["x"]},
            {"turn": None},
            {"turn": {}},
            {"seq": "1"},
            {"seq": 1.5},
            {"seq": True},
            {"seq": 2**53},
        ],
    )
    def test_an_envelope_that_cannot_be_stored_is_refused(self, store: SessionStore, envelope: dict[str, Any]) -> None:
        async def scenario() -> None:
            bad = cast("Entry", {"item": {}, **envelope})
            with pytest.raises(InvalidItemError):
                await store.create(info_of(), [bad])
            before = await store.create(info_of(), [said("kept")])
            with pytest.raises(InvalidItemError):
                await store.append(KEY, [said("good"), bad])
            with pytest.raises(InvalidItemError):
                await store.rewrite(KEY, lambda history: history.with_entries([*history.entries, bad]))
            assert await store.load(KEY) == before
            assert texts(await store.entries(KEY)) == ["kept"]

        asyncio.run(scenario())

    @pytest.mark.parametrize(
        "record",
        [
            {},
            {"type": "note"},
            {"type": "decision"},
            {"type": "handoff", "from": "a"},
            {"type": "turn", "status": "odd", "usage": {}, "duration_ms": 1},
            {"type": "usage", "requests": [{"requests": "many"}]},
        ],
    )
    def test_a_record_that_could_never_be_shown_is_refused(self, store: SessionStore, record: dict[str, Any]) -> None:
        async def scenario() -> None:
            bad = cast("Entry", {"record": record})
            with pytest.raises(InvalidItemError):
                await store.create(info_of(), [bad])
            before = await store.create(info_of(), [said("kept")])
            with pytest.raises(InvalidItemError, match="item 2 of 2"):
                await store.append(KEY, [said("good"), bad])
            with pytest.raises(InvalidItemError):
                await store.rewrite(KEY, lambda history: history.with_entries([*history.entries, bad]))
            assert await store.load(KEY) == before

        asyncio.run(scenario())

    @in_loop
    async def test_a_record_that_would_make_a_total_infinite_is_refused(self, store: SessionStore) -> None:
        row = cast("RequestRow", dict.fromkeys(("requests", "input_tokens", "output_tokens", "total_tokens"), 1e308))
        usage = record_entry({"type": "usage", "requests": [row]})
        before = await store.create(info_of(), [said("kept")])
        with pytest.raises(InvalidItemError):
            await store.append(KEY, [usage, usage])
        assert await store.load(KEY) == before

    # --- read ---

    @pytest.mark.parametrize("last", [0, 1, 2, 9, 10, 11, HUGE, -1, None])
    def test_the_newest_entries_come_in_order(self, store: SessionStore, last: int | None) -> None:
        async def scenario() -> None:
            await store.create(info_of(), [said(str(number)) for number in range(5)])
            await store.append(KEY, [said(str(number)) for number in range(5, 10)])
            everything = [str(number) for number in range(10)]
            expected = everything if last is None else everything[max(0, 10 - max(0, last)) :]
            assert texts(await store.entries(KEY, limit=last)) == expected
            assert [item["content"] for item in await store.items(KEY, limit=last)] == expected

        asyncio.run(scenario())

    @pytest.mark.parametrize("after", [-1, 0, 1, 6, 9, 10, 11, HUGE])
    def test_the_entries_after_a_number_come_in_order(self, store: SessionStore, after: int) -> None:
        async def scenario() -> None:
            await store.create(info_of(), [said(str(number)) for number in range(1, 11)])
            await store.rewrite(KEY, lambda history: history.with_entries(history.entries[:3] + history.entries[4:]))
            expected = [str(number) for number in range(1, 11) if number > after and number != 4]
            assert texts(await store.entries(KEY, after=after)) == expected

        asyncio.run(scenario())

    @in_loop
    async def test_items_are_the_history_without_records(self, store: SessionStore) -> None:
        record = record_entry({"type": "handoff", "from": "a", "to": "b"})
        await store.create(info_of(), [said("1"), record, said("2"), record, record])
        assert [item["content"] for item in await store.items(KEY)] == ["1", "2"]
        assert [item["content"] for item in await store.items(KEY, limit=1)] == ["2"]
        assert [item["content"] for item in await store.items(KEY, limit=2)] == ["1", "2"]

    @in_loop
    async def test_the_newest_of_a_long_history_are_found(self, store: SessionStore) -> None:
        await store.create(info_of(), [said(f"{number} " + "x" * (number % 7) * 300) for number in range(2000)])
        for last in (1, 50, 1999):
            found = [str(text).split()[0] for text in texts(await store.entries(KEY, limit=last))]
            assert found == [str(number) for number in range(2000 - last, 2000)]

    @in_loop
    async def test_reading_no_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.entries(KEY)
        with pytest.raises(SessionNotFoundError):
            await store.items(KEY, limit=1)

    # --- rewrite ---

    @in_loop
    async def test_a_rewrite_changes_facts_and_keeps_the_history(self, store: SessionStore) -> None:
        await store.create(info_of(name="old", metadata={"a": 1}), [said("a")])
        before = await store.entries(KEY)
        rewritten = await store.rewrite(KEY, lambda history: history.with_facts(name="new"))
        assert rewritten == await store.load(KEY)
        assert (rewritten.name, rewritten.metadata) == ("new", {"a": 1})
        assert [(entry["seq"], entry["at"], entry["item"]) for entry in await store.entries(KEY)] == [
            (entry["seq"], entry["at"], entry["item"]) for entry in before
        ]

    @in_loop
    async def test_a_change_that_returns_its_history_does_nothing(self, store: SessionStore) -> None:
        before = await store.create(info_of(), [said("a")])
        assert await store.rewrite(KEY, lambda history: history) == before
        assert await store.load(KEY) == before

    @in_loop
    @pytest.mark.parametrize(
        "refusal", [ZeroDivisionError(), FileNotFoundError(2, "mine"), BlockingIOError(11, "mine")]
    )
    async def test_a_change_that_raises_leaves_the_session_as_it_was(
        self, store: SessionStore, refusal: Exception
    ) -> None:
        before = await store.create(info_of(), [said("a")])

        def refuse(history: History) -> History:
            history.entries.clear()
            raise refusal

        with pytest.raises(type(refusal)) as caught:
            await store.rewrite(KEY, refuse)
        assert caught.value is refusal
        assert await store.load(KEY) == before
        assert texts(await store.entries(KEY)) == ["a"]

    @in_loop
    async def test_a_change_that_is_out_of_values_is_an_error_and_does_not_hang(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])

        def refuse(history: History) -> History:
            return next(iter(()))

        with pytest.raises(RuntimeError, match="StopIteration"):  # what Python makes of it in a coroutine
            await asyncio.wait_for(store.rewrite(KEY, refuse), PATIENCE)
        assert texts(await store.entries(KEY)) == ["a"]

    @in_loop
    async def test_a_rewrite_of_no_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.rewrite(KEY, lambda history: history)

    @in_loop
    async def test_a_popped_entry_is_gone(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.append(KEY, [said("b"), said("c")])
        await store.rewrite(KEY, without_last(1))
        assert texts(await store.entries(KEY)) == ["a", "b"]

    @in_loop
    async def test_the_totals_are_counted_again_after_a_rewrite(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a"), said("b"), item_entry({"type": "reasoning"})])
        info = await store.rewrite(KEY, without_last(2))
        assert (info.context.items, info.context.user_messages, info.context.reasoning_items) == (1, 1, 0)

    @in_loop
    async def test_a_number_is_never_given_again(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a"), said("b"), said("c")])
        await store.rewrite(KEY, without_last(2))
        await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
        await store.append(KEY, [said("d")])
        await store.rewrite(KEY, lambda history: history.with_entries([]))
        await store.append(KEY, [said("e")])
        assert [entry["seq"] for entry in await store.entries(KEY)] == [5]

    @in_loop
    async def test_entries_that_a_rewrite_puts_in_get_new_numbers(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a"), said("b")])

        def put_first(history: History) -> History:
            return history.with_entries([said("new"), *history.entries, said("newer")])

        info = await store.rewrite(KEY, put_first)
        entries = await store.entries(KEY)
        numbers = [entry["seq"] for entry in entries]
        assert texts(entries) == ["new", "a", "b", "newer"]
        assert numbers == sorted(set(numbers))
        assert min(numbers) > 2
        assert info.seq == max(numbers)

    @in_loop
    async def test_pops_and_appends_give_what_a_list_gives(self, store: SessionStore) -> None:
        await store.create(info_of())
        model: list[object] = []
        for number in range(40):
            if number % 3 == 2:
                await store.rewrite(KEY, without_last(1))
                model.pop()
            else:
                await store.append(KEY, [said(str(number))])
                model.append(str(number))
            assert texts(await store.entries(KEY)) == model

    @in_loop
    async def test_a_rewrite_to_an_item_that_json_cannot_carry_is_refused(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])

        def spoil(history: History) -> History:
            return history.with_entries([{**history.entries[0], "item": {"x": float("nan")}}])

        with pytest.raises(InvalidItemError):
            await store.rewrite(KEY, spoil)
        assert texts(await store.entries(KEY)) == ["a"]

    @in_loop
    async def test_a_rewrite_to_another_id_is_refused(self, store: SessionStore) -> None:
        before = await store.create(info_of())
        with pytest.raises(ValueError, match="cannot change the id"):
            await store.rewrite(KEY, lambda history: history.with_facts(id="other"))
        assert await store.load(KEY) == before

    @in_loop
    async def test_concurrent_rewrites_are_all_applied(self, store: SessionStore) -> None:
        await store.create(info_of(metadata={"count": 0}))

        def count(history: History) -> History:
            return history.with_facts(metadata={"count": cast("int", history.info.metadata["count"]) + 1})

        await asyncio.gather(*(store.rewrite(KEY, count) for _ in range(20)))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.metadata == {"count": 20}

    # --- facts ---

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
            {"tags": {"a", "b"}},
            {"tags": float("inf")},
            {"format": "theirs"},
            {"history": []},
            {"seal": {}},
        ],
    )
    def test_facts_that_cannot_be_stored_are_refused(self, store: SessionStore, facts: dict[str, Any]) -> None:
        async def scenario() -> None:
            # As a caller does who goes round the validation of the model.
            spoiled = SessionInfo.model_construct(**{**dict(info_of()), **facts})
            with pytest.raises(InvalidItemError):
                await store.create(spoiled)
            assert await store.load(KEY) is None
            before = await store.create(info_of(), [said("a")])
            with pytest.raises(InvalidItemError):
                await store.rewrite(KEY, lambda history: History(spoiled, history.entries))
            assert await store.load(KEY) == before

        asyncio.run(scenario())

    @in_loop
    async def test_lossless_facts_come_back_as_they_were(self, store: SessionStore) -> None:
        metadata = {"\ud800": "\udfff\u2028", "big": 2**70, "float": 1e22, "z": 1, "a": [True, 1, 1.0, None]}
        await store.create(info_of(metadata=metadata, name="\ud800", user_id="日本"))
        loaded = await store.load(KEY)
        assert loaded is not None
        assert json.dumps(loaded.metadata) == json.dumps(metadata)
        assert (loaded.name, loaded.user_id) == ("\ud800", "日本")

    @in_loop
    async def test_updated_at_never_goes_backwards(self, store: SessionStore) -> None:
        ahead = now() + timedelta(hours=2)
        await store.create(info_of(updated_at=ahead))
        assert (await store.append(KEY, [said("a")])).updated_at >= ahead
        rewritten = await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
        assert rewritten.updated_at >= ahead

    @in_loop
    async def test_a_change_moves_updated_at(self, store: SessionStore) -> None:
        past = now() - timedelta(days=1)
        await store.create(info_of(updated_at=past, created_at=past))
        assert (await store.append(KEY, [said("a")])).updated_at > past

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(2026, 11, 20, 21, 28, 0, 123456, UTC),
            datetime(2026, 11, 20, 21, 28, 0, 999, timezone(timedelta(hours=-9, minutes=-30))),
            datetime.min.replace(tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC) - timedelta(days=1),
        ],
    )
    def test_a_time_of_any_zone_comes_back_in_utc_and_milliseconds(self, store: SessionStore, moment: datetime) -> None:
        async def scenario() -> None:
            created = await store.create(info_of(created_at=moment, updated_at=moment))
            assert created == await store.load(KEY)
            for stored in (created.created_at, created.updated_at):
                assert timedelta(0) <= moment - stored < timedelta(milliseconds=1)
                assert (stored.utcoffset(), stored.microsecond % 1000) == (timedelta(0), 0)
            assert (await store.append(KEY, [said("a")])).updated_at >= created.updated_at

        asyncio.run(scenario())

    @pytest.mark.parametrize("name", ["created_at", "updated_at"])
    @pytest.mark.parametrize(
        "moment",
        [
            datetime(2026, 11, 20),  # noqa: DTZ001
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        ],
    )
    def test_a_time_that_is_none_in_utc_is_refused(self, store: SessionStore, name: str, moment: datetime) -> None:
        facts: dict[str, Any] = {name: moment}
        with pytest.raises(ValueError, match=name):
            info_of(**facts)
        spoiled = info_of().model_copy(update=facts)  # which validates nothing
        with pytest.raises(InvalidItemError, match=name):
            asyncio.run(store.create(spoiled))

    @in_loop
    async def test_a_text_that_spells_a_time_is_none(self, store: SessionStore) -> None:
        spoiled = info_of().model_copy(update={"created_at": "2026-01-01T00:00:00.000Z"})
        with pytest.raises(InvalidItemError, match="created_at"):
            await store.create(spoiled)
        assert await store.load(KEY) is None

    # --- nobody shares an object with the store ---

    @in_loop
    async def test_changing_a_given_item_does_not_change_the_store(self, store: SessionStore) -> None:
        item: Item = {"content": ["a"]}
        await store.create(info_of())
        await store.append(KEY, [item_entry(item)])
        cast("list[str]", item["content"]).append("b")
        assert await store.items(KEY) == [{"content": ["a"]}]

    @in_loop
    async def test_changing_a_returned_entry_does_not_change_the_store(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        (entry,) = await store.entries(KEY)
        entry["item"]["content"] = "b"
        (item,) = await store.items(KEY)
        item["content"] = "c"
        assert texts(await store.entries(KEY)) == ["a"]

    @in_loop
    async def test_changing_given_and_returned_facts_does_not_change_the_store(self, store: SessionStore) -> None:
        given = info_of(metadata={"a": [1]}, tags=["a"])
        clean = deepcopy(given)
        created = await store.create(given)
        for shared in (given, created, await store.load(KEY), await store.rewrite(KEY, lambda history: history)):
            assert shared is not None
            cast("list[int]", shared.metadata["a"]).append(2)
            shared.metadata["b"] = 1
            cast("dict[str, list[str]]", shared.model_extra)["tags"].append("b")
        loaded = await store.load(KEY)
        assert loaded is not None
        assert (loaded.metadata, loaded.model_extra) == (clean.metadata, clean.model_extra)

    @in_loop
    async def test_an_append_does_not_change_what_it_was_given(self, store: SessionStore) -> None:
        entry = said("a")
        await store.create(info_of())
        await store.append(KEY, [entry])
        assert entry == said("a")

    @in_loop
    async def test_what_is_changed_while_it_waits_is_stored_and_counted_as_it_was_given(
        self, store: SessionStore
    ) -> None:
        await store.create(info_of())
        given = [said(str(number)) for number in range(20)]
        waiting = [asyncio.create_task(store.append(KEY, [entry])) for entry in given]
        await asyncio.sleep(0)
        for entry in given:
            entry["item"].update(role="assistant", content="changed")
        await asyncio.gather(*waiting)
        stored = await store.entries(KEY)
        assert texts(stored) == [str(number) for number in range(20)]
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.context == fold(ContextStats(), stored)
        assert loaded.context.user_messages == 20

    @in_loop
    async def test_a_session_is_created_of_what_was_given_also_if_that_changes_while_it_waits(
        self, store: SessionStore
    ) -> None:
        entry, info = said("a"), info_of(metadata={"a": [1]})
        before = [asyncio.create_task(store.append(KEY, [said("b")])) for _ in range(20)]
        creating = asyncio.create_task(store.create(info, [entry]))
        await asyncio.sleep(0)
        entry["item"].update(role="assistant", content=float("nan"))
        info.metadata["a"] = b"bytes"  # type: ignore[assignment]
        created = await creating
        await asyncio.gather(*before, return_exceptions=True)
        loaded = await store.load(KEY)
        assert loaded is not None
        assert loaded.metadata == created.metadata == {"a": [1]}
        assert (await store.items(KEY))[0] == {"role": "user", "content": "a"}
        assert (created.context.user_messages, created.context.assistant_messages) == (1, 0)

    # --- delete ---

    @in_loop
    async def test_a_deleted_session_is_gone(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.delete(KEY)
        assert await store.load(KEY) is None
        assert [info async for info in store.scan()] == []
        with pytest.raises(SessionNotFoundError):
            await store.append(KEY, [said("b")])

    @in_loop
    async def test_deleting_no_session_is_an_error(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.delete(KEY)

    @in_loop
    async def test_a_session_that_follows_a_deleted_one_inherits_nothing(self, store: SessionStore) -> None:
        await store.create(info_of(name="old"), [said("a"), said("b")])
        await store.write_sidecar(KEY, "run_state.json", b"old")
        await store.delete(KEY)
        created = await store.create(info_of())
        assert (created.seq, created.name) == (0, None)
        assert await store.entries(KEY) == []
        assert await store.list_sidecars(KEY) == []

    @in_loop
    async def test_a_deletion_leaves_other_sessions_alone(self, store: SessionStore) -> None:
        others = [KEY._replace(session_id=f"{KEY.session_id}{more}") for more in ("0", ".json", ".json.torn-01234567")]
        for key in (KEY, *others):
            await store.create(info_of(key), [said(key.session_id)])
            await store.write_sidecar(key, "a.json", b"{}")
        await store.delete(KEY)
        for key in others:
            assert texts(await store.entries(key)) == [key.session_id]
            assert await store.list_sidecars(key) == ["a.json"]

    # --- ids ---

    @pytest.mark.parametrize("number", range(len(HOSTILE_IDS)))
    def test_a_hostile_id_is_an_id_like_any_other(self, store: SessionStore, number: int) -> None:
        async def scenario() -> None:
            hostile = HOSTILE_IDS[number]
            keys = [SessionKey("support", hostile), SessionKey(hostile, "order"), SessionKey(hostile, hostile)]
            for key in keys:
                await store.create(info_of(key), [said(f"{keys.index(key)}")])
                await store.write_sidecar(key, "checkpoints/a.json", str(keys.index(key)).encode())
            for place, key in enumerate(keys):
                await store.append(key, [said("more")])
                assert texts(await store.entries(key)) == [str(place), "more"]
                assert await store.read_sidecar(key, "checkpoints/a.json") == str(place).encode()
                async with store.turn_lock(key, timeout=PATIENCE):
                    pass
            assert {info.key async for info in store.scan()} == set(keys)
            assert set(await store.find(hostile)) == {keys[0], keys[2]}
            for key in keys:
                await store.delete(key)

        asyncio.run(scenario())

    @pytest.mark.parametrize("pair", [("Abc", "abc"), ("a/b", "a%2Fb"), ("x", "x.json"), ("é", "e\u0301"), ("x", "x.")])
    def test_two_ids_are_two_sessions(self, store: SessionStore, pair: tuple[str, str]) -> None:
        async def scenario() -> None:
            keys = [SessionKey("support", session_id) for session_id in pair]
            for key in keys:
                await store.create(info_of(key), [said(key.session_id)])
                await store.write_sidecar(key, "a.json", key.session_id.encode())
            for key in keys:
                assert texts(await store.entries(key)) == [key.session_id]
                assert await store.read_sidecar(key, "a.json") == key.session_id.encode()

        asyncio.run(scenario())

    @pytest.mark.parametrize("bad", ["", "nul\0nul", "\ud83d\ude00"])
    def test_an_id_that_no_session_can_have_is_refused(self, store: SessionStore, bad: str) -> None:
        async def scenario() -> None:
            for key in (SessionKey("support", bad), SessionKey(bad, "order")):
                with pytest.raises(SessionIdError):
                    await store.create(info_of(key))
            assert [info async for info in store.scan()] == []

        asyncio.run(scenario())

    # --- scan and find ---

    @in_loop
    async def test_scan_yields_every_session_in_order(self, store: SessionStore) -> None:
        keys = [SessionKey(agent, session) for agent in ("a", "b") for session in ("1", "2", "3")]
        for key in reversed(keys):
            await store.create(info_of(key), [said("x")])
        assert [info.key async for info in store.scan()] == keys
        assert [info.key async for info in store.scan("b")] == keys[3:]
        assert [info.context.items async for info in store.scan()] == [1] * 6

    @in_loop
    async def test_scan_and_find_refuse_what_is_no_id(self, store: SessionStore) -> None:
        with pytest.raises(SessionIdError):
            await anext(aiter(store.scan("")))
        with pytest.raises(SessionIdError):
            await store.find("")

    @in_loop
    async def test_scan_of_an_unknown_agent_yields_nothing(self, store: SessionStore) -> None:
        await store.create(info_of())
        assert [info async for info in store.scan("nobody")] == []

    @in_loop
    async def test_find_returns_a_key_for_each_agent_that_has_the_id(self, store: SessionStore) -> None:
        for agent, session in (("a", "1"), ("b", "1"), ("b", "2")):
            await store.create(info_of(SessionKey(agent, session)))
        assert set(await store.find("1")) == {("a", "1"), ("b", "1")}
        assert await store.find("3") == []

    # --- sidecars ---

    @in_loop
    async def test_a_sidecar_comes_back_as_it_was(self, store: SessionStore) -> None:
        await store.create(info_of())
        for data in (b"", b"\0\xff" * 10_000, b"{}"):
            await store.write_sidecar(KEY, "run_state.json", data)
            assert await store.read_sidecar(KEY, "run_state.json") == data

    @in_loop
    async def test_sidecars_are_listed_by_the_names_they_were_given(self, store: SessionStore) -> None:
        given = ["checkpoints/before refund.json", "checkpoints/Zoë", "checkpoints/..", ".hidden", "run_state.json"]
        await store.create(info_of())
        for name in given:
            await store.write_sidecar(KEY, name, name.encode())
        listed = await store.list_sidecars(KEY)
        assert listed == sorted(given)
        assert [await store.read_sidecar(KEY, name) for name in listed] == [name.encode() for name in listed]

    @pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "a/b/c", "nul\0nul", "\ud83d\ude00", "x" * 61])
    def test_a_name_that_no_sidecar_can_have_is_refused(self, store: SessionStore, name: str) -> None:
        async def scenario() -> None:
            await store.create(info_of())
            for refused in (
                store.write_sidecar(KEY, name, b"1"),
                store.read_sidecar(KEY, name),
                store.delete_sidecar(KEY, name),
            ):
                with pytest.raises(ValueError, match="sidecar"):
                    await refused
            assert await store.list_sidecars(KEY) == []

        asyncio.run(scenario())

    @in_loop
    async def test_the_longest_name_of_a_sidecar_comes_back(self, store: SessionStore) -> None:
        name = f"{'x' * 60}/{'é' * 30}"
        await store.create(info_of())
        await store.write_sidecar(KEY, name, b"1")
        assert await store.list_sidecars(KEY) == [name]
        assert await store.read_sidecar(KEY, name) == b"1"

    @in_loop
    async def test_a_sidecar_is_deleted_once(self, store: SessionStore) -> None:
        await store.create(info_of())
        await store.write_sidecar(KEY, "a.json", b"1")
        assert await store.delete_sidecar(KEY, "a.json") is True
        assert await store.delete_sidecar(KEY, "a.json") is False
        assert await store.read_sidecar(KEY, "a.json") is None

    @in_loop
    async def test_a_missing_session_has_no_sidecars(self, store: SessionStore) -> None:
        assert await store.read_sidecar(KEY, "a.json") is None
        assert await store.list_sidecars(KEY) == []
        assert await store.delete_sidecar(KEY, "a.json") is False

    @in_loop
    async def test_a_sidecar_of_no_session_is_not_written(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.write_sidecar(KEY, "a.json", b"1")
        await store.create(info_of())
        assert await store.list_sidecars(KEY) == []

    @in_loop
    async def test_sidecars_survive_a_rewrite(self, store: SessionStore) -> None:
        await store.create(info_of(), [said("a")])
        await store.write_sidecar(KEY, "a.json", b"1")
        await store.rewrite(KEY, lambda history: history.with_entries([]))
        assert await store.read_sidecar(KEY, "a.json") == b"1"

    # --- the turn lock ---

    @in_loop
    async def test_the_turn_lock_lets_one_in(self, store: SessionStore) -> None:
        await store.create(info_of())
        inside = 0

        async def turn() -> None:
            nonlocal inside
            async with store.turn_lock(KEY, timeout=PATIENCE):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                await store.append(KEY, [said("x")])
                inside -= 1

        await asyncio.gather(*(turn() for _ in range(10)))
        assert len(await store.entries(KEY)) == 10

    @in_loop
    async def test_turns_are_served_in_the_order_of_coming(self, store: SessionStore) -> None:
        await store.create(info_of())
        served: list[int] = []

        async def turn(number: int) -> None:
            async with store.turn_lock(KEY, timeout=PATIENCE):
                served.append(number)

        async with store.turn_lock(KEY):
            turns = []
            for number in range(8):
                turns.append(asyncio.create_task(turn(number)))
                await asyncio.sleep(0)
        await asyncio.gather(*turns)
        assert served == list(range(8))

    @pytest.mark.parametrize("timeout", [0, 0.05])
    def test_a_wait_for_a_turn_is_bounded(self, store: SessionStore, timeout: float) -> None:
        async def scenario() -> None:
            await store.create(info_of())
            async with store.turn_lock(KEY):
                begun = monotonic()
                with pytest.raises(SessionBusyError) as caught:
                    async with store.turn_lock(KEY, timeout=timeout):
                        pytest.fail("two in one turn")
                assert monotonic() - begun < PATIENCE / 2
                assert caught.value.session_id == KEY.session_id
            async with store.turn_lock(KEY, timeout=0):
                pass

        asyncio.run(scenario())

    @in_loop
    async def test_turns_of_other_sessions_do_not_wait(self, store: SessionStore) -> None:
        other = SessionKey("support", "other")
        await store.create(info_of())
        await store.create(info_of(other))
        async with store.turn_lock(KEY), store.turn_lock(other, timeout=0):
            pass

    @in_loop
    async def test_the_turn_lock_keeps_no_one_from_appending(self, store: SessionStore) -> None:
        await store.create(info_of())
        async with store.turn_lock(KEY):
            await store.append(KEY, [said("a")])
            await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
            assert len(await store.entries(KEY)) == 1

    @in_loop
    async def test_an_error_in_a_turn_releases_its_lock(self, store: SessionStore) -> None:
        await store.create(info_of())
        with pytest.raises(ZeroDivisionError):
            async with store.turn_lock(KEY):
                raise ZeroDivisionError
        async with store.turn_lock(KEY, timeout=0):
            pass

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 6, 10, 20])
    def test_a_cancelled_turn_releases_its_lock(self, store: SessionStore, steps: int) -> None:
        async def turn() -> None:
            async with store.turn_lock(KEY):
                await asyncio.sleep(PATIENCE)

        async def scenario() -> None:
            await store.create(info_of())
            for _ in range(10):
                task = asyncio.create_task(turn())
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                async with store.turn_lock(KEY, timeout=0):
                    pass

        asyncio.run(scenario())

    @in_loop
    async def test_a_cancelled_waiter_does_not_stop_the_queue(self, store: SessionStore) -> None:
        await store.create(info_of())

        async def turn() -> None:
            async with store.turn_lock(KEY, timeout=PATIENCE):
                pass

        async with store.turn_lock(KEY):
            waiters = [asyncio.create_task(turn()) for _ in range(4)]
            await asyncio.sleep(0)
            waiters[0].cancel()
            waiters[2].cancel()
        done, _ = await asyncio.wait(waiters)
        assert [task.cancelled() for task in waiters] == [True, False, True, False]
        assert all(task.cancelled() or task.exception() is None for task in done)

    # --- concurrency ---

    @in_loop
    async def test_a_hundred_concurrent_appends_lose_nothing(self, store: SessionStore) -> None:
        await store.create(info_of())
        await asyncio.gather(*(store.append(KEY, [said(f"{n}a"), said(f"{n}b")]) for n in range(100)))
        found = [str(text) for text in texts(await store.entries(KEY))]
        assert sorted(found[::2]) == sorted(f"{number}a" for number in range(100))
        assert found[1::2] == [text[:-1] + "b" for text in found[::2]]

    def test_threads_with_loops_of_their_own_lose_nothing(self, store: SessionStore) -> None:
        asyncio.run(store.create(info_of()))

        async def write(worker: int) -> None:
            for number in range(20):
                await store.append(KEY, [said(f"{worker}-{number}")])

        threads = [threading.Thread(target=lambda n=worker: asyncio.run(write(n))) for worker in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        found = [str(text) for text in texts(asyncio.run(store.entries(KEY)))]
        for worker in range(5):
            mine = [text for text in found if text.startswith(f"{worker}-")]
            assert mine == [f"{worker}-{number}" for number in range(20)]

    def test_turns_of_several_threads_exclude_each_other(self, store: SessionStore) -> None:
        asyncio.run(store.create(info_of()))
        inside = 0
        met: list[int] = []

        async def turns() -> None:
            nonlocal inside
            for _ in range(10):
                async with store.turn_lock(KEY, timeout=PATIENCE):
                    inside += 1
                    met.append(inside)
                    await asyncio.sleep(0)
                    inside -= 1

        threads = [threading.Thread(target=lambda: asyncio.run(turns())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert met == [1] * 40

    @in_loop
    async def test_a_reader_beside_a_writer_sees_whole_batches_only(self, store: SessionStore) -> None:
        await store.create(info_of())

        async def write() -> None:
            for number in range(60):
                await store.append(KEY, [said(str(number))] * 3)

        writer = asyncio.create_task(write())
        seen = 0
        while not writer.done():
            count = len(await store.entries(KEY))
            assert count % 3 == 0
            assert count >= seen
            seen = count
            await asyncio.sleep(0)
        await writer
        assert len(await store.entries(KEY)) == 180

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8])
    def test_a_cancelled_append_is_whole_or_absent_once_the_cancellation_is_raised(
        self, store: SessionStore, steps: int
    ) -> None:
        async def scenario() -> None:
            await store.create(info_of())
            expected = 0
            for _ in range(10):
                task = asyncio.create_task(store.append(KEY, [said("a"), said("b")]))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                stored = len(await store.entries(KEY)) - expected
                assert stored in ((0, 2) if task.cancelled() else (2,))
                await store.append(KEY, [said("next")])
                expected += stored + 1
                assert len(await store.entries(KEY)) == expected

        asyncio.run(scenario())

    # --- stores that processes share ---

    @in_loop
    async def test_a_second_store_sees_what_the_first_stored(self, store: SessionStore, open_again: Opener) -> None:
        second = open_again()
        await store.create(info_of(), [said("a")])
        assert texts(await second.entries(KEY)) == ["a"]
        await second.append(KEY, [said("b")])
        await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
        await second.append(KEY, [said("c")])
        assert texts(await store.entries(KEY)) == ["a", "b", "c"]
        assert await store.load(KEY) == await second.load(KEY)

    @in_loop
    async def test_two_stores_on_the_same_data_exclude_each_others_turns(
        self, store: SessionStore, open_again: Opener
    ) -> None:
        await store.create(info_of())
        async with store.turn_lock(KEY):
            with pytest.raises(SessionBusyError):
                async with open_again().turn_lock(KEY, timeout=0.02):
                    pytest.fail("two in one turn")

    def test_two_processes_that_append_and_rewrite_lose_nothing(self, store: SessionStore, open_again: Opener) -> None:
        asyncio.run(store.create(info_of()))
        writers = [_Child(_append_some, open_again, f"{writer}", 100) for writer in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.finish()
        entries = asyncio.run(store.entries(KEY))
        for name in ("0", "1"):
            mine = [text for text in texts(entries) if str(text).startswith(f"{name}-")]
            assert mine == [f"{name}-{number}" for number in range(100)]
        assert [entry["seq"] for entry in entries] == list(range(1, 201))

    def test_a_killed_writer_loses_nothing_acknowledged_and_leaves_no_part_of_a_batch(
        self, store: SessionStore, open_again: Opener
    ) -> None:
        asyncio.run(store.create(info_of()))
        acknowledged = 0
        for _ in range(3):
            writer = _Child(_append_without_end, open_again, acknowledged)
            writer.start()
            acknowledged = max(writer.received(30))
            acknowledged = max([acknowledged, *writer.kill()])
            found = texts(asyncio.run(store.entries(KEY)))
            batches, rest = divmod(len(found), 3)
            assert rest == 0
            assert batches in (acknowledged, acknowledged + 1)
            assert found == [f"{number}{part}" for number in range(1, batches + 1) for part in "abc"]
            acknowledged = batches
            asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(name="still writable")))

    def test_the_turn_lock_excludes_other_processes(self, store: SessionStore, open_again: Opener) -> None:
        async def compete(timeout: float) -> None:
            async with store.turn_lock(KEY, timeout=timeout):
                pass

        asyncio.run(store.create(info_of()))
        holder = _Child(_hold_turn, open_again)
        holder.start()
        holder.received(1)
        try:
            with pytest.raises(SessionBusyError):
                asyncio.run(compete(0.02))
        finally:
            holder.kill()

    def test_the_turn_lock_of_a_killed_process_is_free_at_once(self, store: SessionStore, open_again: Opener) -> None:
        async def take() -> None:
            async with store.turn_lock(KEY, timeout=0):
                pass

        asyncio.run(store.create(info_of()))
        holder = _Child(_hold_turn, open_again)
        holder.start()
        holder.received(1)
        holder.kill()
        asyncio.run(take())


# --- other processes -------------------------------------------------------------------------------------------


class _Child:
    """A process of its own that tells numbers. It is killed for real."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._told, telling = spawn.Pipe(duplex=False)
        self._telling = telling
        self._process = spawn.Process(target=target, args=(*args, telling), daemon=True)

    def start(self) -> None:
        self._process.start()
        self._telling.close()

    def received(self, count: int) -> list[int]:
        numbers = []
        for _ in range(count):
            assert self._told.poll(PATIENCE), "the other process says nothing"
            numbers.append(cast("int", self._told.recv()))
        return numbers

    def finish(self) -> None:
        self._process.join(PATIENCE)
        assert self._process.exitcode == 0
        self._told.close()

    def kill(self) -> list[int]:
        """Kill it and return what it had told until then."""
        pid = self._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self._process.join(PATIENCE)
        numbers = []
        try:
            while self._told.poll(0):
                numbers.append(cast("int", self._told.recv()))
        except (EOFError, OSError):
            pass
        self._told.close()
        return numbers


def _append_some(open_store: Opener, name: str, count: int, _telling: Connection) -> None:
    async def write() -> None:
        store = open_store()
        for number in range(count):
            await store.append(KEY, [said(f"{name}-{number}")])
            if number % 4 == 0:
                await store.rewrite(KEY, lambda history: history.with_facts(name=name))

    asyncio.run(write())


def _append_without_end(open_store: Opener, done: int, telling: Connection) -> None:
    async def write() -> None:
        store = open_store()
        number = done
        while True:
            number += 1
            await store.append(KEY, [said(f"{number}{part}") for part in "abc"])
            telling.send(number)

    asyncio.run(write())


def _hold_turn(open_store: Opener, telling: Connection) -> None:
    async def hold() -> None:
        async with open_store().turn_lock(KEY):
            telling.send(1)
            await asyncio.sleep(PATIENCE * 10)

    asyncio.run(hold())
