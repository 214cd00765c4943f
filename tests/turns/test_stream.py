import asyncio
import contextlib
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from agents import function_tool
from script import agent, calls, check_totals, echo, managed, opened, stored, turn

from agents_sessions.errors import TurnCancelledError
from agents_sessions.turns.events import TurnFailed, TurnStarted

WHOLE = ["user", "function_call", "function_call_output", "usage:1", "assistant", "usage:1", "completed"]


@function_tool
async def look() -> str:
    await asyncio.sleep(0.01)
    return "found"


@function_tool
async def wait() -> str:
    await asyncio.sleep(30)
    return "too late"


def looking():
    return agent("support", calls("look"), "done", "next", "third", tools=[look])


@pytest.fixture(autouse=True)
def no_lost_exceptions(caplog):
    """No task ends with an exception that no one has seen."""
    yield
    gc.collect()
    lost = [record for record in caplog.records if record.name == "asyncio"]
    assert not lost, lost


async def is_free(manager, session_id) -> bool:
    reply = await manager.send_message(session_id, "next", lock_timeout=0)
    return reply.status == "completed"


def test_events_come_while_the_turn_runs(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        return [event.type async for event in stream.stream_events()], await stream.reply()

    kinds, reply = turn(store, looking(), act=run)
    assert {"raw_response_event", "run_item_stream_event", "agent_updated_stream_event"} == set(kinds)
    assert reply.text == "done"
    assert stored(store) == WHOLE
    check_totals(store)


def test_the_session_is_held_until_the_run_has_ended(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        events = stream.stream_events()
        await anext(events)
        waiting = asyncio.create_task(manager.send_message(session_id, "next"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        async for _ in events:
            pass
        return (await waiting).text

    assert turn(store, looking(), act=run) == "next"
    assert stored(store) == [*WHOLE, "user", "assistant", "usage:1", "completed"]


def test_the_session_is_free_after_the_last_event(store):
    async def run(manager, session_id):
        async for _ in manager.stream_message(session_id, "hello").stream_events():
            pass
        return await is_free(manager, session_id)

    assert turn(store, looking(), act=run)


def test_a_reply_needs_no_reader(store):
    async def run(manager, session_id):
        return await manager.stream_message(session_id, "hello").reply()

    assert turn(store, looking(), act=run).text == "done"
    assert stored(store) == WHOLE


def test_a_reader_that_breaks_off_lets_the_run_end(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        async for _ in stream.stream_events():
            break
        reply = await asyncio.wait_for(stream.reply(), 60)
        assert await is_free(manager, session_id)
        return reply

    assert turn(store, looking(), act=run).status == "completed"
    assert stored(store)[: len(WHOLE)] == WHOLE
    check_totals(store)


def test_a_run_goes_on_when_the_task_of_its_reader_has_ended(store):
    """Also if the reader left the iterator half read where it is not collected."""

    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        events = stream.stream_events()

        async def read() -> None:
            await anext(events)

        await asyncio.create_task(read())
        await manager.send_message(session_id, "next", lock_timeout=60)
        await events.aclose()

    turn(store, looking(), act=run)
    assert stored(store)[: len(WHOLE)] == WHOLE


@pytest.mark.parametrize("slow", [False, True], ids=["waiting", "busy"])
def test_a_reader_that_is_cancelled_cancels_the_run(store, slow):
    async def run():
        asked = asyncio.Event()

        @function_tool
        async def wait() -> str:
            asked.set()
            await asyncio.sleep(60)
            return "never"

        manager = managed(store, agent("support", calls("wait"), "next", tools=[wait]))
        stream = manager.stream_message(await opened(manager), "hello")

        async def read() -> None:
            async for _ in stream.stream_events():
                if slow and asked.is_set():
                    await asyncio.sleep(60)

        reader = asyncio.create_task(read())
        await asyncio.wait_for(asked.wait(), 60)
        await asyncio.sleep(0.01)
        reader.cancel()
        await asyncio.wait({reader})
        reply = await asyncio.wait_for(stream.reply(), 60)
        assert await is_free(manager, "s")
        return reply

    assert asyncio.run(run()).status == "cancelled"
    assert stored(store)[:3] == ["user", "usage:1", "cancelled"]
    check_totals(store)


def test_an_immediate_cancel_ends_the_run_now(store):
    async def run():
        @function_tool
        async def wait() -> str:
            stream.cancel()
            await asyncio.sleep(60)
            return "never"

        manager = managed(store, agent("support", calls("wait"), "next", tools=[wait]))
        stream = manager.stream_message(await opened(manager), "hello")
        reply = await asyncio.wait_for(stream.reply(), 60)
        assert await is_free(manager, "s")
        return reply

    assert asyncio.run(run()).status == "cancelled"
    assert stored(store)[:3] == ["user", "usage:1", "cancelled"]
    check_totals(store)


def test_a_cancel_after_the_turn_keeps_the_tools_outputs_and_asks_the_model_no_more(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        async for event in stream.stream_events():
            if event.type == "run_item_stream_event" and event.name == "tool_called":
                stream.cancel("after_turn")
        reply = await stream.reply()
        assert await is_free(manager, session_id)
        return reply

    assert turn(store, looking(), act=run).status == "cancelled"
    assert stored(store)[:5] == ["user", "function_call", "function_call_output", "usage:1", "cancelled"]
    check_totals(store)


def test_a_cancel_after_the_turn_at_its_last_event_is_in_time(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        async for event in stream.stream_events():
            if event.type == "run_item_stream_event" and event.name == "tool_output":
                await asyncio.sleep(0.05)
                stream.cancel("after_turn")
        return await stream.reply()

    assert turn(store, looking(), act=run).status == "cancelled"


def test_an_error_of_the_run_reaches_the_reader(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        with pytest.raises(ConnectionError):
            async for _ in stream.stream_events():
                pass
        return await is_free(manager, session_id)

    assert turn(store, agent("support", ConnectionError("gone"), "next"), act=run)
    assert stored(store)[:2] == ["user", "failed"]


def test_an_error_of_the_run_that_no_one_waits_for_is_no_lost_exception(store):
    async def run(manager, session_id):
        ended = asyncio.Event()
        manager.on(TurnFailed, lambda _event: ended.set())
        manager.stream_message(session_id, "hello")
        await asyncio.wait_for(ended.wait(), 60)
        return (await manager.send_message(session_id, "next", lock_timeout=60)).status == "completed"

    assert turn(store, agent("support", ConnectionError("gone"), "next"), act=run)


def test_an_error_of_the_reader_lets_the_run_end(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        with contextlib.suppress(KeyError):
            async for _ in stream.stream_events():
                raise KeyError
        return await asyncio.wait_for(stream.reply(), 60)

    assert turn(store, looking(), act=run).status == "completed"
    assert stored(store) == WHOLE


def test_the_answer_is_stored_while_a_slow_reader_has_events_left(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        events = stream.stream_events()
        await anext(events)
        answer = await manager.send_message(session_id, "next", lock_timeout=60)
        return answer.text, [event.type async for event in events]

    text, rest = turn(store, agent("support", "done", "next"), act=run)
    assert text == "next"
    assert rest


def test_a_stream_that_waits_for_its_session_can_be_cancelled(store):
    async def run(manager, session_id):
        first = asyncio.create_task(manager.send_message(session_id, "one"))
        await asyncio.sleep(0.02)
        stream = manager.stream_message(session_id, "two")
        await asyncio.sleep(0.02)
        stream.cancel()
        with pytest.raises(TurnCancelledError):
            await stream.reply()
        await first

    turn(store, echo(pause=0.5), act=run)
    assert stored(store) == ["user", "assistant", "usage:1", "completed"]


def test_closing_the_manager_ends_its_streams(store):
    async def run():
        tool_runs = asyncio.Event()

        @function_tool
        async def wait() -> str:
            tool_runs.set()
            await asyncio.sleep(60)
            return "never"

        manager = managed(store, agent("support", calls("wait"), tools=[wait]))
        stream = manager.stream_message(await opened(manager), "hello")
        events = stream.stream_events()
        await anext(events)
        waiting = [manager.stream_message("s", "waits") for _ in range(5)]
        await asyncio.wait_for(tool_runs.wait(), 30)
        await manager.aclose(drain_timeout=0)
        for each in waiting:
            with pytest.raises(TurnCancelledError):
                await each.reply()
        await events.aclose()
        return await stream.reply()

    assert asyncio.run(run()).status == "cancelled"
    assert stored(store) == ["user", "usage:1", "cancelled"]


def test_a_loop_that_ends_with_a_live_stream_ends_the_turn_after_the_run(store):
    ended = []

    async def run():
        asked = asyncio.Event()

        @function_tool
        async def wait() -> str:
            asked.set()
            await asyncio.sleep(60)
            return "never"

        manager = managed(store, agent("support", calls("wait"), tools=[wait]))
        stream = manager.stream_message(await opened(manager), "hello")
        manager.on(TurnFailed, lambda _event: ended.append(stream._result.run_loop_task.done()))
        await asked.wait()

    asyncio.run(run())
    assert ended == [True]
    assert stored(store) == ["user", "usage:1", "cancelled"]


def test_events_are_read_once(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        async for _ in stream.stream_events():
            pass
        with pytest.raises(RuntimeError, match="once"):
            await anext(stream.stream_events())

    turn(store, looking(), act=run)


def test_wrong_options_of_a_stream_are_refused_at_once(store):
    async def run(manager, session_id):
        with pytest.raises(TypeError, match="previous_response_id cannot be combined"):
            manager.stream_message(session_id, "hello", previous_response_id="r")

    turn(store, looking(), act=run)


@pytest.mark.parametrize("inside", [False, True], ids=["after a break", "inside the loop"])
def test_a_reader_that_asks_for_the_reply_lets_the_run_end(store, inside):
    """Also if it keeps the iterator, which no one closes then."""

    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        events = stream.stream_events()
        async for _ in events:
            if not inside:
                break
            assert (await asyncio.wait_for(stream.reply(), 60)).text == "done"
        assert (await asyncio.wait_for(stream.reply(), 60)).text == "done"
        assert await is_free(manager, session_id)

    turn(store, looking(), act=run)


def test_closing_a_manager_ends_the_streams_of_other_threads(store):
    begun, closed = threading.Event(), threading.Event()
    manager = managed(store, agent("support", calls("wait"), "done", tools=[wait]))

    async def stream() -> str:
        await opened(manager)
        reply = manager.stream_message("s", "hello")
        while (await manager.get_session("s")).context.items == 0:
            await asyncio.sleep(0.001)
        begun.set()
        await asyncio.to_thread(closed.wait, 60)
        return (await reply.reply()).status

    async def close() -> None:
        await asyncio.wait_for(manager.aclose(drain_timeout=0), 60)
        closed.set()

    with ThreadPoolExecutor() as pool:
        streaming = pool.submit(asyncio.run, stream())
        assert begun.wait(60)
        asyncio.run(close())
        assert streaming.result(60) == "cancelled"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK's own tasks go with the loop
def test_a_stream_whose_loop_was_closed_is_in_the_way_of_no_one(store, caplog):
    manager = managed(store, agent("support", calls("wait"), "after", tools=[wait]))

    async def begin() -> None:
        await opened(manager)
        manager.stream_message("s", "hello")
        while (await manager.get_session("s")).context.items == 0:
            await asyncio.sleep(0.001)

    async def after() -> str:
        await asyncio.wait_for(manager.aclose(), 60)
        gc.collect()
        return (await managed(store, agent("support", "after")).send_message("s", "next", lock_timeout=60)).text

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    del loop
    assert asyncio.run(after()) == "after"
    assert "interrupted" in stored(store)
    caplog.clear()  # asyncio tells of the tasks that the loop took with it


def test_a_stream_that_is_cancelled_before_the_runner_is_called_can_be_tried_again(store):
    async def run(manager, session_id):
        async def listen(_event) -> None:
            stream.cancel()
            await asyncio.sleep(0)

        forget = manager.on(TurnStarted, listen)
        stream = manager.stream_message(session_id, "hello")
        with pytest.raises(TurnCancelledError, match="before any model was asked"):
            await stream.reply()
        forget()
        return await manager.retry(session_id)

    assert [entry.text for entry in turn(store, agent("support", "done"), act=run).entries if entry.type == "item"] == [
        "hello",
        "done",
    ]


# --- the short forms ---


def test_the_text_comes_piece_by_piece(store):
    async def run(manager, session_id):
        return [text async for text in manager.stream_message(session_id, "hello").text_deltas()]

    assert "".join(turn(store, looking(), act=run)) == "done"


def test_a_reader_of_the_text_that_breaks_off_lets_the_run_end(store):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello")
        async for _ in stream.text_deltas():
            break
        return await asyncio.wait_for(stream.reply(), 60)

    assert turn(store, looking(), act=run).status == "completed"


def test_the_turn_is_over_when_its_block_is_left(store):
    async def run(manager, session_id):
        async with manager.stream_message(session_id, "hello") as stream:
            async for _ in stream.stream_events():
                break
        assert await is_free(manager, session_id)
        return await stream.reply()

    assert turn(store, looking(), act=run).status == "completed"


def test_an_error_in_the_block_cancels_the_turn(store):
    async def run(manager, session_id):
        with contextlib.suppress(KeyError):
            async with manager.stream_message(session_id, "hello") as stream:
                async for _ in stream.stream_events():
                    raise KeyError
        assert await is_free(manager, session_id)
        return await stream.reply()

    assert turn(store, looking(), act=run).status == "cancelled"


def test_what_ended_the_turn_is_raised_at_the_end_of_its_block(store):
    async def run(manager, session_id):
        with pytest.raises(ConnectionError):
            async with manager.stream_message(session_id, "hello"):
                pass

    turn(store, agent("support", ConnectionError("gone")), act=run)


def test_an_error_that_the_block_has_seen_is_not_raised_again(store):
    async def run(manager, session_id):
        async with manager.stream_message(session_id, "hello") as stream:
            with contextlib.suppress(ConnectionError):
                await stream.reply()

    turn(store, agent("support", ConnectionError("gone")), act=run)
