"""Who may wait for a session inside a turn: what the turn does not await may, and no circle of turns may."""

import asyncio
import time

import pytest
from agents import function_tool
from script import agent, calls, echo, managed, opened

from agents_sessions.errors import SessionBusyError, SessionDeadlockError, SessionReentryError
from agents_sessions.turns.events import TurnFinished
from agents_sessions.turns.lock import open_turns


def writes_to(name, target, manager_of, meet):
    """An agent whose tool sends to the session of another one once both turns run."""

    @function_tool
    async def ask() -> str:
        await meet.wait()
        try:
            return (await manager_of().send_message(target, "what do you think?")).text
        except SessionBusyError as error:
            return f"{type(error).__name__}: {error}"

    return agent(name, calls("ask"), "done", "I think so.", tools=[ask])


@pytest.mark.parametrize("count", [2, 3])
def test_sessions_that_write_to_each_other_in_a_circle_get_an_error_at_once(store, count):
    async def run():
        names = "abc"[:count]
        meet = asyncio.Barrier(count)
        agents = [
            writes_to(name, names[(place + 1) % count], lambda: manager, meet) for place, name in enumerate(names)
        ]
        manager = managed(store, *agents, lock_timeout=60)
        for name in names:
            await opened(manager, name, name)
        began = time.monotonic()
        replies = await asyncio.gather(*(manager.send_message(name, "go") for name in names))
        return replies, time.monotonic() - began

    replies, elapsed = asyncio.run(run())
    outputs = [e.item["output"] for reply in replies for e in reply.entries if e.type == "item" and "output" in e.item]
    refused = [output for output in outputs if output.startswith(SessionDeadlockError.__name__)]
    assert len(refused) == 1
    assert "->" in refused[0]
    assert elapsed < 30
    assert open_turns() == 0


def test_two_turns_that_wait_for_a_third_are_no_circle(store):
    async def run():
        meet = asyncio.Barrier(2)
        agents = [writes_to(name, "c", lambda: manager, meet) for name in "ab"]
        manager = managed(store, *agents, echo("c", pause=0.05))
        for name in "abc":
            await opened(manager, name, name)
        return await asyncio.gather(*(manager.send_message(name, "go") for name in "ab"))

    assert [reply.text for reply in asyncio.run(run())] == ["done", "done"]


def starting(tasks, act):
    @function_tool
    async def start() -> str:
        tasks.append(asyncio.ensure_future(act()))
        await asyncio.sleep(0.02)
        return "started"

    return agent("support", calls("start"), *["ok"] * 9, tools=[start])


SENDS = {
    "a message": lambda manager: manager.send_message("s", "later"),
    "a stream": lambda manager: manager.stream_message("s", "later").reply(),
}


@pytest.mark.parametrize("send", SENDS)
def test_a_task_that_a_turn_does_not_await_waits_for_its_end(store, send):
    async def run():
        tasks = []
        manager = managed(store, starting(tasks, lambda: SENDS[send](manager)))
        await manager.send_message(await opened(manager), "go")
        return await tasks[0]

    assert asyncio.run(run()).status == "completed"


def test_a_follow_up_of_a_listener_waits_for_the_end_of_the_turn(store):
    async def run():
        tasks = []
        manager = managed(store, echo())

        def follow(_event):
            if not tasks:
                tasks.append(asyncio.ensure_future(manager.send_message("s", "later")))

        manager.on(TurnFinished, follow)
        await manager.send_message(await opened(manager), "go")
        return await tasks[0]

    assert asyncio.run(run()).text == "go later"


def test_a_task_that_its_turn_awaits_ends_with_an_error_that_names_the_turn(store):
    async def run():
        @function_tool
        async def again() -> str:
            try:
                await asyncio.gather(manager.send_message("s", "more", lock_timeout=0.05))
            except SessionReentryError as error:
                return str(error)
            return "done"

        manager = managed(store, agent("support", calls("again"), "end", tools=[again]))
        return await manager.send_message(await opened(manager), "go")

    outputs = [e.item["output"] for e in asyncio.run(run()).entries if e.type == "item" and "output" in e.item]
    assert "session 's' of agent 'support' is in the turn that began this task" in outputs[0]


def test_a_tool_that_is_not_async_cannot_send_to_its_own_session(store):
    async def run():
        @function_tool
        def again() -> str:
            try:
                asyncio.run(manager.send_message("s", "more", lock_timeout=5))
            except SessionReentryError:
                return "refused"
            return "done"

        manager = managed(store, agent("support", calls("again"), "end", tools=[again]))
        return await manager.send_message(await opened(manager), "go")

    outputs = [e.item["output"] for e in asyncio.run(run()).entries if e.type == "item" and "output" in e.item]
    assert outputs == ["refused"]


def test_an_agent_inside_a_tool_cannot_send_to_the_session_of_the_turn(store):
    async def run():
        @function_tool
        async def again() -> str:
            try:
                await manager.send_message("s", "more")
            except SessionReentryError:
                return "refused"
            return "done"

        inner = agent("inner", calls("again"), "asked", tools=[again])
        asks = calls("ask", "a1", '{"input": "x"}')
        manager = managed(store, agent("support", asks, "end", tools=[inner.as_tool("ask", "d")]), lock_timeout=30)
        await manager.send_message(await opened(manager), "go")
        return inner.model.last_call.input[-1]["output"]

    assert asyncio.run(run()) == "refused"
