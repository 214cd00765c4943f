"""The model sees a summary in the place of older turns, people go on seeing all, and nothing is lost."""

import asyncio

import pytest
from agents import function_tool
from agents.testing import ModelStep
from script import agent, calls, check_totals, echo, managed, opened, says

from agents_sessions import Compacted, CompactionFailed
from agents_sessions.errors import InvalidValueError, SessionCorruptedError, SessionNotFoundError, SummariserError
from agents_sessions.keys import SessionKey
from agents_sessions.model.info import Compaction

KEY = SessionKey("support", "s")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


def acts(store, act, *agents, messages=("one", "two", "three"), **settings):
    async def run():
        async with managed(store, *(agents or [echo()]), **settings) as manager:
            await opened(manager)
            for text in messages:
                await manager.send_message("s", text)
            return await act(manager)

    return asyncio.run(run())


async def seen(manager):
    return [item["content"] for item in await manager.session("s").get_items() if item.get("role") == "user"]


async def read(manager):
    return [message.text for message in await manager.get_recent_messages("s") if message.role == "user"]


def says_it(_items):
    return "IN SHORT"


def test_the_model_sees_the_summary_and_people_the_originals(store):
    async def act(manager):
        done = await manager.summaries.compact("s", keep_turns=1, summariser=says_it)
        return (
            done,
            await seen(manager),
            await read(manager),
            await manager.get_history("s"),
            await manager.get_turns("s"),
        )

    done, items, people, history, turns = acts(store, act)
    assert (done.items, done.summary) == (4, "IN SHORT")
    assert items[0].startswith("[Summary of the conversation until ")
    assert items[0].endswith("in the place of 4 items]\nIN SHORT")
    assert items[1:] == ["three"]
    assert people == ["one", "two", "three"]
    assert len(turns) == 3
    assert (history[-1].type, history[-1].why, history[-1].summary["role"]) == ("view", "compaction", "user")
    check_totals(store)


def test_the_newest_items_come_with_the_summary_only_if_there_is_room_for_it(store):
    async def act(manager):
        await manager.summaries.compact("s", keep_turns=1, summariser=says_it)
        session = manager.session("s")
        return [len(await session.get_items(limit)) for limit in (0, 1, 2, 3, 9)], (await session.get_items(3))[0]

    counts, first = acts(store, act)
    assert counts == [0, 1, 2, 3, 3]
    assert first["content"].endswith("IN SHORT")


def test_a_second_summary_stands_for_the_first_one_too(store):
    heard = []

    def listens(items):
        heard.append([item["content"] for item in items if item.get("role") == "user"])
        return f"NUMBER {len(heard)}"

    async def act(manager):
        for _ in range(2):
            await manager.summaries.compact("s", keep_turns=1, summariser=listens)
            await manager.send_message("s", "more")
        return await seen(manager)

    items = acts(store, act)
    assert heard[0] == ["one", "two"]
    assert heard[1][0].endswith("NUMBER 1")
    assert heard[1][1:] == ["three"]
    assert items[0].endswith("NUMBER 2")
    assert items[1:] == ["more", "more"]


def test_an_undo_into_a_summary_brings_the_originals_back(store):
    async def act(manager):
        await manager.summaries.compact("s", keep_turns=1, summariser=says_it)
        await manager.undo("s", turns=2)
        found = [await seen(manager)]
        await manager.redo("s")
        return [*found, await seen(manager)]

    undone, redone = acts(store, act)
    assert undone == ["one"]
    assert redone[0].endswith("IN SHORT")


def test_an_undo_behind_a_summary_leaves_it(store):
    async def act(manager):
        await manager.summaries.compact("s", keep_turns=1, summariser=says_it)
        await manager.undo("s")
        return await seen(manager), await read(manager)

    items, people = acts(store, act)
    assert len(items) == 1
    assert people == ["one", "two"]


def test_nothing_to_sum_up_changes_nothing(store):
    async def act(manager):
        before = (await manager.get_session("s")).seq
        assert await manager.summaries.compact("s", keep_turns=3) is None
        return before == (await manager.get_session("s")).seq

    assert acts(store, act)


