"""Cancelled at every step of the event loop, one after the other until one is beyond the end.

Whatever is cut off: the session is free, no call is without an output, no tool has run twice, the message is in the
history once or `retry` sends it, and the totals are the fold over the entries.
"""

import asyncio
import contextlib
import gc

import pytest
from agents import function_tool
from script import agent, calls, check_totals, managed, opened, scripted, stored

from agents_sessions.errors import NothingToResumeError, NothingToRetryError, SessionNotFoundError, TurnCancelledError
from agents_sessions.keys import SessionKey
from agents_sessions.session import StoredSession
from agents_sessions.stores.file import store as file_store
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

# The SDK drops a coroutine of its own when it is cancelled in just that moment.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'run_single_turn' was never awaited:RuntimeWarning")

KEY = SessionKey("support", "s")
FEWEST_STEPS = 20
RETRYABLE = ("failed", "cancelled", "interrupted")

ran: list[str] = []


@pytest.fixture(autouse=True)
def collected(caplog):
    """No task is lost on the way."""
    ran.clear()
    yield
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.fixture(params=["memory", "file"])
def new_store(request, tmp_path, monkeypatch):
    """Make one store after the other, all of which take a fixed number of steps for each operation."""
    monkeypatch.setattr(file_store, "in_thread", in_two_steps)
    folders = (tmp_path / str(number) for number in range(10_000))
    return MemoryStore if request.param == "memory" else lambda: FileStore(next(folders), durability="process")


