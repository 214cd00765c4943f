"""What each outcome of a turn stores: the table in docs/turns.md, row by row."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import traceback
from dataclasses import dataclass, field
from typing import Any

import pytest
from agents import GuardrailFunctionOutput, InputGuardrail, OutputGuardrail, Runner, function_tool
from script import QUIET, agent, calls, check_totals, managed, opened, stored

from agents_sessions.errors import SessionCorruptedError
from agents_sessions.keys import SessionKey
from agents_sessions.run_states import RUN_STATE
from agents_sessions.session import StoredSession
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

KEY = SessionKey("support", "s")


@function_tool
def look() -> str:
    return "found"


@function_tool(failure_error_function=None)
def broken() -> str:
    raise RuntimeError("the tool broke")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


async def trips(*_: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


@dataclass
class Outcome:
    """One row: an agent, and what the history holds after one message to it."""

    make: Any
    status: str
    stored: list[str]
    error: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


OUTCOMES = {
    "success": Outcome(
        lambda: agent("support", calls("look"), "done", tools=[look]),
        "completed",
        ["user", "function_call", "function_call_output", "usage:1", "assistant", "usage:1", "completed"],
    ),
    "tool_error": Outcome(
        lambda: agent("support", calls("look"), calls("broken", "c2"), "done", tools=[look, broken]),
        "failed",
        ["user", "function_call", "function_call_output", "usage:1", "usage:1", "failed"],
        "UserError",
    ),
    "model_error": Outcome(
        lambda: agent("support", calls("look"), ConnectionError("gone"), tools=[look]),
        "failed",
        ["user", "function_call", "function_call_output", "usage:1", "failed"],
        "ConnectionError",
    ),
    "input_guardrail": Outcome(
        lambda: agent("support", "done", input_guardrails=[InputGuardrail(trips, run_in_parallel=False)]),
        "failed",
        ["user", "failed"],
        "InputGuardrailTripwireTriggered",
    ),
    "output_guardrail": Outcome(
        lambda: agent("support", calls("look"), "secret", tools=[look], output_guardrails=[OutputGuardrail(trips)]),
        "failed",
        ["user", "function_call", "function_call_output", "usage:1", "usage:1", "failed"],
        "OutputGuardrailTripwireTriggered",
    ),
    "max_turns": Outcome(
        lambda: agent("support", calls("look"), calls("look", "c2"), "done", tools=[look]),
        "failed",
        ["user", *["function_call", "function_call_output", "usage:1"] * 2, "failed"],
        "MaxTurnsExceeded",
        {"max_turns": 2},
    ),
    "approval": Outcome(
        lambda: agent("support", calls("pay"), "done", tools=[pay]),
        "awaiting_approval",
        ["user", "function_call", "usage:1", "awaiting_approval"],
    ),
}


async def run(manager, session_id: str, streamed: bool, **arguments: Any) -> Any:
    if not streamed:
        return await manager.send_message(session_id, "hello", **arguments)
    stream = manager.stream_message(session_id, "hello", **arguments)
    async for _ in stream.stream_events():
        pass
    return await stream.reply()


async def bare(store: Any, outcome: Outcome, streamed: bool) -> list[Any]:
    """The items that a session without a manager holds after the same run."""
    session = StoredSession(store, SessionKey("bare", "s"))
    run = Runner.run_streamed if streamed else Runner.run
    with contextlib.suppress(Exception):
        result = run(outcome.make(), "hello", session=session, run_config=QUIET, **outcome.arguments)
        if streamed:
            async for _ in result.stream_events():
                pass
        else:
            await result
    return await session.get_items()


async def act(store: Any, outcome: Outcome, streamed: bool) -> Any:
    manager = managed(store, outcome.make())
    session_id = await opened(manager)
    try:
        return await run(manager, session_id, streamed, **outcome.arguments)
    except Exception as error:
        return error


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", OUTCOMES)
def test_outcome(store, name, streamed):
    outcome = OUTCOMES[name]
    came = asyncio.run(act(store, outcome, streamed))
    assert stored(store) == outcome.stored
    assert getattr(came, "status", "failed") == outcome.status
    assert (None if hasattr(came, "status") else type(came).__name__) == outcome.error
    check_totals(store)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", OUTCOMES)
def test_the_items_are_those_of_a_bare_session(name, streamed):
    store = MemoryStore()
    asyncio.run(act(store, OUTCOMES[name], streamed))
    expected = asyncio.run(bare(store, OUTCOMES[name], streamed))
    assert asyncio.run(store.items(SessionKey("support", "s"))) == expected


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_cancel(store, streamed):
    async def go():
        waiting = asyncio.Event()

        @function_tool
        async def wait() -> str:
            waiting.set()
            await asyncio.sleep(60)
            return "never"

        manager = managed(store, agent("support", calls("look"), calls("wait", "c2"), tools=[look, wait]))
        sending = asyncio.create_task(run(manager, await opened(manager), streamed))
        await waiting.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await manager.aclose()

    asyncio.run(go())
    kept = ["user", "function_call", "function_call_output", "usage:1", "usage:1", "cancelled"]
    assert stored(store) == kept
    check_totals(store)


def send_and_wait(root: str, waiting: Any, streamed: bool) -> None:
    @function_tool
    async def wait() -> str:
        waiting.set()
        await asyncio.sleep(60)
        return "never"

    async def go() -> None:
        model = agent("support", calls("look"), calls("wait", "c2"), tools=[look, wait])
        await run(managed(FileStore(root, durability="process"), model), "s", streamed)

    asyncio.run(go())


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_kill(file_store, streamed):
    manager = managed(file_store, agent("support", "again"))
    asyncio.run(opened(manager))
    context = multiprocessing.get_context("spawn")
    waiting = context.Event()
    worker = context.Process(target=send_and_wait, args=(str(file_store.root), waiting, streamed))
    worker.start()
    assert waiting.wait(30)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    kept = ["user", "function_call", "function_call_output", "usage:1"]
    assert stored(file_store) == kept
    reply = asyncio.run(manager.retry("s"))
    assert reply.text == "again"
    assert stored(file_store) == [*kept, "interrupted", "assistant", "usage:1", "completed"]
    check_totals(file_store)


@pytest.mark.parametrize(
    "damaged", [b"{", b"[]", b'{"turn":"r","approvals":[{"arguments":{"card":"4929-1234-5678-9012"}}]}']
)
def test_an_awaiting_turn_that_is_damaged_is_told_so_and_shows_nothing(damaged):
    """Every way to it says the same; with the file gone, the turn is given up."""
    store = MemoryStore()

    async def run():
        manager = managed(store, agent("support", calls("pay"), "done", tools=[pay]))
        await opened(manager)
        await manager.send_message("s", "hello")
        await store.write_sidecar(KEY, RUN_STATE, damaged)
        for act in (
            manager.pending_approvals("s"),
            manager.resume("s", approve=True),
            manager.send_message("s", "more"),
        ):
            with pytest.raises(SessionCorruptedError, match="waits for approval cannot be used") as caught:
                await act
            assert "4929" not in "".join(traceback.format_exception(caught.value))
        await store.delete_sidecar(KEY, RUN_STATE)
        return await manager.send_message("s", "more")

    assert asyncio.run(run()).text == "done"
