"""A session is given to another agent: `manager.move_session`."""

import asyncio
import shutil

import pytest
from agents import Agent

from agents_sessions.errors import SessionAmbiguousError, UnknownAgentError
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.session import FileSession
from agents_sessions.stores.file.store import FileStore


def test_a_bare_session_becomes_a_managed_one(tmp_path):
    async def run():
        await FileSession("s", root=tmp_path).add_items([{"role": "user", "content": "hello"}])
        async with SessionManager(tmp_path, agents=[Agent(name="support")]) as manager:
            assert (await manager.get_session("s")).agent_id == "default"
            info = await manager.move_session("s", agent_id="support")
            return info, await manager.get_session("s"), [e.text for e in await manager.get_recent_messages("s")]

    info, found, texts = asyncio.run(run())
    assert (info.agent_id, texts) == ("support", ["hello"])
    assert (info.key, info.seq, info.context) == (found.key, found.seq, found.context)


def test_a_session_moves_to_agents_that_there_are(tmp_path):
    async def run():
        async with SessionManager(tmp_path, agents=[Agent(name="support")]) as manager:
            await manager.create_session("support", session_id="s")
            with pytest.raises(UnknownAgentError, match="sales"):
                await manager.move_session("s", agent_id="sales")
            return (await manager.move_session("s", agent_id="support")).agent_id

    assert asyncio.run(run()) == "support"


def test_a_session_that_a_dead_process_has_left_with_both_agents_is_the_new_ones(tmp_path, caplog):
    async def run(more):
        store = FileStore(tmp_path)
        old, new = SessionKey("default", "s"), SessionKey("support", "s")
        await FileSession("s", root=tmp_path).add_items([{"role": "user", "content": "hello"}])
        left = store.path(old).read_bytes()
        await store.move(old, "support")
        store.path(old).write_bytes(left)
        if more:
            await FileSession("s", root=tmp_path).add_items([{"role": "user", "content": "more"}])
        manager = SessionManager(tmp_path)
        return (await manager.get_session("s")).key == new, await store.find("s") == [new]

    assert asyncio.run(run(more=False)) == (True, True)
    assert "was moved from agent 'default'" in caplog.text
    shutil.rmtree(tmp_path)
    with pytest.raises(SessionAmbiguousError):
        asyncio.run(run(more=True))


def test_a_session_that_moves_back_is_not_taken_for_what_it_has_left(tmp_path):
    async def run():
        store = FileStore(tmp_path)
        old, new = SessionKey("default", "s"), SessionKey("support", "s")
        await FileSession("s", root=tmp_path).add_items([{"role": "user", "content": "hello"}])
        await store.move(old, "support")
        left = store.path(new).read_bytes()
        await store.move(new, "default")
        store.path(new).write_bytes(left)
        manager = SessionManager(tmp_path)
        return (await manager.get_session("s")).key == old, await store.find("s") == [old]

    assert asyncio.run(run()) == (True, True)
