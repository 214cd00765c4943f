"""The codec seam: a backend stores what the codec makes of a session, and counts what it was before."""

import asyncio
import re

import pytest
from builders import KEY, said
from scrambled import WORDS, Scrambled

from agents_sessions.errors import SessionCorruptedError, SessionVersionError
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing.contract.append import AppendContract
from agents_sessions.testing.contract.aside import AsideContract
from agents_sessions.testing.contract.copy import CopyContract
from agents_sessions.testing.contract.create import CreateContract
from agents_sessions.testing.contract.facts import FactContract
from agents_sessions.testing.contract.items import ItemContract
from agents_sessions.testing.contract.move import MoveContract
from agents_sessions.testing.contract.read import ReadContract
from agents_sessions.testing.contract.rewrite import RewriteContract
from agents_sessions.testing.contract.sidecars import SidecarContract


class TestAScrambledMemoryStore(
    AppendContract,
    AsideContract,
    CopyContract,
    FactContract,
    ItemContract,
    MoveContract,
    RewriteContract,
    SidecarContract,
):
    """The parts in which a codec has its hand. The encrypting codec goes through the whole contract."""

    async def make_store(self, folder):
        return MemoryStore(codec=Scrambled())


class TestAScrambledFileStore(
    AppendContract, CopyContract, CreateContract, ItemContract, ReadContract, RewriteContract
):
    async def make_store(self, folder):
        return FileStore(folder, codec=Scrambled(), durability="process")


async def write_secrets(store):
    info = SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id, name="name secret")
    await store.create(info, [said("plain secret 0")], sidecars={"a.json": b"sidecar secret"})
    await store.append(KEY, [said("plain secret 1"), said("plain secret 2")])
    await store.rewrite(KEY, lambda history: history.with_facts(mode="plan"))
    await store.append(KEY, [said("plain secret 3")])
    await store.write_sidecar(KEY, "b.json", b"sidecar secret")
    return await store.load(KEY)


def test_no_body_reaches_the_disk_and_all_are_counted(tmp_path):
    info = asyncio.run(write_secrets(FileStore(tmp_path, codec=Scrambled())))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [word for word in WORDS if word in written]
    assert (info.context.user_messages, info.seq, info.name) == (4, 4, "name secret")


def test_sessions_of_a_codec_are_found_and_searched_and_nothing_of_them_is_stored_in_a_catalog(tmp_path):
    async def work(store):
        await write_secrets(store)
        assert len(await store.query(SessionQuery(name="name secret", mode="plan"))) == 1
        assert len(await store.search(SearchQuery(text="secret"))) == 5
        await store.aclose()

    asyncio.run(work(FileStore(tmp_path, codec=Scrambled())))
    assert not (tmp_path / ".catalog").exists()


def test_a_torn_append_of_a_scrambled_file_is_left_out(tmp_path):
    store = FileStore(tmp_path, codec=Scrambled())
    asyncio.run(write_secrets(store))
    path = store.path(KEY)
    path.write_bytes(path.read_bytes()[:-700])
    texts = [item["content"] for item in asyncio.run(store.items(KEY))]
    assert texts == [f"plain secret {number}" for number in range(len(texts))]
    assert len(texts) in (3, 4)
    asyncio.run(store.append(KEY, [said("plain secret 9")]))
    assert asyncio.run(store.load(KEY)).context.user_messages == len(texts) + 1


def test_a_body_in_another_place_is_refused(tmp_path):
    store = FileStore(tmp_path, codec=Scrambled())
    asyncio.run(write_secrets(store))
    data = store.path(KEY).read_bytes()
    one, two = re.findall(rb'"sealed":"[^"]*","bound":"[^"]*"', data)[:2]
    store.path(KEY).write_bytes(data.replace(one, b"\0").replace(two, one).replace(b"\0", two))
    with pytest.raises(SessionCorruptedError, match="bound to another place"):
        asyncio.run(store.entries(KEY))


def test_a_plain_store_refuses_what_another_codec_wrote(tmp_path):
    asyncio.run(write_secrets(FileStore(tmp_path, codec=Scrambled())))
    plain = FileStore(tmp_path)
    for act in (plain.entries(KEY), plain.load(KEY), plain.append(KEY, [said("x")]), plain.read_sidecar(KEY, "a.json")):
        with pytest.raises(SessionVersionError, match="codec"):
            asyncio.run(act)
