import asyncio
import gc
import pickle

import pytest
from agents import GuardrailFunctionOutput, InputGuardrail, InputGuardrailTripwireTriggered, function_tool
from agents.testing import ModelStep
from script import QUIET, agent, calls, check_totals, echo, managed, opened, says, scripted, stored, to, turn, word

from agents_sessions.errors import (
    InvalidItemError,
    MessageNotKeptError,
    NothingToRetryError,
    ReplyNotStoredError,
    SessionLimitError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.events import TurnStarted

KEY = SessionKey("support", "s")
GONE = ConnectionError("gone")
USER = {"role": "user", "content": "hello"}


@function_tool
async def look() -> str:
    await asyncio.sleep(0)
    return "found"


def failing(store, *steps, **options):
    """Send one message that fails."""

    async def run(manager, session_id):
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "hello", **options)

    turn(store, agent("support", *steps, GONE, tools=[look]), act=run)


def retried(store, *steps, **options):
    async def run():
        return await managed(store, agent("support", *steps, tools=[look])).retry("s", **options)

    return asyncio.run(run())


def items(store):
    return [entry["item"] for entry in asyncio.run(store.entries(KEY)) if "item" in entry]


def test_a_failed_turn_keeps_what_it_stored(store):
    failing(store, calls("look"))
    assert stored(store) == ["user", "function_call", "function_call_output", "usage:1", "failed"]


def test_a_failed_turn_keeps_the_name_of_its_error_alone(store):
    failing(store)
    record = asyncio.run(store.entries(KEY))[-1]["record"]
    assert record["error"] == "ConnectionError"
    assert "gone" not in str(record)


def test_a_failed_turn_is_counted(store):
    failing(store)
    totals = check_totals(store)
    assert (totals.turns, totals.failed_turns, totals.last_status) == (1, 1, "failed")


def test_a_failed_turn_keeps_the_usage_that_it_spent(store):
    failing(store, calls("look"))
    assert check_totals(store).total_tokens == 15


def test_a_failed_turn_that_is_rolled_back_leaves_no_item(store):
    failing(store, calls("look"), on_failure="rollback")
    assert stored(store) == ["usage:1", "failed"]


def test_a_failed_turn_that_is_rolled_back_keeps_its_cost(store):
    failing(store, calls("look"), on_failure="rollback")
    assert check_totals(store).total_tokens == 15


def test_a_rollback_leaves_the_turns_before_it(store):
    async def run(manager, session_id):
        await manager.send_message(session_id, "one")
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "two", on_failure="rollback")

    turn(store, agent("support", "first", GONE), act=run)
    assert stored(store) == ["user", "assistant", "usage:1", "completed", "failed"]


def test_a_rollback_takes_a_handoff_back(store):
    async def run(manager, session_id):
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "two", on_failure="rollback")
        return await manager.get_session(session_id)

    info = turn(store, agent("support", to("billing"), handoffs=[agent("billing", GONE)]), act=run)
    assert (info.context.last_agent, info.context.handoffs) == ("support", 0)


def test_a_retry_after_keep_does_not_store_the_message_twice(store):
    failing(store)
    assert retried(store, "done").text == "done"
    assert stored(store) == ["user", "failed", "assistant", "usage:1", "completed"]


def test_a_retry_after_keep_sees_the_outputs_of_the_tools_that_ran(store):
    failing(store, calls("look"))
    model = scripted("done")
    support = agent("support", tools=[look])
    support.model = model
    asyncio.run(managed(store, support).retry("s"))
    kinds = [item.get("type", item.get("role")) for item in model.last_call.input]
    assert kinds == ["user", "function_call", "function_call_output"]


def test_a_retry_after_rollback_sends_the_message_again(store):
    failing(store, calls("look"), on_failure="rollback")
    assert retried(store, "done").text == "done"
    assert stored(store) == ["usage:1", "failed", "user", "assistant", "usage:1", "completed"]
    assert items(store)[0] == {"role": "user", "content": "hello"}


