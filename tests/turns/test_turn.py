"""A turn as a context: what is recorded on the way out."""

import asyncio

import pytest
from script import QUIET, agent, stored

from agents_sessions.keys import SessionKey
from agents_sessions.lookup import SessionLookup
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.agents import AgentRegistry
from agents_sessions.turns.lock import open_turns
from agents_sessions.turns.options import SendOptions, TurnSettings
from agents_sessions.turns.request import Prompt, Send
from agents_sessions.turns.turn import Turns

KEY = SessionKey("support", "s")


async def turns_on(store, *steps):
    await store.create(SessionInfo(id="s", agent_id="support"))
    return Turns(store, SessionLookup(store), AgentRegistry([agent("support", *steps)]))


def hello():
    settings = TurnSettings.of(SendOptions, "s", {}, {"run_config": QUIET})
    return Send(session_id="s", settings=settings, prompt=Prompt.of("hello"))


def test_a_turn_that_is_run_and_finished_is_completed():
    store = MemoryStore()

    async def run():
        turns = await turns_on(store, "done")
        async with turns.open(hello()) as turn:
            return await turn.finish(await turn.run())

    assert asyncio.run(run()).text == "done"
    assert stored(store) == ["user", "assistant", "usage:1", "completed"]


@pytest.mark.parametrize(("error", "status"), [(ZeroDivisionError, "failed"), (asyncio.CancelledError, "cancelled")])
def test_what_ends_the_block_early_is_recorded_and_raised(error, status):
    store = MemoryStore()

    async def run():
        turns = await turns_on(store)
        with pytest.raises(error):
            async with turns.open(hello()):
                raise error

    asyncio.run(run())
    assert stored(store) == [status]


def test_an_error_behind_the_end_changes_nothing():
    store = MemoryStore()

    async def run():
        turns = await turns_on(store, "done")
        async with turns.open(hello()) as turn:
            await turn.finish(await turn.run())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    assert stored(store)[-1] == "completed"


def test_the_session_is_free_behind_the_block():
    store = MemoryStore()

    async def run():
        turns = await turns_on(store, "done")
        async with turns.open(hello()) as turn:
            assert open_turns() == 1
            await turn.finish(await turn.run())
        async with store.turn_lock(KEY, 0):
            return open_turns()

    assert asyncio.run(run()) == 0


def test_a_turn_that_cannot_be_planned_leaves_nothing():
    store = MemoryStore()

    async def run():
        turns = await turns_on(store)
        turns.registry = AgentRegistry([agent("other")])
        with pytest.raises(LookupError):
            async with turns.open(hello()):
                pass
        async with store.turn_lock(KEY, 0):
            pass

    asyncio.run(run())
    assert stored(store) == []
