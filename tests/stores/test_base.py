"""What a backend gets from `SessionStore` without writing it, and what it shares with the others."""

import asyncio
from dataclasses import FrozenInstanceError

import pytest
from pydantic import ValidationError

from agents_sessions.errors import InvalidItemError, InvalidValueError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, now, record_entry, timestamp
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.base import Appended, History, SessionStore, Standing
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.stores.transitions import RESERVED_FACTS, check_change, check_facts, numbered, rewritten

INFO = SessionInfo(id="s", agent_id="support", name="Order 42")
KEY = INFO.key
USAGE = record_entry({"type": "usage", "requests": []})


class Plain(MemoryStore):
    """A backend that overrides nothing, and writes down what is read of it."""

    find = SessionStore.find

    def __init__(self):
        super().__init__()
        self.asked = []

    async def entries(self, key, *, limit=None, **window):
        self.asked.append(limit)
        return await super().entries(key, limit=limit, **window)


def said(text, role="user"):
    return item_entry({"role": role, "content": text})


def kept(*entries):
    store = Plain()
    asyncio.run(store.create(INFO, entries))
    return store


def texts(store, last):
    return [message.text for message in asyncio.run(store.messages(KEY, limit=last))]


# --- what follows from the contract ---


@pytest.mark.parametrize(("last", "found"), [(None, "abc"), (0, ""), (1, "c"), (2, "bc"), (3, "abc"), (9, "abc")])
def test_the_newest_items_come_without_records(last, found):
    store = kept(said("a"), USAGE, said("b"), USAGE, said("c"), USAGE)
    items = asyncio.run(store.items(KEY, limit=last))
    assert [item["content"] for item in items] == list(found)


@pytest.mark.parametrize(("last", "found"), [(0, ""), (1, "c"), (2, "bc"), (3, "abc"), (9, "abc")])
def test_the_newest_messages_come_oldest_first(last, found):
    store = kept(said("a"), USAGE, said("b", "assistant"), said("not shown", "system"), said("c"), USAGE, USAGE)
    assert texts(store, last) == list(found)


@pytest.mark.parametrize("between", [1, 3, 7, 8, 9, 40])
def test_messages_are_found_however_much_lies_between_them(between):
    store = kept(said("a"), *[USAGE] * between, said("b"), *[USAGE] * between, said("c"), *[USAGE] * between)
    assert texts(store, 2) == ["b", "c"]


def test_messages_among_many_are_found_without_reading_all():
    store = kept(*[said(str(number)) for number in range(1000)])
    assert texts(store, 2) == ["998", "999"]
    assert sum(store.asked) <= 10


def test_messages_of_a_history_of_other_things_are_looked_for_in_few_steps():
    store = kept(*[USAGE] * 1000)
    assert texts(store, 2) == []
    assert len(store.asked) < 8


def test_an_id_is_found_with_every_agent_that_has_it():
    async def run():
        store = Plain()
        for agent_id, session_id in (("a", "s"), ("a", "t"), ("b", "s")):
            await store.create(SessionInfo(id=session_id, agent_id=agent_id))
        return await store.find("s")

    assert asyncio.run(run()) == [SessionKey("a", "s"), SessionKey("b", "s")]


def test_a_place_is_one_of_one_store_and_one_session():
    one, other = Plain(), Plain()
    assert one.place(KEY) == one.place(SessionKey("support", "s"))
    assert len({one.place(KEY), other.place(KEY), one.place(SessionKey("support", "t"))}) == 3


# --- values ---


def test_a_history_has_other_entries_or_other_facts_and_stays_as_it_was():
    history = History(INFO, [said("a")])
    assert history.with_entries([]) == History(INFO, [])
    renamed = history.with_facts(name="Order 43", metadata={"x": 1})
    assert (renamed.info.name, renamed.info.metadata, renamed.info.key) == ("Order 43", {"x": 1}, KEY)
    assert renamed.entries == history.entries
    assert history == History(INFO, [said("a")])