def test_a_turn_that_awaits_approval_stays_word_for_word(store):
    async def act(manager):
        await manager.summaries.compact("s", keep_turns=0, summariser=says_it)
        reply = await manager.resume("s", approve=True)
        return reply.text, await seen(manager)

    support = agent("support", "hello", calls("pay"), "done", tools=[pay])
    text, items = acts(store, act, support, messages=("one", "pay"))
    assert (text, items[1:]) == ("done", ["pay"])


def test_what_an_agent_spends_on_a_summary_counts_and_fills_no_context(store):
    async def act(manager):
        before = (await manager.get_session("s")).context
        await manager.summaries.compact("s", keep_turns=1, summariser=agent("writer", "IN SHORT"))
        return before, (await manager.get_session("s")).context

    before, after = acts(store, act)
    assert after.total_tokens == before.total_tokens + 15
    assert (after.last_agent, after.context_tokens) == ("support", 0)


def test_the_model_is_asked_with_a_bounded_input_and_all_originals_stay(store):
    sizes = []

    async def answer(call):
        sizes.append(len(call.input))
        return says("so")

    async def act(manager):
        return len(await manager.get_turns("s")), len(await read(manager))

    support = agent("support", *[ModelStep.respond(answer) for _ in range(40)])
    support.model.set_default_usage(None)
    compaction = Compaction(at_tokens=100, keep_turns=2)
    turns, messages = acts(
        store, act, support, messages=[f"message {n} " + "x" * 80 for n in range(40)], compaction=compaction
    )
    assert (turns, messages) == (40, 25)
    assert max(sizes) < 20


def test_the_newest_request_decides_when_the_history_is_too_long(store):
    async def act(manager):
        heard = []
        manager.on(Compacted, heard.append)
        await manager.update_session("s", compaction=Compaction(at_tokens=15, keep_turns=1))
        await manager.send_message("s", "x")
        between = len(heard)
        await manager.send_message("s", "y")
        return between, [(event.items, event.until) for event in heard], await seen(manager)

    between, heard, items = acts(store, act, messages=("one", "two"))
    assert between == 1
    assert [count for count, _ in heard] == [2, 2]
    assert items[1:] == ["x", "y"]


def test_a_summariser_that_fails_lets_the_turn_go_on_and_says_so(store, caplog):
    def fails(_items):
        raise ConnectionError("gone")

    async def act(manager):
        heard = []
        manager.on(CompactionFailed, heard.append)
        reply = await manager.send_message("s", "four")
        return reply.text, [type(event.error) for event in heard], type(heard[0].error.__cause__)

    compaction = Compaction(at_tokens=1, keep_turns=2, summariser=fails)
    text, errors, cause = acts(store, act, compaction=compaction)
    assert (text, errors, cause) == ("one two three four", [SummariserError], ConnectionError)
    assert "was not shortened: ConnectionError" in caplog.text


def test_a_message_that_is_tried_again_is_never_summed_up(store):
    class Refused(Exception):
        pass

    async def act(manager):
        with pytest.raises(Refused):
            await manager.send_message("s", "important")
        await manager.update_session("s", compaction=Compaction(at_tokens=1, keep_turns=0))
        await manager.retry("s")
        return await seen(manager)

    support = agent("support", "hello", Refused(), "well")
    items = acts(store, act, support, messages=("one",))
    assert items[0].startswith("[Summary of the conversation")
    assert items[1:] == ["important"]


def test_a_session_keeps_the_name_of_its_summariser_and_nothing_else(store):
    async def act(manager):
        with pytest.raises(InvalidValueError):
            await manager.update_session("s", compaction=Compaction(at_tokens=5, summariser=says_it))
        await manager.update_session("s", compaction=Compaction(at_tokens=5, keep_turns=0, summariser="writer"))
        await manager.send_message("s", "two")
        return await seen(manager), (await manager.get_session("s")).compaction

    items, kept = acts(store, act, echo(), agent("writer", "WRITTEN"), messages=("one",))
    assert items[0].endswith("WRITTEN")
    assert kept == Compaction(at_tokens=5, keep_turns=0, summariser="writer")