async def never(_call):
    await asyncio.sleep(60)


@pytest.mark.parametrize("by", ["stream", "reader"])
def test_a_cancelled_stream_is_rolled_back(store, by):
    async def run(manager, session_id):
        stream = manager.stream_message(session_id, "hello", on_failure="rollback")

        async def read():
            async for _ in stream.stream_events():
                pass

        reader = asyncio.create_task(read())
        while (await manager.get_session(session_id)).context.function_call_outputs == 0:
            await asyncio.sleep(0)
        (stream if by == "stream" else reader).cancel()
        await asyncio.wait({reader})
        return await stream.reply()

    reply = turn(store, agent("support", calls("look"), ModelStep.respond(never), tools=[look]), act=run)
    assert (reply.status, [word(entry) for entry in reply.entries]) == ("cancelled", ["usage:1", "cancelled"])
    assert stored(store) == ["usage:1", "cancelled"]
    retried(store, "done")
    assert items(store)[0] == USER


def test_a_turn_whose_answer_could_not_be_stored_is_rolled_back(tmp_path):
    store = FileStore(tmp_path, durability="process", max_item_bytes=1000)

    async def run(manager, session_id):
        with pytest.raises(ReplyNotStoredError) as caught:
            await manager.send_message(session_id, "hello", on_failure="rollback")
        return caught.value.reply

    reply = turn(store, agent("support", calls("look"), "x" * 2000, tools=[look]), act=run)
    assert (reply.text, [word(entry) for entry in reply.entries]) == ("x" * 2000, stored(store))
    assert stored(store) == ["usage:1", "usage:1", "failed"]
    retried(store, "done")
    assert items(store)[0] == USER


CONVERSATION = [
    {"role": "user", "content": "u1"},
    {"role": "assistant", "content": "a1"},
    {"type": "function_call", "call_id": "z", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "z", "output": "found"},
    {"role": "user", "content": "u2"},
]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_retry_after_rollback_sends_a_message_of_many_items_again(store, streamed):
    async def run(manager, session_id):
        options = {"on_failure": "rollback"}
        send = manager.stream_message(session_id, CONVERSATION, **options).reply() if streamed else None
        with pytest.raises(ConnectionError):
            await (send or manager.send_message(session_id, CONVERSATION, **options))

    turn(store, agent("support", calls("look"), GONE, tools=[look]), act=run)
    assert items(store) == []
    retried(store, "done")
    assert items(store)[:-1] == CONVERSATION


def test_a_retry_after_rollback_of_a_rejection_sends_a_message_of_many_items_again(store):
    @function_tool(needs_approval=True)
    def pay() -> str:
        return "paid"

    async def run(manager, session_id):
        await manager.send_message(session_id, "hello")
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, CONVERSATION, on_pending="reject", on_failure="rollback")

    turn(store, agent("support", calls("pay"), GONE, tools=[pay]), act=run)
    retried(store, "done")
    assert items(store)[:-1] == [{"role": "user", "content": "hello"}, *CONVERSATION]


def test_what_a_message_holds_is_of_no_agent_whatever_it_is(store):
    said = {"role": "assistant", "content": "a1"}
    reply = turn(store, echo(), act=lambda manager, session_id: manager.send_message(session_id, [said, said, USER]))
    assert [entry.agent for entry in reply.entries if entry.type == "item"] == [None, None, None, "support"]


def test_a_retry_can_be_streamed(store):
    failing(store)

    async def run():
        stream = managed(store, agent("support", "done")).stream_retry("s")
        kinds = [event.type async for event in stream.stream_events()]
        return kinds, await stream.reply()

    kinds, reply = asyncio.run(run())
    assert "raw_response_event" in kinds
    assert reply.text == "done"
    assert stored(store) == ["user", "failed", "assistant", "usage:1", "completed"]


def test_a_retry_can_fail_and_be_tried_again(store):
    failing(store, on_failure="rollback")
    with pytest.raises(ConnectionError):
        retried(store, GONE, on_failure="rollback")
    with pytest.raises(ConnectionError):
        retried(store, GONE)
    assert retried(store, "done").text == "done"
    assert [item["role"] for item in items(store)] == ["user", "assistant"]
    check_totals(store)


