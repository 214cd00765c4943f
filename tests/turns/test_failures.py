import asyncio
import contextlib
import gc
import pickle

import pytest
from agents import GuardrailFunctionOutput, InputGuardrail, InputGuardrailTripwireTriggered, function_tool
from agents.testing import ModelStep
from script import QUIET, agent, calls, check_totals, managed, opened, says, scripted, stored, to, turn

from agents_sessions.errors import InvalidItemError, NothingToResumeError, ReplyNotStoredError, TurnCancelledError
from agents_sessions.info import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.stores.file_store import FileStore
from agents_sessions.stores.memory_store import MemoryStore
from agents_sessions.turns.events import TurnStarted

KEY = SessionKey("support", "s")
GONE = ConnectionError("gone")


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
    assert (totals.runs, totals.failed_runs, totals.last_status) == (1, 1, "failed")


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
    def gives_up(_event):
        raise asyncio.CancelledError

    async def run(manager, session_id):
        manager.on(TurnStarted, gives_up)
        with pytest.raises(asyncio.CancelledError):
            await manager.send_message(session_id, "hello")

    turn(store, agent("support"), act=run)
    assert retried(store, "done").text == "done"
    assert [item["role"] for item in items(store)] == ["user", "assistant"]


def test_only_a_failed_turn_can_be_retried(store):
    turn(store, agent("support", "done"))
    with pytest.raises(NothingToResumeError, match="has not failed"):
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

    async def append(self, key, entries, *, expected_seq=None):
        if self.full and any("record" in entry and entry["record"]["type"] == "run" for entry in entries):
            raise OSError(28, "No space left on device")
        return await super().append(key, entries, expected_seq=expected_seq)


class NoOutputs(MemoryStore):
    """A store that cannot take what tools give."""

    async def append(self, key, entries, *, expected_seq=None):
        if any("output" in entry.get("item", {}) for entry in entries):
            raise OSError(27, "File too large")
        return await super().append(key, entries, expected_seq=expected_seq)


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


def test_an_error_of_the_run_wins_over_one_of_the_store():
    async def run(manager, session_id):
        with pytest.raises(ConnectionError):
            await manager.send_message(session_id, "hello")

    turn(FullMemory(), agent("support", GONE), act=run)


def test_an_answer_that_could_not_be_stored_survives_pickle_as_an_error():
    error = ReplyNotStoredError("s", "support")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# The SDK drops a coroutine of its own when it is cancelled in just that moment.
SDK_DROPS_A_COROUTINE = "ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning"


@pytest.fixture
def collected():
    yield
    gc.collect()


def after_steps(steps: int, act) -> None:
    """Do something after so many steps of the event loop."""
    loop = asyncio.get_running_loop()
    loop.call_soon(act) if steps == 0 else loop.call_soon(after_steps, steps - 1, act)


def complete(entries) -> bool:
    """No batch is half there: a call has its output, and every item of a run comes before its end."""
    calls_made = [entry["item"]["call_id"] for entry in entries if entry.get("item", {}).get("type") == "function_call"]
    answered = [
        entry["item"]["call_id"] for entry in entries if entry.get("item", {}).get("type") == "function_call_output"
    ]
    return calls_made == answered


@pytest.mark.filterwarnings(SDK_DROPS_A_COROUTINE)
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
def test_a_turn_cancelled_at_any_step_leaves_whole_batches_right_totals_and_a_free_session(on_failure):
    """Steps of the event loop, until one is beyond the end of the turn."""

    async def cancelled_after(steps: int, store: MemoryStore) -> bool:
        support = agent("support", calls("look"), "done", tools=[look])
        manager = managed(store, support)
        await opened(manager)
        sending = asyncio.create_task(manager.send_message("s", "hello", on_failure=on_failure))
        after_steps(steps, sending.cancel)
        await asyncio.wait({sending})
        after = managed(store, agent("support", "after", tools=[look]))
        await after.send_message("s", "next", timeout=0)
        return sending.cancelled()

    steps = 0
    while True:
        store = MemoryStore()
        cancelled = asyncio.run(cancelled_after(steps, store))
        entries = asyncio.run(store.entries(KEY))
        assert complete(entries)
        assert check_totals(store).open_run is None
        said = [item["content"] for item in items(store) if item.get("role") == "user"]
        ended_in_time = stored(store).count("completed") == 2
        assert said == ["next"] if on_failure == "rollback" and not ended_in_time else said[-1] == "next"
        if not cancelled:
            assert steps > 20
            return
        steps += 1


@pytest.mark.filterwarnings(SDK_DROPS_A_COROUTINE)
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("how", ["stream", "reader", "after_turn"])
def test_a_stream_cancelled_at_any_step_leaves_whole_batches_right_totals_and_a_free_session(how, caplog):
    async def read(stream) -> None:
        async for _ in stream.stream_events():
            pass

    async def cancelled_after(steps: int, store: MemoryStore) -> bool:
        manager = managed(store, agent("support", calls("look"), "done", tools=[look]))
        await opened(manager)
        stream = manager.stream_message("s", "hello")
        reader = asyncio.create_task(read(stream))
        acts = {"stream": stream.cancel, "reader": reader.cancel, "after_turn": lambda: stream.cancel("after_turn")}
        after_steps(steps, acts[how])
        await asyncio.wait({reader})
        if not reader.cancelled():
            reader.exception()
        with contextlib.suppress(TurnCancelledError):
            await stream.reply()
        await managed(store, agent("support", "after", tools=[look])).send_message("s", "next", timeout=0)
        return stored_status(await store.entries(KEY)) == "completed"

    for steps in range(0, 400, 3):
        store = MemoryStore()
        completed = asyncio.run(cancelled_after(steps, store))
        assert complete(asyncio.run(store.entries(KEY)))
        assert check_totals(store).open_run is None
        if completed:
            break
    assert 20 < steps < 400
    assert not [record for record in caplog.records if record.name == "asyncio"]


def stored_status(entries) -> str:
    """How the first turn ended."""
    records = [entry["record"] for entry in entries if "record" in entry]
    ends = [record["status"] for record in records if record["type"] == "run"]
    return ends[0] if len(ends) == 2 else "never begun"


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
            await manager.send_message(str(number), "next", timeout=0)
        return store

    store = asyncio.run(run())
    for number in range(30):
        check_totals(store, session_id=str(number))
        assert complete(asyncio.run(store.entries(SessionKey("support", str(number)))))


@pytest.mark.filterwarnings(SDK_DROPS_A_COROUTINE)
@pytest.mark.usefixtures("collected")
def test_a_retry_of_a_cancelled_turn_holds_its_message_once_whenever_it_was_cancelled():
    async def at(steps: int, store: MemoryStore) -> bool:
        manager = managed(store, agent("support", calls("look"), "done", tools=[look]))
        await opened(manager)
        sending = asyncio.create_task(manager.send_message("s", "hello"))
        after_steps(steps, sending.cancel)
        await asyncio.wait({sending})
        info = await manager.get_session("s")
        if info.context.last_status == "cancelled":
            await managed(store, agent("support", "again", tools=[look])).retry("s")
        return sending.cancelled()

    steps = 0
    while asyncio.run(at(steps, store := MemoryStore())):
        said = [item for item in items(store) if item.get("role") == "user"]
        assert len(said) == 1 or stored(store) == []
        steps += 1
    assert steps > 20


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
