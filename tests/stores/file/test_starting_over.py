"""The way out of a damaged file: it is kept aside and the session is empty. Whatever else cannot be read stays."""

import asyncio
import logging
import os

import pytest
from builders import KEY
from file_sessions import append, create, load, rename, said, texts

from agents_sessions import FileSession, MemoryStore, SessionManager, StoredSession
from agents_sessions.errors import (
    SessionCorruptedError,
    SessionNotFoundError,
    SessionPathError,
    SessionStorageError,
    SessionVersionError,
    UnsupportedError,
)
from agents_sessions.stores.codec import Codec, SessionCodec
from agents_sessions.stores.file.store import FileStore


def clear(store):
    asyncio.run(StoredSession(store, KEY).clear_session())


def clear_by_manager(store):
    asyncio.run(SessionManager(store).clear_session(KEY.session_id))


def kept(path):
    return [copy.read_bytes() for copy in path.parent.glob("*.torn-*")]


DAMAGE = {
    "an old line": lambda data: data.replace(b',{"seq":2', b',{"seq":2.', 1),
    "the header": lambda data: data.replace(b"{", b"{{", 1),
    "a typo in an edited file": lambda data: data.replace(b'"a"', b'"a"b"', 1),
    "nothing is left": lambda _: b"",
    "no session": lambda _: b'{"name": "something else"}',
    "a fact": lambda data: data.replace(b'"status":"active"', b'"status":"lively"', 1),
}  # fmt: skip


@pytest.fixture(params=DAMAGE)
def damaged(request, store, path):
    create(store, "a", "b")
    append(store, "c")
    append(store, "d")
    path.write_bytes(DAMAGE[request.param](path.read_bytes()))
    with pytest.raises(SessionCorruptedError):
        rename(store, "x")
    return path.read_bytes()


@pytest.mark.parametrize("how", [clear, clear_by_manager])
def test_clearing_a_damaged_session_empties_it_and_keeps_the_file(store, path, damaged, how, caplog):
    with caplog.at_level(logging.WARNING):
        how(store)
    assert (texts(store), kept(path)) == ([], [damaged])
    assert "was damaged; cleared, the damaged file is kept as" in caplog.text
    append(store, "e")
    assert texts(store) == ["e"]


def test_a_manager_that_knows_the_session_can_clear_it_too(store, path):
    async def scenario():
        manager = SessionManager(store)
        await manager.create_session(KEY.agent_id, session_id=KEY.session_id)
        path.write_bytes(b"")
        await manager.clear_session(KEY.session_id)
        return await manager.get_session(KEY.session_id)

    assert asyncio.run(scenario()).context.items == 0


def test_its_facts_stay_where_its_header_can_be_read(store, path):
    create(store, "a", "b", name="Order", metadata={"vip": True})
    made = load(store).created_at
    path.write_bytes(path.read_bytes().replace(b'"crc"', b'"crd"'))
    clear(store)
    info = load(store)
    assert (info.name, info.metadata, info.created_at) == ("Order", {"vip": True}, made)


def test_no_number_is_given_a_second_time(store, path):
    create(store, "a", "b")
    append(store, "c")
    path.write_bytes(path.read_bytes().replace(b"{", b"{{", 1))
    clear(store)
    assert asyncio.run(store.append(KEY, [said("d")])).entries[0]["seq"] == 4


def test_the_damaged_file_goes_with_its_session(store, path, damaged):
    clear(store)
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []


def test_a_session_that_can_be_read_is_not_touched(store, path):
    create(store, "a")
    before = path.read_bytes()
    asyncio.run(store.start_over(KEY))
    assert path.read_bytes() == before


def test_a_missing_session_is_not_made(store):
    with pytest.raises(SessionNotFoundError):
        asyncio.run(store.start_over(KEY))