def in_two_steps(operation):
    """Do what a worker thread would, between two steps of the event loop."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def work():
        try:
            result = operation()
        except Exception as error:
            loop.call_soon(done.set_exception, error)
        else:
            loop.call_soon(done.set_result, result)

    loop.call_soon(work)
    return done


def after_steps(steps, act):
    """Do something after so many steps of the event loop."""
    loop = asyncio.get_running_loop()
    loop.call_soon(act) if steps == 0 else loop.call_soon(after_steps, steps - 1, act)


@function_tool
async def look() -> str:
    await asyncio.sleep(0)
    ran.append("look")
    return "found"


@function_tool(needs_approval=True)
async def pay() -> str:
    ran.append("pay")
    await asyncio.sleep(0)
    return "paid"


def support(*steps):
    return agent("support", *steps, tools=[look, pay])


async def nothing_before(_store):
    pass


async def asked(store):
    await managed(store, support(calls("look", "l1"), calls("pay", "p1"))).send_message("s", "first")


async def failed(store):
    with contextlib.suppress(ConnectionError):
        await managed(store, support(calls("look", "l1"), ConnectionError("gone"))).send_message("s", "first")


STEPS = [calls("look", "l2"), "done"]

# What was before, what is cancelled, and its message.
TURNS = {
    "send": (nothing_before, lambda manager: manager.send_message("s", "second"), "second"),
    "send and roll back": (
        nothing_before,
        lambda manager: manager.send_message("s", "second", on_failure="rollback"),
        "second",
    ),
    "resume": (asked, lambda manager: manager.resume("s", approve=True), "first"),
    "resume and roll back": (
        asked,
        lambda manager: manager.resume("s", approve=True, on_failure="rollback"),
        "first",
    ),
    "reject and send": (asked, lambda manager: manager.send_message("s", "second", on_pending="reject"), "second"),
    "retry": (failed, lambda manager: manager.retry("s"), "first"),
}
STREAMS = {
    "send": (nothing_before, lambda manager: manager.stream_message("s", "second"), "second"),
    "resume": (asked, lambda manager: manager.stream_resume("s", approve=True), "first"),
    "reject and send": (asked, lambda manager: manager.stream_message("s", "second", on_pending="reject"), "second"),
    "retry": (failed, lambda manager: manager.stream_retry("s"), "first"),
}


async def begun(store, before, *steps):
    manager = managed(store, support(*steps))
    await opened(manager)
    await before(store)
    ran.clear()
    return manager, (await manager.get_session("s")).seq


async def has_begun(manager, seq):
    """Tell whether anything was stored since."""
    return (await manager.get_session("s")).seq > seq


async def go_on(store):
    """Use the session as a person would who saw that: decide again, or try again, and send the next message."""
    manager = managed(store, support("done"))
    info = await manager.get_session("s")
    if await manager.pending_approvals("s"):
        await manager.resume("s", approve=True)
    elif info.context.open_turn is not None or info.context.last_status in RETRYABLE:
        with contextlib.suppress(NothingToRetryError):
            await manager.retry("s")
    await managed(store, support("next")).send_message("s", "next", lock_timeout=0)


def check(store, message, *, sent):
    entries = asyncio.run(store.entries(KEY))
    items = [entry["item"] for entry in entries if "item" in entry]
    made = [item["call_id"] for item in items if item.get("type") == "function_call"]
    answered = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    assert sorted(made) == sorted(answered)
    assert ran.count("pay") <= 1
    assert asyncio.run(store.list_sidecars(KEY)) == []
    assert check_totals(store).open_turn is None
    said = [item["content"] for item in items if item.get("role") == "user"]
    assert said.count(message) == 1 or not sent
    assert said[-1] == "next"
    assert stored(store)[-1] == "completed"


def sweep(new_store, cancelled_after, message):
    """Cancel after no step, one, two and so on, until it is too late."""
    steps, cut = 0, True
    while cut:
        store = new_store()
        cut, sent = asyncio.run(cancelled_after(steps, store))
        check(store, message, sent=sent)
        steps += 1
    assert steps > FEWEST_STEPS


@pytest.mark.parametrize(
    ("new_store", "name"),
    [*(("memory", name) for name in TURNS), ("file", "send"), ("file", "resume"), ("file", "reject and send")],
    indirect=["new_store"],
)
def test_a_turn_that_is_cancelled_at_any_step_can_be_gone_on_with(new_store, name):
    before, begin, message = TURNS[name]

    async def cancelled_after(steps, store):
        manager, seq = await begun(store, before, *STEPS)
        task = asyncio.create_task(begin(manager))
        after_steps(steps, task.cancel)
        await asyncio.wait({task})
        sent = await has_begun(manager, seq)
        await go_on(store)
        return task.cancelled(), sent

    sweep(new_store, cancelled_after, message)


@pytest.mark.parametrize(
    ("new_store", "name", "how"),
    [
        *(("memory", name, "stream") for name in STREAMS),
        ("memory", "send", "reader"),
        ("memory", "send", "after_turn"),
        ("file", "resume", "stream"),
    ],
    indirect=["new_store"],
)
def test_a_stream_that_is_cancelled_at_any_step_can_be_gone_on_with(new_store, name, how):
    before, begin, message = STREAMS[name]

    async def read(stream):
        async for _ in stream.stream_events():
            pass

    async def cancelled_after(steps, store):
        manager, seq = await begun(store, before, *STEPS)
        stream = begin(manager)
        reader = asyncio.create_task(read(stream))
        acts = {"stream": stream.cancel, "reader": reader.cancel, "after_turn": lambda: stream.cancel("after_turn")}
        after_steps(steps, acts[how])
        await asyncio.wait({reader})
        if not reader.cancelled():
            reader.exception()
        status = None
        with contextlib.suppress(TurnCancelledError):
            status = (await stream.reply()).status
        sent = await has_begun(manager, seq)
        await go_on(store)
        return status != "completed", sent

    sweep(new_store, cancelled_after, message)


@pytest.mark.parametrize("there", [True, False], ids=["there", "new"])
def test_an_add_that_is_cancelled_at_any_step_is_whole_or_absent(new_store, there):
    both = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]

    async def cancelled_after(steps, store):
        session = StoredSession(store, KEY)
        if there:
            await session.add_items([{"role": "user", "content": "before"}])
        task = asyncio.create_task(session.add_items(list(both)))
        task.cancel() if steps < 0 else after_steps(steps, task.cancel)
        await asyncio.wait({task})
        found = (await session.get_items())[there:]
        assert found in ([], both) if task.cancelled() else found == both
        await session.add_items([{"role": "user", "content": "after"}])
        with contextlib.suppress(SessionNotFoundError):
            assert len(await store.entries(KEY)) == there + len(found) + 1
        return task.cancelled()

    steps = -1
    while asyncio.run(cancelled_after(steps, new_store())):
        steps += 1
    assert steps >= 0


def test_an_awaiting_turn_that_is_killed_while_its_tool_runs_never_runs_it_again(new_store):
    """Its history says what is known: that the call was approved, and that its output was lost."""
    store = new_store()
    asyncio.run(begun(store, asked))

    class Killed(BaseException):
        """Ends the turn as nothing else does: not one more entry is stored."""

    async def die(*_arguments, **_options):
        raise Killed

    async def run():
        support_ = support()
        manager = managed(store, support_)
        append = store.append

        async def until_the_tool_ran(*arguments, **options):
            return await (die() if ran else append(*arguments, **options))

        store.append = until_the_tool_ran
        with pytest.raises(Killed):
            await manager.resume("s", approve=True)
        store.append = append

    async def next_day():
        manager = managed(store, support())
        with pytest.raises(NothingToResumeError):
            await manager.resume("s", approve=True)
        model = scripted("I will look into it.")
        support_ = support()
        support_.model = model
        await managed(store, support_).retry("s")
        return [item for item in model.last_call.input if item.get("type") == "function_call_output"]

    asyncio.run(run())
    seen = asyncio.run(next_day())
    assert ran == ["pay"]
    assert [item["output"] for item in seen] == ["found", "The output of this tool was lost. The tool may have run."]
    check_totals(store)
    assert asyncio.run(store.list_sidecars(KEY)) == []
