"""The contract on files, and where a store and its sessions are."""

import asyncio
import errno
import os
from functools import partial

import pytest
from builders import KEY
from file_sessions import append, create, load, on_disk, open_files, rename, scan, sidecars, texts, write_sidecar

from agents_sessions.concurrency import process
from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import SessionIOError, SessionPathError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.file import limits as file_limits
from agents_sessions.stores.file.store import FileStore
from agents_sessions.testing import StoreContract
from agents_sessions.testing.contract.append import AppendContract
from agents_sessions.testing.contract.aside import AsideContract
from agents_sessions.testing.contract.create import CreateContract
from agents_sessions.testing.contract.delete import DeleteContract
from agents_sessions.testing.contract.move import MoveContract
from agents_sessions.testing.contract.processes import ProcessContract
from agents_sessions.testing.contract.rewrite import RewriteContract
from agents_sessions.testing.contract.sidecars import SidecarContract


class TestFileStore(StoreContract):
    async def make_store(self, folder):
        return FileStore(folder)

    def opener(self, store):
        return partial(FileStore, store.root, durability=store.durability)


class TestFileStoreWithoutSyncing(
    AppendContract,
    AsideContract,
    CreateContract,
    DeleteContract,
    MoveContract,
    ProcessContract,
    RewriteContract,
    SidecarContract,
):
    """The parts that write: in nothing else do the durabilities differ."""

    async def make_store(self, folder):
        return FileStore(folder, durability="process")

    def opener(self, store):
        return partial(FileStore, store.root, durability="process")


def test_a_durability_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="durability"):
        FileStore(tmp_path, durability="sometimes")


def test_a_store_says_where_it_is(tmp_path):
    assert repr(FileStore(tmp_path)) == f"FileStore({str(tmp_path)!r}, durability='full')"


def test_a_session_is_the_file_that_its_ids_name(store, path):
    create(store, "Hi")
    assert path == store.root / "support" / "order-42.json"
    assert on_disk(path) == ["Hi"]


def test_a_relative_root_does_not_move_with_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore("sessions")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    create(store, "Hi")
    assert (tmp_path / "sessions" / "support" / "order-42.json").exists()


def test_a_store_has_a_root_and_limits_of_its_own_accord(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore()
    assert store.root == tmp_path / "sessions"
    assert store._files.limits == file_limits.Limits()


def test_a_missing_root_is_an_empty_store(tmp_path):
    store = FileStore(tmp_path / "nowhere")
    assert scan(store) == []
    assert load(store) is None
    assert not (tmp_path / "nowhere").exists()


def test_a_root_may_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    create(FileStore(tmp_path / "link"), "a")
    assert texts(FileStore(tmp_path / "real")) == ["a"]


def test_two_paths_of_one_root_share_their_gates(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert FileStore(tmp_path / "link").place(KEY) == FileStore(tmp_path / "real").place(KEY)


def test_a_root_that_is_a_file_is_an_error_of_ours(tmp_path):
    (tmp_path / "file").write_text("x")
    store = FileStore(tmp_path / "file")
    with pytest.raises(SessionPathError):
        create(store)
    with pytest.raises(SessionIOError):
        scan(store)


def test_a_root_that_leads_nowhere_is_an_error_of_the_system(tmp_path):
    (tmp_path / "sessions").symlink_to(tmp_path / "gone" / "away")
    with pytest.raises(SessionIOError) as caught:
        create(FileStore(tmp_path / "sessions"), "one")
    assert caught.value.errno == errno.ENOENT


def test_a_session_is_made_below_a_root_that_cannot_be_listed(store, path, monkeypatch):
    """Whoever made the folder of its agent may list it: it was not this process."""
    create(store, key=SessionKey("support", "other"))
    monkeypatch.setattr(process, "synced_folders", Recent(8))
    real = os.open

    def refuse(name, *arguments, **how):
        if os.fspath(name) == os.fspath(store.root):
            raise PermissionError(errno.EACCES, "refused")
        return real(name, *arguments, **how)

    monkeypatch.setattr(os, "open", refuse)
    create(store, "a")
    assert texts(store) == ["a"]


def test_no_operation_leaves_an_open_file(store, path):
    def everything():
        create(store, "a")
        append(store, "b")
        rename(store, "x")
        texts(store)
        scan(store)
        asyncio.run(store.find(KEY.session_id))
        write_sidecar(store, "a.json")
        asyncio.run(store.read_sidecar(KEY, "a.json"))
        sidecars(store)
        asyncio.run(store.delete(KEY))

    everything()
    before = open_files()
    everything()
    assert open_files() == before
