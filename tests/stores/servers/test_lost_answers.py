"""The answer to every change is lost once: what was done is found, and not done twice."""

import asyncio
import tempfile

import pytest
from builders import KEY, said

from agents_sessions.keys import SessionKey
from agents_sessions.model.info import SessionInfo

NEW = SessionKey("support", "new")


async def create(store):
    await store.create(SessionInfo(id="new", agent_id="support"), [said("x")], sidecars={"a.json": b"1"})


async def append(store):
    assert (await store.append(KEY, [said("c"), said("d")])).seq == 4


async def pop(store):
    await store.rewrite(KEY, lambda history: history.with_entries(history.entries[:-1]))


async def replace_all(store):
    await store.rewrite(KEY, lambda history: history.with_entries([said("other"), *history.entries[:1], said("more")]))


async def rename(store):
    await store.rewrite(KEY, lambda history: history.with_facts(name="new"))


async def write_sidecar(store):
    await store.write_sidecar(KEY, "a.json", b"2")


async def delete_sidecar(store):
    assert await store.delete_sidecar(KEY, "b.json")


async def delete(store):
    await store.delete(KEY)


async def set_aside(store):
    await store.set_aside(KEY, "note")


async def bring_back(store):
    (aside,) = await store.list_aside()
    await store.bring_back(aside.token)


async def discard(store):
    (aside,) = await store.list_aside()
    await store.discard(aside.token)


async def turn(store):
    async with store.turn_lock(KEY, timeout=5) as lock:
        await store.append(KEY, [said("in the turn")], turn=lock)
    async with store.turn_lock(KEY, timeout=0):
        pass


async def reserve(store):
    async with store.reserve("new"):
        pass
    async with store.reserve("new"):
        pass


CHANGES = [
    create, append, pop, replace_all, rename, write_sidecar, delete_sidecar, delete, set_aside, bring_back, discard,
    turn, reserve,
]  # fmt: skip


async def prepare(store, change):
    await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), [said("a"), said("b")])
    await store.write_sidecar(KEY, "b.json", b"1")
    if change in (bring_back, discard):
        await store.set_aside(KEY, "note")


async def look(store):
    """Return all that is there."""
    found = []
    for key in (KEY, NEW):
        info = await store.load(key)
        entries = [] if info is None else await store.entries(key)
        words = [(entry["seq"], entry["item"]["content"]) for entry in entries]
        names = await store.list_sidecars(key)
        data = [(name, await store.read_sidecar(key, name)) for name in names]
        found.append((info and (info.name, info.seq, info.context.items), words, data))
    return found, [(aside.key, aside.note) for aside in await store.list_aside()], [i.key async for i in store.scan()]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_whose_answer_is_lost_is_made_once(backend, change):
    async def work():
        plain = backend.open()
        await prepare(plain, change)
        await change(plain)
        expected = await look(plain)
        place = 0
        while True:
            backend.empty()
            await prepare(plain, change)
            store = behind.open()
            await look(store)
            proxy.lose(place)
            await change(store)
            was_lost = proxy.lost
            proxy.lose(None)
            await store.aclose()
            assert await look(plain) == expected, f"the answer {place} was lost"
            if not was_lost:
                break
            place += 1
        await plain.aclose()
        assert place > 0, "no answer was lost"

    with tempfile.TemporaryDirectory(prefix="as-") as folder:
        behind, proxy = backend.proxied(folder)
        with proxy:
            asyncio.run(work())
