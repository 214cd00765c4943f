"""What `spend`, `spend_of` and `titled` promise."""

from typing import Any, cast

import pytest

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, TurnStatus, item_entry, parse_time, record_entry, timestamp
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.spend import Line, Origin, SessionSpend, Spend, Sums, fold_spend
from agents_sessions.model.usage import NOTHING, RequestRow
from agents_sessions.stores.base import SessionStore
from agents_sessions.testing.contract.part import ContractPart
from agents_sessions.testing.contract.samples import KEY, info_of, said

NOON = parse_time("2026-11-20T12:00:00.000Z")


def request(tokens: int, **facts: Any) -> RequestRow:
    """Return a model request of so many input tokens, and a tenth of them in the output."""
    row = {**NOTHING.row(), "requests": 1, "input_tokens": tokens, "output_tokens": tokens // 10}
    return cast("RequestRow", {**row, "total_tokens": tokens + tokens // 10, **facts})


def turn(name: str, status: TurnStatus, *rows: RequestRow) -> list[Entry]:
    """Return a turn: a message, a call and its output, requests, and the end."""
    call: Item = {"type": "function_call", "call_id": f"call_{name}", "name": "look_up", "arguments": "{}"}
    output: Item = {"type": "function_call_output", "call_id": f"call_{name}", "output": "found"}
    return [
        item_entry({"role": "user", "content": f"Where is order {name}?"}, turn=name),
        item_entry(call, agent="support", turn=name),
        item_entry(output, agent="support", turn=name),
        record_entry({"type": "usage", "requests": list(rows)}, turn=name),
        record_entry({"type": "turn", "status": status, "usage": NOTHING.row(), "duration_ms": 70}, turn=name),
    ]


def total(spend: Spend | None) -> Sums:
    """Return what all requests of a session add up to."""
    assert spend is not None
    found = Sums()
    for _, sums in spend.lines:
        found = found.plus(sums)
    return found


class SpendContract(ContractPart):
    """What `spend`, `spend_of` and `titled` promise."""

    async def test_a_spend_is_the_fold_of_the_history(self, store: SessionStore) -> None:
        entries = turn("1", "completed", request(1000, agent="support", model="gpt-4.1"), request(50, nested=True))
        info = await store.create(info_of(user_id="ann", name="Order"), entries)
        spend = await store.spend_of(info)
        assert spend == fold_spend(Spend(), await store.entries(KEY))
        assert total(spend).total_tokens == 1100 + 55
        assert [found async for found in store.spend(SessionQuery())] == [SessionSpend(KEY, "ann", "Order", spend)]

    async def test_a_spend_grows_with_what_is_appended_and_goes_with_what_is_cleared(self, store: SessionStore) -> None:
        await store.create(info_of(), turn("1", "completed", request(1000, model="gpt-4.1")))
        before = [found async for found in store.spend(SessionQuery())]
        await store.append(KEY, turn("2", "failed", request(2000, model="o3")))
        [grown] = [found async for found in store.spend(SessionQuery())]
        await store.rewrite(KEY, lambda history: history.with_entries(history.entries[-5:]))
        [cut] = [found async for found in store.spend(SessionQuery())]
        await store.rewrite(KEY, lambda history: history.with_entries([]))
        [empty] = [found async for found in store.spend(SessionQuery())]
        sizes = [total(each.spend).input_tokens for each in [*before, grown, cut, empty]]
        assert sizes == [1000, 3000, 2000, 0]
        assert grown.spend is not None
        assert grown.spend.turns == {"completed": 1, "failed": 1}

    async def test_a_long_history_is_folded_whole(self, store: SessionStore) -> None:
        usage = record_entry({"type": "usage", "requests": [request(10, model="gpt-4.1")]})
        await store.create(info_of(), [usage] * 1203)
        found = await store.spend_of(await store.existing(KEY))
        assert total(found).requests == 1203

    async def test_spend_is_asked_as_sessions_are(self, store: SessionStore) -> None:
        for number, agent in enumerate(["a", "a", "b"]):
            info = info_of(SessionKey(agent, str(number)), user_id="ann" if number else "bob")
            await store.create(info, turn("1", "completed", request(100 * (number + 1))))
        everyone = [found async for found in store.spend(SessionQuery(limit=1))]
        assert sorted(found.key for found in everyone) == [("a", "0"), ("a", "1"), ("b", "2")]
        asked = [found async for found in store.spend(SessionQuery(agent_id="a", user_id="ann"))]
        assert [found.key for found in asked] == [SessionKey("a", "1")]
        assert total(asked[0].spend).input_tokens == 200
        assert [found async for found in store.spend(SessionQuery(agent_id="nobody"))] == []

    async def test_what_a_copy_has_from_its_parent_is_the_parents(self, store: SessionStore) -> None:
        old: list[Entry] = [{**entry, "at": timestamp(NOON)} for entry in turn("1", "completed", request(1000))]
        parent = await store.create(info_of(), old)
        child = SessionKey("support", "child")
        await store.copy(KEY, info_of(child, parent_id=KEY.session_id))
        await store.append(child, turn("2", "completed", request(70)))
        found = {each.key: each.spend async for each in store.spend(SessionQuery())}
        own = found[child]
        assert total(found[parent.key]).input_tokens == 1000
        assert total(own).input_tokens == 70
        assert own is not None
        assert (own.inherited, own.entries, own.turns) == (5, 5, {"completed": 1})

    async def test_no_spend_is_known_of_a_missing_session(self, store: SessionStore) -> None:
        with pytest.raises(SessionNotFoundError):
            await store.spend_of(info_of())

    async def test_days_agents_and_models_are_told_apart(self, store: SessionStore) -> None:
        rows = [request(5, agent="a", model="m"), request(6, agent="a", model="m"), request(7, agent="b", model="m")]
        usage = record_entry({"type": "usage", "requests": rows})
        await store.create(info_of(), [{**usage, "at": timestamp(NOON)}])
        found = await store.spend_of(await store.existing(KEY))
        assert {line: sums.input_tokens for line, sums in found.lines} == {
            Line("2026-11-20", "a", "m", nested=False, size=0): 11,
            Line("2026-11-20", "b", "m", nested=False, size=0): 7,
        }
        assert found.origin == Origin()

    # --- titles ---

    async def test_a_session_without_a_name_gets_its_title_from_its_first_message(self, store: SessionStore) -> None:
        asked = await store.create(info_of(), [said("Where is my\n parcel?"), said("Hello?")])
        named = await store.create(info_of(SessionKey("support", "named"), name="Order 42"), [said("Hi")])
        empty = await store.create(info_of(SessionKey("support", "empty")))
        titles = [info.title for info in await store.titled([asked, named, empty])]
        assert titles == ["Where is my parcel?", "Order 42", None]
        assert (await store.existing(KEY)).name is None

    async def test_a_title_is_found_behind_other_entries(self, store: SessionStore) -> None:
        rules = item_entry({"role": "system", "content": "Be kind."})
        info = await store.create(info_of(), [*[rules] * 12, said("At last")])
        assert [titled.title for titled in await store.titled([info])] == ["At last"]