def test_facts_are_validated():
    with pytest.raises(ValidationError, match="max_turns"):
        History(INFO, []).with_facts(max_turns=0)


@pytest.mark.parametrize("value", [History(INFO, []), Appended([], Standing(1, now(), ContextStats()))])
def test_what_a_store_hands_out_cannot_be_changed(value):
    with pytest.raises(FrozenInstanceError):
        setattr(value, value.__slots__[0], None)


# --- what cannot be stored ---


def test_facts_that_can_be_stored_pass():
    check_facts(INFO.model_copy(update={"metadata": {"a": [1, None]}, "from_the_future": {"b": 2.5}}))


@pytest.mark.parametrize(
    ("facts", "refusal"),
    [
        ({"metadata": {"x": float("nan")}}, "metadata holds NaN"),
        ({"metadata": {"x": 10**5000}}, "metadata holds an integer"),
        ({"extra": {1}}, "metadata holds a value of type 'set'"),
        ({"max_turns": 0}, "max_turns must be greater than or equal to 1; "),
        (
            {"status": "x", "name": 5},
            "name must be a valid string, status must be 'active', 'paused', 'closed' or 'archived'; ",
        ),
        ({"\ud800": 1}, "a name must be a valid string"),
        ({"seal": 1}, "seal is a name of the file format"),
        ({"seal": 1, "format": 2}, "format is a name of the file format, seal is a name of the file format"),
    ],
)
def test_facts_that_cannot_be_stored_are_refused_by_name(facts, refusal):
    with pytest.raises(InvalidValueError) as caught:
        check_facts(INFO.model_copy(update=facts))
    assert str(caught.value).startswith(refusal)


def test_every_part_of_a_session_file_is_a_name_that_no_fact_may_have():
    assert {"format", "history", "seal", "salt", "codec"} == RESERVED_FACTS


@pytest.mark.parametrize("change", [{"id": "t"}, {"agent_id": "billing"}])
def test_a_change_keeps_the_id_and_the_agent(change):
    with pytest.raises(ValueError, match="cannot change the id or the agent"):
        check_change(KEY, History(INFO.model_copy(update=change), []))


def test_a_change_to_what_cannot_be_stored_is_refused():
    check_change(KEY, History(INFO, [said("a")]))
    with pytest.raises(InvalidItemError, match="item 1 of 1"):
        check_change(KEY, History(INFO, [item_entry({"x": b"y"})]))
    with pytest.raises(InvalidValueError, match="max_turns"):
        check_change(KEY, History(INFO.model_copy(update={"max_turns": 0}), []))


# --- numbers ---


@pytest.mark.parametrize(
    ("numbers", "previous", "after", "newest"),
    [
        ([], 0, [], 0),
        ([], 7, [], 7),
        ([None, None], 0, [1, 2], 2),
        ([None, None], 7, [8, 9], 9),
        ([1, 2, 3], 3, [1, 2, 3], 3),
        ([2, 5], 7, [2, 5], 7),
        ([1, None, 3], 3, [1, 4, 5], 5),
        ([3, 1, 2], 3, [3, 4, 5], 5),
        ([2, 2], 2, [2, 3], 3),
        ([9], 7, [9], 9),
    ],
)
def test_entries_keep_their_numbers_while_these_grow(numbers, previous, after, newest):
    entries = [said("x") if number is None else {**said("x"), "seq": number} for number in numbers]
    given = [dict(entry) for entry in entries]
    history = History(INFO.model_copy(update={"seq": previous}), [])
    changed = rewritten(history, lambda before: before.with_entries(entries), now())
    assert [entry["seq"] for entry in changed.entries] == after
    assert changed.info.seq == newest
    assert changed.info.context == fold(ContextStats(), changed.entries)
    assert entries == given


def test_a_number_from_elsewhere_is_not_given_again():
    entries = list(numbered([{**USAGE, "seq": 9}, USAGE, USAGE], timestamp(), 7))
    assert [entry["seq"] for entry in entries] == [9, 10, 11]
