"""A closed manager takes no more turns, lets those that run come to their end, and cancels what takes too long."""

import asyncio

import pytest
from agents import function_tool
from script import agent, calls, managed, opened, stored

from agents_sessions.errors import ManagerClosedError


class Gate:
    """A tool that waits until it is let go on."""

    def __init__(self):
        self.reached, self.open = asyncio.Event(), asyncio.Event()

        @function_tool
        async def wait() -> str:
            self.reached.set()
            await self.open.wait()
            return "let on"

        self.tool = wait


async def at_the_gate(store, streamed, *steps):
    """Return a manager, the gate, and a turn that waits there."""
    gate = Gate()
    manager = managed(store, agent("support", calls("wait"), "done", *steps, tools=[gate.tool]))
    await opened(manager)
    send = manager.stream_message("s", "hello").reply() if streamed else manager.send_message("s", "hello")
    sending = asyncio.ensure_future(send)
    await asyncio.wait_for(gate.reached.wait(), 30)
    return manager, gate, sending


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_turn_that_runs_comes_to_its_end(store, streamed):
    async def run():
        manager, gate, sending = await at_the_gate(store, streamed)
        closing = asyncio.ensure_future(manager.aclose())
        await asyncio.sleep(0.02)
        assert not closing.done()
        gate.open.set()
        await closing
        return (await sending).text

    assert asyncio.run(run()) == "done"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_turn_that_takes_too_long_is_cancelled_and_recorded(store, streamed):
    async def run():
        manager, _, sending = await at_the_gate(store, streamed)
        await manager.aclose(drain_timeout=0.02)
        assert (await manager.get_session("s")).context.last_status == "cancelled"
        if streamed:
            return (await sending).status
        with pytest.raises(asyncio.CancelledError):
            await sending
        return "cancelled"

    assert asyncio.run(run()) == "cancelled"
    assert stored(store)[-1] == "cancelled"


def test_an_error_in_the_block_of_a_manager_cancels_its_turns_at_once(store):
    async def run():
        manager, _, sending = await at_the_gate(store, True)
        with pytest.raises(KeyError):
            async with manager:
                raise KeyError
        return (await sending).status

    assert asyncio.run(asyncio.wait_for(run(), 8)) == "cancelled"


def test_a_closed_manager_takes_no_message(store):
    async def run():
        manager = managed(store, agent("support", "no"))
        await opened(manager)
        await manager.aclose()
        for act in (manager.send_message("s", "x"), manager.stream_message("s", "x").reply(), manager.retry("s")):
            with pytest.raises(ManagerClosedError, match="takes no more turns: that of session 's' did not begin"):
                await act
        return await manager.get_history("s")

    assert asyncio.run(run()) == []


def test_a_turn_that_waits_for_its_session_does_not_begin(store):
    async def run():
        manager, gate, sending = await at_the_gate(store, False, "never")
        waiting = asyncio.ensure_future(manager.send_message("s", "second"))
        await asyncio.sleep(0.02)
        closing = asyncio.ensure_future(manager.aclose())
        await asyncio.sleep(0.02)
        gate.open.set()
        with pytest.raises(ManagerClosedError):
            await waiting
        await closing
        return (await sending).text

    assert asyncio.run(run()) == "done"
    assert stored(store).count("user") == 1


def test_a_tool_that_closes_its_own_manager_does_not_wait_for_itself(store):
    @function_tool
    async def close() -> str:
        await manager.aclose()
        return "closed"

    manager = managed(store, agent("support", calls("close"), "done", tools=[close]))

    async def run():
        await opened(manager)
        return (await manager.send_message("s", "hello")).text

    assert asyncio.run(asyncio.wait_for(run(), 8)) == "done"


def test_the_turns_of_a_view_end_with_its_manager_and_not_the_other_way_round(store):
    async def run():
        gate = Gate()
        manager = managed(store, agent("support", calls("wait"), "done", "hi", tools=[gate.tool]))
        view = manager.for_user("u")
        await view.create_session("support", session_id="s")
        await manager.create_session("support", session_id="other")
        sending = asyncio.ensure_future(view.send_message("s", "hello"))
        await asyncio.wait_for(gate.reached.wait(), 30)
        other = manager.for_user("u")
        await other.aclose()
        with pytest.raises(ManagerClosedError):
            await other.send_message("s", "x")
        closing = asyncio.ensure_future(manager.aclose())
        await asyncio.sleep(0.02)
        with pytest.raises(ManagerClosedError):
            await view.send_message("s", "x")
        gate.open.set()
        await closing
        return (await sending).text

    assert asyncio.run(run()) == "done"