NEWER = [
    lambda data: data.replace(b"agents-sessions/1", b"agents-sessions/2", 1),
    lambda data: data.replace(b"agents-sessions/1", b"agents-sessions/2", 1).replace(b'"history":[', b'"entries":[', 1),
    lambda data: data.replace(b"agents-sessions/1", b"agents-sessions/2", 1).replace(b"\n", b"", 1),
]


@pytest.mark.parametrize("how", [clear, clear_by_manager])
@pytest.mark.parametrize("newer", NEWER)
def test_a_session_of_a_newer_version_is_not_cleared(store, path, newer, how):
    create(store, "a")
    path.write_bytes(newer(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(SessionStorageError):
        how(store)
    assert (path.read_bytes(), kept(path)) == (before, [])


class Sealing(Codec):
    class Session(SessionCodec):
        kept = {"key": "k1"}  # noqa: RUF012

    def begin(self, key):
        return self.Session()

    def open(self, key, kept):
        if kept != {"key": "k1"}:
            raise SessionVersionError(key, "its header", "another key")
        return self.Session()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_session_of_another_codec_is_not_cleared(store, path, damaged):
    sealing = FileStore(store.root, codec=Sealing())
    create(sealing, "a", "b")
    if damaged:
        path.write_bytes(path.read_bytes().replace(b'"crc"', b'"crd"'))
    before = path.read_bytes()
    with pytest.raises(SessionVersionError):
        clear(store)
    assert (path.read_bytes(), kept(path)) == (before, [])


def test_a_link_is_not_cleared(store, path, tmp_path):
    create(store, "a")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"")
    with pytest.raises(SessionPathError):
        clear(store)
    assert path.is_symlink()


def test_the_session_of_another_id_is_not_cleared(store, path):
    create(store, "a", "b")
    path.write_bytes(path.read_bytes().replace(b'"crc"', b'"crd"').replace(b'"id":"order-42"', b'"id":"order-43"', 1))
    before = path.read_bytes()
    with pytest.raises(SessionPathError):
        clear(store)
    assert path.read_bytes() == before


def test_a_store_that_cannot_start_over_says_so():
    with pytest.raises(UnsupportedError, match="start a damaged session over"):
        asyncio.run(MemoryStore().start_over(KEY))


# --- what awaits approval goes with the history ---


@pytest.mark.parametrize("how", [clear, clear_by_manager])
def test_clearing_forgets_what_awaits_approval(store, how):
    async def prepare():
        await store.write_sidecar(KEY, "state.json", b"{}")
        await store.write_sidecar(KEY, "run_state.json", b"{}")
        await store.write_sidecar(KEY, "notes", b"kept")

    create(store, "a")
    asyncio.run(prepare())
    how(store)
    assert asyncio.run(store.list_sidecars(KEY)) == ["notes"]


def test_a_session_without_sidecars_has_no_folder_for_them(store, path):
    async def come_and_go():
        for name in ("state.json", "drafts/one"):
            await store.write_sidecar(KEY, name, b"{}")
        await store.delete_sidecar(KEY, "state.json")
        between = path.with_suffix("").exists()
        await store.delete_sidecar(KEY, "drafts/one")
        return between

    create(store, "a")
    assert asyncio.run(come_and_go())
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_of_sidecars_that_has_more_in_it_stays(store, path):
    create(store, "a")
    asyncio.run(store.write_sidecar(KEY, "state.json", b"{}"))
    (path.with_suffix("") / "of a person").write_text("")
    asyncio.run(store.delete_sidecar(KEY, "state.json"))
    assert os.listdir(path.with_suffix("")) == ["of a person"]


def test_a_bare_session_can_be_cleared_before_there_is_one(tmp_path):
    asyncio.run(FileSession("s", root=tmp_path).clear_session())
    assert os.listdir(tmp_path) == []


def test_a_rename_of_a_cleared_session_works(store, damaged):
    clear(store)
    rename(store, "again")
    assert load(store).name == "again"