def test_what_is_no_summariser_or_writes_nothing_is_an_error(store):
    async def act(manager):
        before = (await manager.get_session("s")).seq
        with pytest.raises(InvalidValueError):
            await manager.summaries.compact("s", summariser=3)
        with pytest.raises(InvalidValueError):
            await manager.summaries.compact("s", keep_turns=-1)
        with pytest.raises(SummariserError, match="returned no text"):
            await manager.summaries.compact("s", keep_turns=0, summariser=lambda items: " ")
        with pytest.raises(SummariserError, match="UnknownAgentError"):
            await manager.summaries.summarise("s", agent="nobody")
        return before == (await manager.get_session("s")).seq

    assert acts(store, act)


def test_a_history_that_was_cleared_meanwhile_gets_no_summary(store):
    async def act(manager):
        async def slowly(_items):
            await manager.session("s").clear_session()
            return "late"

        with pytest.raises(Exception, match="someone wrote"):
            await manager.summaries.compact("s", keep_turns=0, summariser=slowly)
        return await seen(manager)

    assert acts(store, act) == []


def test_pop_takes_a_summary_that_is_all_there_is_and_does_not_show_the_originals(store):
    async def act(manager):
        await manager.summaries.compact("s", keep_turns=0, summariser=says_it)
        popped = await manager.session("s").pop_item()
        return popped["content"].endswith("IN SHORT"), await seen(manager), await read(manager)

    assert acts(store, act) == (True, [], ["one", "two", "three"])


def test_a_saved_summary_is_loaded_again_and_knows_how_far_it_goes(store):
    async def act(manager):
        assert await manager.summaries.load("s") is None
        saved = await manager.summaries.save("s", "All well.")
        made = await manager.summaries.summarise("s", agent=says_it)
        loaded = await manager.summaries.load("s")
        return saved.seq == (await manager.get_session("s")).seq, made.text, loaded == made

    assert acts(store, act) == (True, "IN SHORT", True)


def test_a_summary_that_cannot_be_read_or_saved_is_an_error(store):
    async def act(manager):
        for text in ("", " ", 3):
            with pytest.raises(InvalidValueError):
                await manager.summaries.save("s", text)
        with pytest.raises(SessionNotFoundError):
            await manager.summaries.load("t")
        await store.write_sidecar(KEY, "summary.json", b"{}")
        with pytest.raises(SessionCorruptedError):
            await manager.summaries.load("s")

    acts(store, act)


def test_the_resume_message_says_what_happened_what_is_open_and_what_waits(store):
    async def act(manager):
        first = await manager.summaries.resume_message("s")
        await manager.summaries.save("s", "They met.")
        await manager.send_message("s", "pay him")
        return first, await manager.summaries.resume_message("s")

    support = agent("support", "hello", calls("pay", arguments='{"n": 1}'), tools=[pay])
    first, second = acts(store, act, support, messages=("Hi there",))
    assert "What happened:\n- Asked: Hi there Answered: hello" in first
    assert "What happened:\nThey met.\n\nSince then:\n- Asked: pay him Tools: pay" in second
    assert "Not answered yet:\n- pay him" in second
    assert 'Waits for approval:\n- pay {"n": 1} (support)' in second
    assert "The conversation is with support." in second


def test_a_summary_by_an_agent_is_asked_with_the_whole_conversation(store):
    heard = []

    async def writes(call):
        heard.append(call.input)
        return says("SHORT")

    async def act(manager):
        summary = await manager.summaries.summarise("s", agent=agent("writer", ModelStep.respond(writes)))
        return summary.text, (await manager.get_session("s")).context.total_tokens

    assert acts(store, act) == ("SHORT", 4 * 15)
    text = heard[0] if isinstance(heard[0], str) else heard[0][0]["content"]
    assert "user: two" in text
    assert "support: one two" in text
