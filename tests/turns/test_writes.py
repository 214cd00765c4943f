"""Every write of a turn carries the turn's lock, so that a store whose locks expire can refuse the late ones."""

import asyncio
import contextlib

import pytest
from agents import function_tool
from script import agent, calls, managed, opened, to

from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import TurnLock
from agents_sessions.stores.memory import MemoryStore

KEY = SessionKey("support", "s")
GONE = ConnectionError("gone")


@function_tool(needs_approval=True)
def pay() -> str:
    return "paid"


class Watched(MemoryStore):
    """A store that keeps the lock of each write."""

    def __init__(self):
        super().__init__()
        self.writes = []

    async def append(self, key, entries, *, turn=None, **options):
        self.writes.append(("append", turn))
        return await super().append(key, entries, turn=turn, **options)

    async def rewrite(self, key, change, *, turn=None):
        self.writes.append(("rewrite", turn))
        return await super().rewrite(key, change, turn=turn)

    async def write_sidecar(self, key, name, data, *, turn=None):
        self.writes.append(("write_sidecar", turn))
        await super().write_sidecar(key, name, data, turn=turn)

    async def delete_sidecar(self, key, name, *, turn=None):
        self.writes.append(("delete_sidecar", turn))
        return await super().delete_sidecar(key, name, turn=turn)


def team(*steps):
    return agent("support", *steps, tools=[pay])


async def send(manager, **options):
    with contextlib.suppress(ConnectionError):
        await manager.send_message("s", "hello", **options)


async def resume(manager):
    await send(manager)
    await manager.resume("s", approve=True)


async def reject(manager):
    await send(manager)
    await manager.send_message("s", "more", on_pending="reject")


async def roll_back(manager):
    await send(manager, on_failure="rollback")


async def retry(manager):
    await send(manager)
    await manager.retry("s")


async def clear(manager):
    await send(manager)
    await manager.clear_session("s")


async def find_interrupted(manager):
    await manager.store.append(KEY, [{"item": {"role": "user", "content": "hello"}, "turn": "dead"}])
    manager.store.writes.clear()
    await send(manager)


WAYS = {
    "send": (send, ["done"], {"append"}),
    "resume": (resume, [calls("pay"), "done"], {"append", "write_sidecar", "delete_sidecar"}),
    "reject and send": (reject, [calls("pay"), "done"], {"append", "write_sidecar", "delete_sidecar"}),
    "retry": (retry, [GONE, "done"], {"append", "delete_sidecar"}),
    "roll back": (roll_back, [GONE], {"append", "rewrite", "delete_sidecar"}),
    "clear": (clear, ["done"], {"append", "rewrite", "delete_sidecar"}),
    "after an interrupted one": (find_interrupted, ["done"], {"append", "delete_sidecar"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_write_carries_the_lock(way):
    act, steps, kinds = WAYS[way]
    store = Watched()

    async def run():
        manager = managed(store, team(*steps))
        await opened(manager)
        await act(manager)

    asyncio.run(run())
    assert {kind for kind, _ in store.writes} == kinds
    assert {lock for _, lock in store.writes} == {TurnLock(KEY)}


def test_a_turn_that_is_abandoned_is_ended_under_the_lock():
    store = Watched()

    async def run():
        cashier = agent("cashier", calls("pay"), tools=[pay])
        manager = managed(store, agent("support", to("cashier"), handoffs=[cashier]))
        await opened(manager)
        await manager.send_message("s", "hello")
        store.writes.clear()
        await managed(store, agent("support", "done")).send_message("s", "more", on_pending="reject")

    asyncio.run(run())
    assert {kind for kind, _ in store.writes} == {"append", "delete_sidecar"}
    assert {lock for _, lock in store.writes} == {TurnLock(KEY)}


def test_a_bare_session_carries_none():
    store = Watched()

    async def run():
        manager = managed(store, agent("support"))
        await opened(manager)
        await (await manager.session("s")).add_items([{"role": "user", "content": "hello"}])

    asyncio.run(run())
    assert store.writes == [("append", None)]