def test_a_retry_finds_the_message_of_a_turn_that_failed_before_it_was_stored(store):
    async def give_up(_event):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def run(manager, session_id):
        manager.on(TurnStarted, give_up)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(manager.send_message(session_id, "hello"))

    turn(store, agent("support"), act=run)
    assert retried(store, "done").text == "done"
    assert [item["role"] for item in items(store)] == ["user", "assistant"]


def test_only_a_failed_turn_can_be_retried(store):
    turn(store, agent("support", "done"))
    with pytest.raises(NothingToRetryError, match="has not failed"):
        retried(store)


def test_content_that_is_no_json_is_refused_before_anything_happens(store):
    async def run(manager, session_id):
        with pytest.raises(InvalidItemError):
            await manager.send_message(session_id, [{"role": "user", "content": {1, 2}}])

    turn(store, agent("support"), act=run)
    assert stored(store) == []


def test_a_cancelled_turn_can_be_retried(store):
    async def run(manager, session_id):
        sending = asyncio.create_task(manager.send_message(session_id, "hello"))
        while not waiting:
            await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    waiting = []

    @function_tool
    async def wait() -> str:
        waiting.append(True)
        await asyncio.sleep(60)
        return "never"

    turn(store, agent("support", calls("wait"), tools=[wait]), act=run)
    assert stored(store) == ["user", "usage:1", "cancelled"]
    assert retried(store, "done").text == "done"


class FullMemory(MemoryStore):
    """A store that cannot take the end of a turn."""

    full = True

    async def append(self, key, entries, **options):
        if self.full and any("record" in entry and entry["record"]["type"] == "turn" for entry in entries):
            raise OSError(28, "No space left on device")
        return await super().append(key, entries, **options)


class NoOutputs(MemoryStore):
    """A store that cannot take what tools give."""

    async def append(self, key, entries, **options):
        if any("output" in entry.get("item", {}) for entry in entries):
            raise OSError(27, "File too large")
        return await super().append(key, entries, **options)


def test_a_turn_whose_items_cannot_be_stored_keeps_its_cost():
    async def run(manager, session_id):
        with pytest.raises(OSError, match="too large"):
            await manager.send_message(session_id, "hello")

    store = NoOutputs()
    turn(store, agent("support", calls("look"), tools=[look]), act=run)
    assert stored(store) == ["user", "usage:1", "failed"]
    assert check_totals(store).total_tokens == 15


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_an_answer_that_cannot_be_stored_is_in_the_error(streamed):
    async def run(manager, session_id):
        send = manager.stream_message(session_id, "hello").reply if streamed else manager.send_message
        with pytest.raises(ReplyNotStoredError) as caught:
            await send(*(() if streamed else (session_id, "hello")))
        return caught.value

    error = turn(FullMemory(), agent("support", "paid for"), act=run)
    assert (error.reply.text, error.reply.usage.total_tokens) == ("paid for", 15)
    assert isinstance(error.__cause__, OSError)


def test_the_turn_after_an_answer_that_could_not_be_stored_says_interrupted():
    store = FullMemory()

    async def run(manager, session_id):
        with pytest.raises(ReplyNotStoredError):
            await manager.send_message(session_id, "hello")
        store.full = False
        return await manager.retry(session_id)

    assert turn(store, agent("support", "lost", "again"), act=run).text == "again"
    assert stored(store) == ["user", "interrupted", "assistant", "usage:1", "completed"]


def test_an_answer_that_is_too_large_to_store_keeps_its_cost(tmp_path):
    store = FileStore(tmp_path, durability="process", max_item_bytes=1000)

    async def run(manager, session_id):
        with pytest.raises(ReplyNotStoredError) as caught:
            await manager.send_message(session_id, "hello")
        return caught.value.reply.text

    assert turn(store, agent("support", "x" * 2000), act=run) == "x" * 2000
    assert stored(store) == ["user", "usage:1", "failed"]
    assert check_totals(store).total_tokens == 15


