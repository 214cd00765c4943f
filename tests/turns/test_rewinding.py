"""Turns are taken back and brought back, with all that the history says of them, and nothing is lost by it."""

import asyncio

import pytest
from agents import function_tool
from agents.testing import function_call
from script import agent, calls, check_totals, echo, managed, opened, says, to

from agents_sessions.errors import (
    InvalidValueError,
    NothingToRedoError,
    NothingToResumeError,
    NothingToRetryError,
    NothingToUndoError,
    PositionNotFoundError,
    PositionTakenBackError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry

KEY = SessionKey("support", "s")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


def acts(store, *agents, act, messages=("one", "two", "three"), **settings):
    """Send some messages, do `act`, and return what comes of it."""

    async def run():
        async with managed(store, *(agents or [echo()]), **settings) as manager:
            await opened(manager)
            for text in messages:
                await manager.send_message("s", text)
            return await act(manager)

    return asyncio.run(run())


async def seen(manager):
    """What the model sees: the texts of its users."""
    return [item["content"] for item in await manager.session("s").get_items() if item.get("role") == "user"]


async def read(manager):
    """What people see."""
    return [message.text for message in await manager.get_recent_messages("s") if message.role == "user"]


def test_an_undone_turn_is_seen_by_no_one_and_still_there(store):
    async def act(manager):
        before = await manager.get_history("s")
        (gone,) = await manager.undo("s")
        after = await manager.get_history("s")
        return before, gone.text, await seen(manager), await read(manager), after, await manager.get_turns("s")

    before, text, items, messages, after, turns = acts(store, act=act)
    assert (text, items, messages) == ("three", ["one", "two"], ["one", "two"])
    assert after[:-1] == before
    assert after[-1].type == "view"
    assert [turn.text for turn in turns] == ["one", "two"]


def test_the_next_message_goes_on_where_the_undone_turn_began(store):
    async def act(manager):
        await manager.undo("s", turns=2)
        return (await manager.send_message("s", "again")).text

    assert acts(store, act=act) == "one again"


def test_what_an_undone_turn_has_cost_stays_spent(store):
    async def act(manager):
        before = (await manager.get_session("s")).context
        await manager.undo("s")
        return before, (await manager.get_session("s")).context

    before, after = acts(store, act=act)
    assert (after.total_tokens, after.turns, after.requests) == (before.total_tokens, before.turns, before.requests)
    assert after.context_tokens == 0
    check_totals(store)


def test_a_handoff_is_undone_with_its_turn(store):
    async def act(manager):
        handed = (await manager.get_session("s")).context.last_agent
        await manager.undo("s")
        return handed, (await manager.get_session("s")).context.last_agent

    billing = agent("billing", "billed")
    support = agent("support", "hello", to("billing"), handoffs=[billing])
    assert acts(store, support, act=act, messages=("one", "two")) == ("billing", "support")


def test_redo_brings_back_one_undo_after_the_other(store):
    async def act(manager):
        await manager.undo("s")
        await manager.undo("s")
        found = [await seen(manager)]
        for _ in range(2):
            await manager.redo("s")
            found.append(await seen(manager))
        with pytest.raises(NothingToRedoError):
            await manager.redo("s")
        return found

    assert acts(store, act=act) == [["one"], ["one", "two"], ["one", "two", "three"]]


def test_nothing_is_left_of_a_view_once_all_is_brought_back(store):
    async def act(manager):
        before = (await manager.get_session("s")).context
        await manager.undo("s")
        (back,) = await manager.redo("s")
        return before, (await manager.get_session("s")).context, back.text

    before, after, text = acts(store, act=act)
    assert (after.view, after.last_status, after.last_agent) == (None, "completed", before.last_agent)
    assert text == "three"


def test_a_turn_ends_what_can_be_redone(store):
    async def act(manager):
        await manager.undo("s")
        await manager.send_message("s", "four")
        with pytest.raises(NothingToRedoError, match="since the last turn"):
            await manager.redo("s")
        return await seen(manager)

    assert acts(store, act=act) == ["one", "two", "four"]


def test_undo_asks_for_as_many_turns_as_there_are(store):
    async def act(manager):
        with pytest.raises(NothingToUndoError, match="2 turns to take back, not 3"):
            await manager.undo("s", turns=3)
        with pytest.raises(InvalidValueError):
            await manager.undo("s", turns=0)
        await manager.undo("s", turns=2)
        with pytest.raises(NothingToUndoError):
            await manager.undo("s")
        return await seen(manager)

    assert acts(store, act=act, messages=("one", "two")) == []


def test_undo_ends_what_awaits_approval(store):
    async def act(manager):
        await manager.undo("s")
        assert await manager.pending_approvals("s") == []
        with pytest.raises(NothingToResumeError):
            await manager.resume("s", approve=True)
        return (await manager.send_message("s", "instead")).text, await seen(manager)

    support = agent("support", calls("pay"), "fine", tools=[pay])
    assert acts(store, support, act=act, messages=("pay",)) == ("fine", ["instead"])


def test_a_failed_turn_can_be_taken_back_and_is_not_retried_then(store):
    class Refused(Exception):
        pass

    async def act(manager):
        with pytest.raises(Refused):
            await manager.send_message("s", "broken picture")
        (gone,) = await manager.undo("s")
        with pytest.raises(NothingToRetryError):
            await manager.retry("s")
        return gone.status, (await manager.send_message("s", "fine")).text, await seen(manager)

    support = agent("support", "hello", Refused(), "well")
    assert acts(store, support, act=act, messages=("one",)) == ("failed", "well", ["one", "fine"])


def test_a_turn_whose_process_died_is_ended_before_it_is_taken_back(store):
    async def act(manager):
        await store.append(KEY, [item_entry({"role": "user", "content": "cut off"}, turn="t9")])
        (gone,) = await manager.undo("s")
        return gone.status, (await manager.get_session("s")).context.open_turn, await seen(manager)

    assert acts(store, act=act, messages=("one",)) == ("interrupted", None, ["one"])


def test_pop_takes_the_newest_item_that_is_seen(store):
    async def act(manager):
        await manager.undo("s")
        popped = await manager.session("s").pop_item()
        await manager.redo("s")
        return popped["content"][0]["text"], await seen(manager), len(await manager.session("s").get_items())

    assert acts(store, act=act) == ("one two", ["one", "two", "three"], 5)


def test_a_rewind_keeps_the_turn_that_it_names(store):
    async def act(manager):
        first, *_ = await manager.get_turns("s")
        gone = await manager.rewind("s", turn=first.id)
        return [turn.text for turn in gone], await seen(manager)

    assert acts(store, act=act) == (["two", "three"], ["one"])


def test_a_rewind_to_an_entry_keeps_its_whole_turn(store):
    async def act(manager):
        first, second, _ = await manager.get_turns("s")
        await manager.rewind("s", seq=second.first)
        found = [await seen(manager)]
        await manager.rewind("s", seq=first.last)
        found.append(await seen(manager))
        await manager.rewind("s", seq=0)
        return [*found, await seen(manager)]

    assert acts(store, act=act) == [["one", "two"], ["one"], []]


def test_a_rewind_to_the_end_changes_nothing(store):
    async def act(manager):
        before = await manager.get_history("s")
        assert await manager.rewind("s", turn=(await manager.get_turns("s"))[-1].id) == []
        return before == await manager.get_history("s")

    assert acts(store, act=act)


def test_a_position_that_is_not_there_or_was_taken_back_is_refused(store):
    async def act(manager):
        last = (await manager.get_turns("s"))[-1]
        await manager.undo("s")
        for error, position in [
            (PositionNotFoundError, {"turn": "nothing"}),
            (PositionNotFoundError, {"seq": 900}),
            (PositionTakenBackError, {"turn": last.id}),
            (PositionTakenBackError, {"seq": last.first}),
            (InvalidValueError, {}),
            (InvalidValueError, {"turn": last.id, "seq": 3}),
            (InvalidValueError, {"seq": -1}),
        ]:
            with pytest.raises(error):
                await manager.rewind("s", **position)
        return await seen(manager)

    assert acts(store, act=act) == ["one", "two"]


def test_regenerate_answers_the_same_message_once_more(store):
    async def act(manager):
        reply = await manager.regenerate("s")
        return reply.text, await seen(manager), [turn.text for turn in await manager.get_turns("s", taken_back=True)]

    support = agent("support", "hello", "good", "better")
    assert acts(store, support, act=act, messages=("one", "two")) == ("better", ["one", "two"], ["one", "two", "two"])


def test_an_edited_message_stands_in_the_place_of_the_last_one(store):
    async def act(manager):
        stream = manager.stream_edit_last_message("s", "2")
        return (await stream.reply()).text, await read(manager)

    assert acts(store, act=act, messages=("one", "two")) == ("one 2", ["one", "2"])


def test_a_turn_that_could_not_be_replaced_is_back(store):
    async def act(manager):
        manager._registry._named.clear()
        with pytest.raises(LookupError):
            await manager.regenerate("s")
        return await seen(manager)

    assert acts(store, act=act) == ["one", "two", "three"]


def test_nothing_can_be_regenerated_where_nothing_was_said(store):
    async def act(manager):
        with pytest.raises(NothingToUndoError):
            await manager.regenerate("s")

    acts(store, act=act, messages=())


def test_an_item_is_removed_with_its_partners(store):
    async def act(manager):
        items = [entry for entry in await manager.get_history("s") if entry.type == "item"]
        call = next(entry for entry in items if entry.kind == "function_call")
        gone = await manager.remove("s", call.seq)
        kinds = [item.get("type", item.get("role")) for item in await manager.session("s").get_items()]
        await manager.redo("s")
        return len(gone), kinds, len(await manager.session("s").get_items()) == len(items)

    look = function_tool(lambda: "seen", name_override="look")
    support = agent("support", [function_call("look", "{}", call_id="c1")], "done", tools=[look])
    assert acts(store, support, act=act, messages=("look",)) == (2, ["user", "message"], True)


def test_what_is_no_item_cannot_be_removed(store):
    async def act(manager):
        last = (await manager.get_turns("s"))[-1].last
        with pytest.raises(InvalidValueError, match="is a record"):
            await manager.remove("s", last)
        with pytest.raises(PositionNotFoundError):
            await manager.remove("s", 99)
        await manager.remove("s", 1)
        with pytest.raises(PositionTakenBackError):
            await manager.remove("s", 1)

    acts(store, act=act, messages=("one",))


def test_the_turns_of_a_bare_session_begin_at_user_messages(store):
    async def act(manager):
        session = manager.session("s")
        for text in ("one", "two"):
            await session.add_items([{"role": "user", "content": text}, *[{"role": "assistant", "content": "so"}] * 2])
        turns = await manager.get_turns("s")
        await manager.undo("s")
        return [(turn.id, turn.text, turn.status) for turn in turns], await seen(manager)

    turns = [("at-1", "one", None), ("at-4", "two", None)]
    assert acts(store, act=act, messages=()) == (turns, ["one"])


def test_the_newest_turns_come_without_the_others(store):
    async def act(manager):
        await manager.undo("s")
        return [[turn.text for turn in await manager.get_turns("s", limit=limit)] for limit in (0, 1, 9)]

    assert acts(store, act=act) == [[], ["two"], ["one", "two"]]


def test_a_message_is_answered_by_who_had_the_conversation_before_the_undone_handoff(store):
    async def act(manager):
        await manager.undo("s")
        return (await manager.send_message("s", "three")).last_agent

    billing = agent("billing", "billed")
    support = agent("support", "hello", to("billing"), says("mine"), handoffs=[billing])
    assert acts(store, support, act=act, messages=("one", "two")) == "support"
