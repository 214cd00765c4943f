"""A turn whose event loop was closed is thrown away later, by whoever collects the garbage: it must touch nothing."""

import asyncio
import gc

import pytest
from agents import function_tool
from agents.testing import ModelStep
from script import agent, calls, managed, opened, stored

from agents_sessions.keys import SessionKey
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns import lock
from agents_sessions.turns.events import TurnStarted

# The SDK's own tasks go with the loop, and do not like it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KEY = SessionKey("support", "s")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


@pytest.fixture(autouse=True)
def quiet(caplog):
    yield
    caplog.clear()  # asyncio tells of the tasks that the loop took with it


def abandoned(store, streamed, **options):
    """Begin a turn and close its loop. Return what keeps it from being collected."""

    async def never(_call):
        await asyncio.sleep(100)

    async def begin():
        manager = managed(store, agent("support", ModelStep.respond(never)))
        await opened(manager)
        if streamed:
            kept = manager.stream_message("s", "one", **options)
        else:
            kept = asyncio.ensure_future(manager.send_message("s", "one", **options))
        while (await manager.get_session("s")).context.items == 0:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        return kept

    loop = asyncio.new_event_loop()
    kept = [loop.run_until_complete(begin())]
    loop.close()
    return kept


def collect(kept):
    kept.clear()
    gc.collect()


@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("when", ["before", "inside"])
def test_it_writes_nothing_into_the_turn_after_it(store, streamed, on_failure, when):
    if when == "inside" and not isinstance(store, MemoryStore):
        pytest.skip("a lock in a file is held until its turn is collected")
    kept = abandoned(store, streamed, on_failure=on_failure)

    async def after():
        manager = managed(store, agent("support", calls("pay"), tools=[pay]), lock_timeout=60)
        if when == "before":
            collect(kept)
        manager.on(TurnStarted, lambda _event: collect(kept))
        await manager.send_message("s", "two")
        await asyncio.sleep(0.05)  # what it would still do
        return await manager.pending_approvals("s")

    assert [approval.call_id for approval in asyncio.run(after())] == ["c1"]
    assert stored(store) == ["user", "interrupted", "user", "function_call", "usage:1", "awaiting_approval"]
    assert lock.open_turns() == 0


def test_it_can_be_collected_without_a_loop(store, capsys):
    collect(abandoned(store, streamed=False))
    assert asyncio.run(managed(store, agent("support", "done")).send_message("s", "two", lock_timeout=9)).text == "done"
    assert lock.open_turns() == 0