def test_a_retry_finds_the_message_behind_what_came_in_between(store):
    async def give_up(_event):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async def run(manager, session_id):
        forget = manager.on(TurnStarted, give_up)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(manager.send_message(session_id, "precious"))
        forget()
        await manager.session(session_id).add_items([{"role": "developer", "content": str(n)} for n in range(9)])
        return await manager.retry(session_id)

    reply = turn(store, agent("support", "done"), act=run)
    assert [entry.text for entry in reply.entries if entry.type == "item"] == ["precious", "done"]


def test_a_message_that_was_too_large_to_keep_is_not_retried_without_it(tmp_path):
    store = FileStore(tmp_path, durability="process", max_item_bytes=1000)

    async def run(manager, session_id):
        with pytest.raises(SessionLimitError):
            await manager.send_message(session_id, "x" * 2000)
        with pytest.raises(MessageNotKeptError, match="too large to be kept; send it again"):
            await manager.retry(session_id)
        return await manager.send_message(session_id, "shorter")

    assert turn(store, agent("support", "done"), act=run).text == "done"
    assert stored(store) == ["failed", "user", "assistant", "usage:1", "completed"]


def test_an_error_of_the_run_wins_over_one_of_the_store():
    async def run(manager, session_id):
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "hello")

    turn(FullMemory(), agent("support", GONE), act=run)


def test_an_answer_that_could_not_be_stored_survives_pickle_as_an_error():
    error = ReplyNotStoredError(SessionKey("support", "s"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# The SDK drops a coroutine of its own when it is cancelled in just that moment.
SDK_DROPS_A_COROUTINE = "ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning"


@pytest.fixture
def collected():
    yield
    gc.collect()


def complete(entries) -> bool:
    """No batch is half there: a call has its output, and every item of a run comes before its end."""
    calls_made = [entry["item"]["call_id"] for entry in entries if entry.get("item", {}).get("type") == "function_call"]
    answered = [
        entry["item"]["call_id"] for entry in entries if entry.get("item", {}).get("type") == "function_call_output"
    ]
    return calls_made == answered


@pytest.mark.filterwarnings(SDK_DROPS_A_COROUTINE)
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("gap", [0.0005, 0.002])
def test_a_turn_on_files_cancelled_at_any_time_leaves_whole_batches_and_a_free_session(tmp_path, gap):
    async def run():
        store = FileStore(tmp_path, durability="process")
        support = agent("support", *[calls("look"), "done"] * 40, tools=[look])
        manager = SessionManager(store, agents=[support], run_config=QUIET)
        for number in range(30):
            support.model = scripted(calls("look"), "done")
            await opened(manager, session_id=str(number))
            sending = asyncio.create_task(manager.send_message(str(number), "hello"))
            await asyncio.sleep(gap * number / 3)
            sending.cancel()
            await asyncio.wait({sending})
            support.model = scripted("after")
            await manager.send_message(str(number), "next", lock_timeout=0)
        return store

    store = asyncio.run(run())
    for number in range(30):
        check_totals(store, session_id=str(number))
        assert complete(asyncio.run(store.entries(SessionKey("support", str(number)))))


def test_an_input_guardrail_in_parallel_keeps_the_cost_of_the_request_it_stopped(store):
    answered = []

    async def answer(_):
        answered.append(True)
        return says("fast")

    async def trips(*_):
        while not answered:
            await asyncio.sleep(0)
        for _ in range(50):  # until the answer has been seen, which takes some turns of the loop and no time
            await asyncio.sleep(0)
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    async def run(manager, session_id):
        with pytest.raises(InputGuardrailTripwireTriggered):
            await manager.send_message(session_id, "hello")

    support = agent("support", ModelStep.respond(answer), input_guardrails=[InputGuardrail(trips)])
    turn(store, support, act=run)
    assert stored(store)[0] == "user"
    assert check_totals(store).requests == 1
