"""No word of an encrypted session is on the disk, whatever was done to it."""

import asyncio

import pytest
from agents import Agent
from agents.testing import ScriptedModel
from builders import KEY, said
from test_sealing import RING, WORDS, encrypted, write

from agents_sessions import FileStore, SessionManager, migrate_store
from agents_sessions.errors import UnsupportedError
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.testing import assistant_message

ID = KEY.session_id


def found(folder):
    """Return the words that stand anywhere below a folder, in a file or in a name."""
    paths = [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]
    written = b"\n".join(path.read_bytes() + bytes(path) for path in paths)
    return [word for word in WORDS if word in written]


async def talk(manager):
    await manager.send_message("s2", "plain secret 1")
    await manager.update_session("s2", name="name secret", tags=["tag secret"], metadata={"a": "meta secret"})


async def checkpoint(manager):
    await manager.checkpoints.save(ID, {"a": "meta secret"}, label="name secret")


async def fork(manager):
    await manager.branches.fork(ID, new_id="fork")


async def torn(manager):
    path = manager.store.path(KEY)
    path.write_bytes(path.read_bytes()[:-300])
    await manager.store.append(KEY, [said("plain secret 9")])
    assert list(path.parent.glob("*.torn-*"))


async def questions(manager):
    assert await manager.store.count(SessionQuery(name="name secret")) == 1
    assert await manager.store.search(SearchQuery(text="secret"))


WORK = {
    "talk": talk,
    "checkpoint": checkpoint,
    "fork": fork,
    "torn": torn,
    "questions": questions,
    "rewrite": lambda manager: manager.store.rewrite(KEY, lambda history: history.with_facts(mode="plan")),
    "move": lambda manager: manager.store.move(KEY, "other"),
    "trash": lambda manager: manager.store.set_aside(KEY),
    "check": lambda manager: manager.diagnostics.check(),
    "statistics": lambda manager: manager.statistics.report(),
}


@pytest.mark.parametrize("work", WORK)
def test_no_word_reaches_the_disk(tmp_path, work):
    async def run():
        store = await write(encrypted(tmp_path))
        agent = Agent(name="support", model=ScriptedModel([[assistant_message("plain secret 2")]] * 3))
        async with SessionManager(store, agents=agent, trash="30d") as manager:
            await manager.create_session("support", session_id="s2")
            await WORK[work](manager)
        await store.aclose()

    asyncio.run(run())
    assert found(tmp_path) == []


def test_the_words_are_found_where_nothing_is_encrypted(tmp_path):
    asyncio.run(write(FileStore(tmp_path)))
    assert found(tmp_path) == list(WORDS)


def test_an_encrypted_session_does_not_go_into_a_plain_archive(tmp_path):
    async def run():
        store = await write(encrypted(tmp_path))
        manager = SessionManager(store)
        with pytest.raises(UnsupportedError, match="archive"):
            await manager.archive.archive(ID)
        assert len(await store.items(KEY)) == 4

    asyncio.run(run())
    assert found(tmp_path) == []


def test_a_store_is_encrypted_and_decrypted_by_a_migration(tmp_path):
    async def run():
        plain = await write(FileStore(tmp_path / "plain"))
        sealed = encrypted(tmp_path / "sealed", RING)
        await migrate_store(plain, sealed)
        assert await sealed.items(KEY) == await plain.items(KEY)
        back = FileStore(tmp_path / "back")
        await migrate_store(sealed, back)
        assert await back.items(KEY) == await plain.items(KEY)
        assert await back.read_sidecar(KEY, "a.json") == b"sidecar secret 1"

    asyncio.run(run())
    assert found(tmp_path / "sealed") == []
