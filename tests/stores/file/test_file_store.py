"""What the contract cannot say: system calls, permissions, links, failing disks, torn files, other writers."""

import asyncio
import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from functools import partial

import pytest

from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import (
    SessionBusyError,
    SessionCorruptedError,
    SessionExistsError,
    SessionIOError,
    SessionNotFoundError,
    SessionPathError,
    SessionVersionError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.base import History
from agents_sessions.stores.file import (
    limits as file_limits,
)
from agents_sessions.stores.file import (
    queries as file_queries,
)
from agents_sessions.stores.file import (
    reader as file_reader,
)
from agents_sessions.stores.file import (
    sidecars as file_sidecars,
)
from agents_sessions.stores.file import (
    store as file_store,
)
from agents_sessions.stores.file import (
    turn_lock as file_turns,
)
from agents_sessions.stores.file import (
    writer as file_writer,
)
from agents_sessions.stores.file.disk import atomic as file_atomic
from agents_sessions.stores.file.disk import locks as file_locks
from agents_sessions.stores.file.disk import syscalls as file_io
from agents_sessions.stores.file.format import document as file_document
from agents_sessions.stores.file.store import FileStore
from agents_sessions.testing import StoreContract

KEY = SessionKey("support", "order-42")


class TestFileStore(StoreContract):
    def make_store(self, folder):
        return FileStore(folder)

    def opener(self, store):
        return partial(FileStore, store.root, durability=store.durability)


class TestFileStoreWithoutSyncing(TestFileStore):
    def make_store(self, folder):
        return FileStore(folder, durability="process")


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "sessions")


@pytest.fixture
def path(store):
    return store.path(KEY)


def said(text):
    return item_entry({"role": "user", "content": text, "note": "Zaunkönig"})


def create(store, *contents, key=KEY, **facts):
    info = SessionInfo(id=key.session_id, agent_id=key.agent_id, **facts)
    return asyncio.run(store.create(info, [said(text) for text in contents]))


def append(store, *contents):
    return asyncio.run(store.append(KEY, [said(text) for text in contents]))


def rename(store, name):
    return asyncio.run(store.rewrite(KEY, lambda history: history.with_facts(name=name)))


def texts(store, **which):
    return [item["content"] for item in asyncio.run(store.items(KEY, **which))]


def load(store, key=KEY):
    return asyncio.run(store.load(key))


def scan(store, *agent):
    async def collect():
        return [info.key async for info in store.scan(*agent)]

    return asyncio.run(collect())


def on_disk(path):
    return [entry["item"]["content"] for entry in json.loads(path.read_bytes())["history"]]


def hidden(folder):
    return [name for name in os.listdir(folder) if name.startswith(".")]


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


# --- system calls ----------------------------------------------------------------------------------------------

WATCHED = {
    "open", "close", "pwrite", "preadv", "fdatasync", "fsync", "link", "unlink", "replace", "ftruncate", "fstat",
    "stat", "listdir", "scandir", "fchmod", "flock", "rmtree",
}  # fmt: skip


class Calls:
    """Stands before `os`, `fcntl` and `shutil` where they are used: writes calls down, lets one fail."""

    def __init__(self):
        self.made = []
        self.written = self.read = 0
        self.fails = lambda name, number: None

    def of(self, module):
        calls = self

        class Watched:
            def __getattr__(self, name):
                real = getattr(module, name)
                return partial(calls.make, name, real) if name in WATCHED else real

        return Watched()

    def make(self, name, real, *args, **kwargs):
        number = len(self.made)
        self.made.append(name)
        error = self.fails(name, number)
        if error is not None and name != "close":
            raise OSError(error, os.strerror(error))
        result = real(*args, **kwargs)
        if error is not None:  # Linux closes all the same
            raise OSError(error, os.strerror(error))
        self.written += result if name == "pwrite" else 0
        self.read += result if name == "preadv" else 0
        return result

    def fail_at(self, number, error):
        self.made.clear()
        self.fails = lambda _, made: error if made == number else None

    def heal(self):
        self.fails = lambda name, number: None

    def clear(self):
        self.made.clear()
        self.written = self.read = 0


@pytest.fixture
def calls(monkeypatch):
    calls = Calls()
    for name, module in (("os", os), ("fcntl", fcntl), ("shutil", shutil)):
        for user in (file_io, file_locks, file_atomic):
            if hasattr(user, name):
                monkeypatch.setattr(user, name, calls.of(module))
    return calls


linux = pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's calls")


@linux
def test_an_append_is_one_write_and_one_sync(store, calls):
    create(store)
    append(store, "first")
    calls.clear()
    append(store, "second", "third")
    writing = [name for name in calls.made if name in ("pwrite", "fdatasync", "fsync", "ftruncate", "replace", "link")]
    assert writing == ["pwrite", "fdatasync"]
    assert len(calls.made) <= 18


def test_an_append_that_is_not_synced_is_one_write(tmp_path, calls):
    store = FileStore(tmp_path, durability="process")
    create(store)
    calls.clear()
    append(store, "a")
    assert [name for name in calls.made if name in ("pwrite", "fdatasync", "fsync")] == ["pwrite"]


@pytest.mark.parametrize("cached", [True, False])
def test_an_append_costs_the_same_at_any_length(tmp_path, calls, monkeypatch, cached):
    costs = []
    for length in (1000, 9000):
        store = FileStore(tmp_path / str(length))
        create(store, *["x" * 50] * length)
        append(store, "warm")
        if not cached:
            monkeypatch.setattr(file_reader, "_tails", Recent(8))
        calls.clear()
        append(store, "measured")
        costs.append((list(calls.made), calls.read, calls.written))
    (calls_short, read_short, written_short), (calls_long, read_long, written_long) = costs
    assert calls_short == calls_long
    assert abs(read_short - read_long) < 100
    assert abs(written_short - written_long) < 50


def test_the_newest_of_a_long_history_are_read_from_its_end(store, calls):
    create(store, *[f"{number:06} {'x' * 100}" for number in range(20_000)])
    load(store)
    for count in (1, 20, 200):
        calls.clear()
        assert len(texts(store, limit=count)) == count
        assert calls.read < 12_000 + count * 500


def test_loading_costs_the_same_at_any_length(tmp_path, calls):
    read = []
    for length in (10, 20_000):
        store = FileStore(tmp_path / str(length))
        create(store, *["x"] * length)
        calls.clear()
        load(store)
        read.append(calls.read)
    assert max(read) < 30_000


def test_a_write_that_stops_short_is_continued(store, path, monkeypatch):
    create(store, "a")
    real = os.pwrite
    monkeypatch.setattr(file_io.os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:7], offset))
    append(store, "b" * 100)
    rename(store, "short")
    assert on_disk(path) == ["a", "b" * 100]


def test_a_file_that_takes_no_bytes_is_an_error_and_no_endless_loop(store, path, monkeypatch):
    create(store, "a")
    monkeypatch.setattr(file_io.os, "pwrite", lambda fd, data, offset: 0)
    with pytest.raises(SessionIOError):
        append(store, "b")


# --- failing calls ---------------------------------------------------------------------------------------------


async def _delete_sidecar(store):
    assert await store.delete_sidecar(KEY, "run_state.json")


OPERATIONS = {
    "append": lambda store: store.append(KEY, [said("c"), said("d")]),
    "rewrite": lambda store: store.rewrite(KEY, lambda history: history.with_facts(name="new")),
    "pop": lambda store: store.rewrite(KEY, lambda history: history.with_entries(history.entries[:-1])),
    "write_sidecar": lambda store: store.write_sidecar(KEY, "run_state.json", b"new"),
    "delete_sidecar": _delete_sidecar,
}


def state_of(store):
    async def read():
        info = await store.load(KEY)
        entries = await store.entries(KEY)
        return info, entries, await store.read_sidecar(KEY, "run_state.json")

    return asyncio.run(read())


def open_files():
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_file(fd))


def _is_file(fd):
    try:
        return stat.S_IFMT(os.stat(f"/proc/self/fd/{fd}").st_mode) in (stat.S_IFREG, stat.S_IFDIR)
    except FileNotFoundError:  # that of the listing itself
        return False


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_of_which_any_call_fails_stores_all_or_nothing(tmp_path, calls, name, error):
    for number in range(200):
        store = FileStore(tmp_path / str(number))
        create(store, "a")
        append(store, "b")
        asyncio.run(store.write_sidecar(KEY, "run_state.json", b"old"))
        before = state_of(store)
        files = open_files()
        calls.fail_at(number, error)
        failed = None
        try:
            asyncio.run(OPERATIONS[name](store))
        except SessionIOError as caught:
            failed = caught
        reached = len(calls.made) > number
        where = calls.made[number] if reached else "no call"
        calls.heal()
        assert open_files() == files, where
        after = state_of(store)
        if failed is not None:
            assert failed.errno == error
            assert after == before, where
        else:
            assert after != before, where
        left = [name for name in hidden(store.path(KEY).parent) if name.endswith(".tmp")]
        assert not left or where == "unlink"
        append(store, "next")
        assert texts(store)[-1] == "next"
        if not reached:
            break
    else:
        pytest.fail("never got through")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_creation_of_which_any_call_fails_leaves_nothing(tmp_path, calls, error):
    for number in range(200):
        store = FileStore(tmp_path / str(number))
        files = open_files()
        calls.fail_at(number, error)
        failed = None
        try:
            create(store, "a")
        except SessionIOError as caught:
            failed = caught
        reached = len(calls.made) > number
        where = calls.made[number] if reached else "no call"
        calls.heal()
        assert open_files() == files, where
        if failed is not None:
            assert load(store) is None, where
            create(store, "a")
        assert texts(store) == ["a"]
        if not reached:
            break
    else:
        pytest.fail("never got through")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_deletion_of_which_any_call_fails_leaves_all_or_no_session(tmp_path, calls, error):
    for number in range(200):
        store = FileStore(tmp_path / str(number))
        create(store, "a")
        asyncio.run(store.write_sidecar(KEY, "run_state.json", b"old"))
        before = state_of(store)
        calls.fail_at(number, error)
        failed = False
        try:
            asyncio.run(store.delete(KEY))
        except SessionIOError:
            failed = True
        reached = len(calls.made) > number
        calls.heal()
        if load(store) is not None:
            assert failed
            assert state_of(store) == before
            asyncio.run(store.delete(KEY))
        create(store)
        assert asyncio.run(store.list_sidecars(KEY)) == []
        if not reached:
            break
    else:
        pytest.fail("never got through")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_turn_lock_of_which_any_call_fails_is_free_again(tmp_path, calls, error):
    async def turn(store):
        async with store.turn_lock(KEY, timeout=0):
            pass

    store = FileStore(tmp_path)
    create(store)
    for number in range(60):
        files = open_files()
        calls.fail_at(number, error)
        with contextlib.suppress(SessionIOError):
            asyncio.run(turn(store))
        reached = len(calls.made) > number
        calls.heal()
        assert open_files() == files
        asyncio.run(turn(store))
        if not reached:
            break
    else:
        pytest.fail("never got through")


@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES])
def test_a_reading_of_which_any_call_fails_is_right_or_an_error(store, calls, error):
    create(store, "a")
    expected = state_of(store)
    for number in range(60):
        files = open_files()
        calls.fail_at(number, error)
        found, failed = expected, None
        try:
            found = state_of(store)
        except SessionIOError as caught:
            failed = caught
        assert found == expected
        assert failed is None or failed.errno == error
        assert open_files() == files
        if len(calls.made) <= number:
            break
    else:
        pytest.fail("never got through")


def test_a_failed_sync_puts_the_old_end_back(store, path, calls):
    create(store, "a")
    append(store, "b")
    before = path.read_bytes()
    calls.fails = lambda name, _: errno.EIO if name == "fdatasync" and calls.made.count("fdatasync") == 1 else None
    calls.clear()
    with pytest.raises(SessionIOError):
        append(store, "lost")
    assert path.read_bytes() == before
    assert calls.made.count("fdatasync") == 2  # the second one is for the old bytes


def test_a_disk_that_dies_in_an_append_leaves_what_the_next_write_repairs(store, path, calls, monkeypatch, caplog):
    create(store, "a")
    append(store, "b")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:90], offset))
    calls.fails = lambda name, _: errno.EIO if name == "pwrite" and calls.made.count("pwrite") > 1 else None
    calls.clear()
    with caplog.at_level(logging.WARNING), pytest.raises(SessionIOError):
        append(store, "lost" * 100)
    monkeypatch.undo()
    assert "could not put the old end back" in caplog.text
    assert texts(store) == ["a", "b"]
    append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]


def test_a_batch_whose_sync_failed_is_not_stored_also_if_the_disk_is_full_by_then(store, path, calls):
    create(store, "a")
    append(store, "b")
    calls.clear()
    calls.fails = lambda name, _: (
        errno.EIO
        if name == "fdatasync" and calls.made.count("fdatasync") == 1
        else errno.ENOSPC
        if name == "pwrite" and calls.made.count("pwrite") > 1
        else None
    )
    with pytest.raises(SessionIOError):
        append(store, "c")
    calls.heal()
    assert texts(store) == ["a", "b"]
    append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]
    assert load(store).seq == 3


def test_an_error_names_the_session_and_the_path(store, path, calls):
    create(store, "a")
    calls.fails = lambda name, _: errno.ENOSPC if name == "pwrite" else None
    with pytest.raises(SessionIOError) as caught:
        append(store, "b")
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    assert "order-42" in str(caught.value)
    assert "No space left" in str(caught.value)


# --- permissions, links and devices ----------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_files_and_folders_are_private_under_any_umask(store, path, mask):
    async def work():
        await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), [said("a")])
        await store.rewrite(KEY, lambda history: history.with_facts(name="x"))
        await store.write_sidecar(KEY, "checkpoints/a.json", b"{}")
        async with store.turn_lock(KEY):
            return modes(store.root)

    before = os.umask(mask)
    try:
        found = asyncio.run(work())
    finally:
        os.umask(before)
    assert len(found) == 7
    assert set(found) == {(True, 0o700), (False, 0o600)}


def modes(root):
    found = [root, *root.rglob("*")]
    return [(each.is_dir(), stat.S_IMODE(each.stat().st_mode)) for each in found]


OF_A_FILE = {
    "load": lambda store: store.load(KEY),
    "entries": lambda store: store.entries(KEY),
    "items": lambda store: store.items(KEY, limit=1),
    "append": lambda store: store.append(KEY, [said("x")]),
    "rewrite": lambda store: store.rewrite(KEY, lambda history: history.with_entries([])),
}
OF_A_SESSION = {
    **OF_A_FILE,
    "write_sidecar": lambda store: store.write_sidecar(KEY, "a.json", b"{}"),
    "delete": lambda store: store.delete(KEY),
}


def assert_refused(store):
    async def refuse():
        for operation in OF_A_SESSION.values():
            with pytest.raises(SessionPathError):
                await asyncio.wait_for(operation(store), 10)

    asyncio.run(refuse())


def test_a_linked_file_is_refused_and_not_touched(store, path, tmp_path):
    create(store, "a")
    target = tmp_path / "target.json"
    path.rename(target)
    path.symlink_to(target)
    before = target.read_bytes()
    assert_refused(store)
    assert target.read_bytes() == before


def test_a_linked_folder_of_an_agent_is_refused_and_not_touched(store, path, tmp_path):
    create(store, "a")
    target = tmp_path / "target"
    path.parent.rename(target)
    path.parent.symlink_to(target)
    before = (target / path.name).read_bytes()
    assert_refused(store)
    with pytest.raises(SessionPathError):
        create(store)
    assert (target / path.name).read_bytes() == before


def test_a_linked_folder_of_an_agent_is_left_out_of_a_scan(store, path, tmp_path):
    create(store, "a")
    path.parent.rename(tmp_path / "target")
    path.parent.symlink_to(tmp_path / "target")
    assert scan(store) == []
    with pytest.raises(SessionPathError):
        scan(store, "support")


def test_a_linked_folder_of_sidecars_is_refused(store, path, tmp_path):
    create(store, "a")
    (tmp_path / "target").mkdir()
    path.with_suffix("").symlink_to(tmp_path / "target")
    with pytest.raises(SessionPathError):
        asyncio.run(store.write_sidecar(KEY, "a.json", b"{}"))
    with pytest.raises(SessionPathError):
        asyncio.run(store.list_sidecars(KEY))
    assert os.listdir(tmp_path / "target") == []


def test_a_fifo_is_refused_and_not_waited_on(store, path):
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert_refused(store)


def test_a_folder_in_the_place_of_a_file_is_refused(store, path):
    path.mkdir(parents=True)
    assert_refused(store)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/nowhere", path)])
def test_what_is_no_file_keeps_its_name_from_a_new_session(store, path, make):
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(SessionExistsError):
        create(store)


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


def test_a_missing_root_is_an_empty_store(tmp_path):
    store = FileStore(tmp_path / "nowhere")
    assert scan(store) == []
    assert load(store) is None
    assert not (tmp_path / "nowhere").exists()


# --- torn, damaged and foreign files ---------------------------------------------------------------------------


def tear(path, keep):
    """Leave the file as an append of "lost" leaves it that was killed after so many bytes."""
    before = path.read_bytes()
    append(FileStore(path.parent.parent), "lost secret " * 200)
    after = path.read_bytes()
    offset = json.loads(before)["seal"]["end"]
    torn = after[: offset + keep] + before[offset + keep :]
    path.write_bytes(torn)
    return torn


def test_a_torn_append_reads_as_before_and_the_file_is_not_touched(store, path):
    create(store, "a")
    append(store, "b")
    torn = tear(path, 900)
    assert texts(store) == ["a", "b"]
    assert load(store).seq == 2
    assert scan(store) == [KEY]
    assert path.read_bytes() == torn


def test_a_torn_file_is_repaired_by_the_next_write_and_its_bytes_are_kept(store, path, caplog):
    create(store, "a")
    append(store, "b")
    torn = tear(path, 900)
    with caplog.at_level(logging.WARNING):
        append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]
    (aside,) = path.parent.glob("order-42.json.torn-*")
    assert aside.read_bytes() == torn
    assert aside.name in caplog.text
    assert "secret" not in caplog.text


def test_a_repaired_file_is_not_listed_as_a_session(store, path):
    create(store, "a")
    tear(path, 900)
    append(store, "b")
    assert scan(store) == [KEY]


def test_the_bytes_of_a_torn_file_go_with_its_session(store, path):
    create(store, "a")
    tear(path, 900)
    append(store, "b")
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []


def test_a_reader_of_a_torn_file_says_so_without_its_content(store, path, caplog):
    create(store, "a")
    tear(path, 900)
    with caplog.at_level(logging.WARNING):
        assert texts(store) == ["a"]
    assert "torn" in caplog.text
    assert "secret" not in caplog.text


DAMAGED = {
    "empty": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"hello",
    "utf-16": lambda data: data.decode().encode("utf-16"),
    "another": lambda data: b'{"a": 1}',
    "middle": lambda data: data.replace(b'"content":"a"', b'"content":\0a"', 1),
    "header": lambda data: b"\0" + data[1:],
    "odd fact": lambda data: data.replace(b'"status":"active"', b'"status":"asleep"'),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_and_not_touched(store, path, name):
    create(store, "a")
    append(store, "b")
    append(store, "c")
    damaged = DAMAGED[name](path.read_bytes())
    path.write_bytes(damaged)
    # Only who reads or rewrites it all can see damage in the middle, and a history needs no facts.
    seen_by = {"middle": ("entries", "rewrite"), "odd fact": ("load", "append", "rewrite")}
    for operation in seen_by.get(name, OF_A_FILE):
        with pytest.raises(SessionCorruptedError):
            asyncio.run(OF_A_FILE[operation](store))
    assert path.read_bytes() == damaged
    with pytest.raises(SessionExistsError):
        create(store)


def test_one_broken_file_does_not_hide_the_others(store, path, caplog):
    create(store, "a")
    path.with_name("broken.json").write_bytes(b"secret")
    path.with_name("folder.json").mkdir()
    path.with_name("dangling.json").symlink_to("nowhere")
    with caplog.at_level(logging.WARNING):
        assert scan(store) == [KEY]
        assert asyncio.run(store.find("broken")) == [SessionKey(KEY.agent_id, "broken")]
    assert "broken.json" in caplog.text
    assert "secret" not in caplog.text


def test_a_newer_format_is_refused_and_not_touched(store, path):
    create(store, "a")
    newer = path.read_bytes().replace(b"agents-sessions/1", b"agents-sessions/2")
    path.write_bytes(newer)

    for operation in OF_A_FILE.values():
        with pytest.raises(SessionVersionError, match="update agents-sessions"):
            asyncio.run(operation(store))
    assert path.read_bytes() == newer


def test_a_file_copied_to_another_name_is_refused(store, path):
    create(store, "a")
    other = SessionKey("support", "other")
    shutil.copy(path, store.path(other))
    for operation in (
        lambda: store.load(other),
        lambda: store.append(other, [said("x")]),
        lambda: store.rewrite(other, lambda history: history),
    ):
        with pytest.raises(SessionPathError, match="another session"):
            asyncio.run(operation())
    assert scan(store) == [KEY]


def test_a_folder_that_may_not_be_read_does_not_hide_the_others(store, path, caplog, monkeypatch):
    create(store, "a")
    for name in ("lost+found", "closed"):
        (store.root / name).mkdir()
    real = os.open

    def guarded(name, *args, **kwargs):
        if str(name).endswith(("lost+found", "closed")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded)
    assert scan(store) == [KEY]
    assert f"left out the folder {store.root / 'lost+found'}: the operating system refused" in caplog.text
    with pytest.raises(SessionIOError) as caught:
        scan(store, "closed")
    assert (caught.value.errno, caught.value.path) == (errno.EACCES, str(store.root / "closed"))


@pytest.mark.parametrize("read", [texts, scan])
def test_a_reader_of_an_edited_file_holds_its_lock_only_while_it_reads_the_bytes(store, path, monkeypatch, read):
    create(store, "a")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    real = file_reader.decode_document
    free = []

    def decode(data):
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)
        return real(data)

    monkeypatch.setattr(file_reader, "decode_document", decode)
    assert read(store) in (["a"], [KEY])
    assert free == [True]


@pytest.mark.parametrize(
    "read", [lambda store: store.load(KEY), lambda store: store.items(KEY), lambda store: store.list_sidecars(KEY)]
)
def test_a_reader_waits_until_a_lease_of_the_file_is_given_up(store, monkeypatch, read):
    create(store, "a")
    expected = asyncio.run(read(store))
    real = file_io.open_file
    leased = iter(range(3))

    def refused(folder, name):
        if next(leased, None) is not None:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        return real(folder, name)

    monkeypatch.setattr(file_io, "open_file", refused)
    assert asyncio.run(read(store)) == expected


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.read_sidecar(KEY, "a.json"),
        lambda store: store.list_sidecars(KEY),
        lambda store: store.write_sidecar(KEY, "a.json", b"1"),
    ],
)
def test_a_file_in_the_place_of_the_folder_of_sidecars_is_refused(store, path, act):
    create(store, "a")
    path.with_suffix("").write_text("mine")
    with pytest.raises(SessionPathError):
        asyncio.run(act(store))
    assert path.with_suffix("").read_text() == "mine"


OF_ANY_NAME = {
    "delete": lambda store, key: store.delete(key),
    "write_sidecar": lambda store, key: store.write_sidecar(key, "a.json", b"theirs"),
    "read_sidecar": lambda store, key: store.read_sidecar(key, "a.json"),
    "list_sidecars": lambda store, key: store.list_sidecars(key),
    "delete_sidecar": lambda store, key: store.delete_sidecar(key, "a.json"),
}


@pytest.mark.parametrize("shape", ["sealed", "edited", "torn"])
@pytest.mark.parametrize("name", OF_ANY_NAME)
def test_the_session_of_another_name_is_neither_removed_nor_shown_nor_given_a_sidecar(store, path, name, shape):
    other = SessionKey("support", "other")
    create(store, "theirs")
    create(store, "mine", key=other)
    append(store, "more")
    asyncio.run(store.write_sidecar(other, "a.json", b"mine"))
    if shape == "edited":
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    if shape == "torn":
        tear(path, 20)
    os.rename(path, store.path(other))
    before = store.path(other).read_bytes()
    with pytest.raises(SessionPathError, match="another session"):
        asyncio.run(OF_ANY_NAME[name](store, other))
    assert store.path(other).read_bytes() == before
    assert (store.path(other).with_suffix("") / "a.json").read_bytes() == b"mine"


@pytest.mark.parametrize("name", DAMAGED)
def test_a_session_that_cannot_be_read_can_be_deleted(store, path, name):
    create(store, "a")
    asyncio.run(store.write_sidecar(KEY, "a.json", b"1"))
    path.write_bytes(DAMAGED[name](path.read_bytes()))
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []


def test_a_session_of_a_newer_format_can_be_deleted(store, path):
    create(store, "a")
    path.write_bytes(path.read_bytes().replace(b"agents-sessions/1", b"agents-sessions/2"))
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []


# --- files that others change ----------------------------------------------------------------------------------


def replace_by_editor(path, old, new):
    """Save a changed file as most editors do: a new file under the old name."""
    changed = path.read_bytes().replace(old, new)
    temporary = path.with_name("editor.swp")
    temporary.write_bytes(changed)
    temporary.rename(path)


def test_a_file_replaced_between_two_appends_is_the_one_that_is_appended_to(store, path):
    create(store, "aaa")
    append(store, "b")
    replace_by_editor(path, b"aaa", b"edited")
    append(store, "c")
    assert on_disk(path) == ["edited", "b", "c"]
    assert texts(store) == ["edited", "b", "c"]


@pytest.mark.parametrize("new", [b"eee", b"edited"])
def test_an_append_to_a_file_replaced_meanwhile_is_done_again(store, path, monkeypatch, new):
    create(store, "aaa")
    append(store, "b")
    real, done = os.fdatasync, []

    def sync(fd):
        if not done:
            done.append(fd)
            os.rename(changed, path)
        real(fd)

    changed = path.with_name("editor.swp")
    changed.write_bytes(path.read_bytes().replace(b"aaa", new))
    monkeypatch.setattr(os, "fdatasync", sync)
    append(store, "c")
    assert on_disk(path) == [new.decode(), "b", "c"]


@pytest.mark.parametrize("shape", ["sealed", "edited"])
@pytest.mark.parametrize("act", [lambda store: rename(store, "new"), lambda store: append(store, "c")])
def test_a_rewrite_of_a_file_replaced_meanwhile_is_done_again(store, path, monkeypatch, act, shape):
    create(store, "aaa", name="old")
    append(store, "b")
    if shape == "edited":
        path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    changed = path.with_name("editor.swp")
    changed.write_bytes(path.read_bytes().replace(b"aaa", b"saved"))
    real, done = file_document.encode_document, []

    def encode(document):
        if not done:
            done.append(True)
            os.rename(changed, path)
        return real(document)

    monkeypatch.setattr(file_document, "encode_document", encode)
    act(store)
    assert done or shape == "sealed"
    assert on_disk(path)[:2] == ["saved" if done else "aaa", "b"]
    assert load(store).name == "new" or texts(store)[-1] == "c"


@pytest.mark.parametrize("how", ["renamed", "in place"])
@pytest.mark.parametrize("shape", ["sealed", "torn"])
def test_a_rewrite_does_not_go_over_what_was_saved_while_it_was_synced(store, path, monkeypatch, how, shape):
    create(store, "aaa")
    saved = json.dumps({**json.loads(path.read_text()), "history": [{"item": {"role": "user", "content": "saved"}}]})
    if shape == "torn":
        tear(path, 900)
    real, done = os.fdatasync, []

    def sync(fd):
        real(fd)
        if not done:
            done.append(fd)
            if how == "renamed":
                changed = path.with_name("editor.swp")
                changed.write_text(saved)
                os.rename(changed, path)
            else:
                path.write_text(saved)

    monkeypatch.setattr(os, "fdatasync", sync)
    rename(store, "new")
    assert done
    assert (on_disk(path), load(store).name) == (["saved"], "new")
    assert len(os.listdir(path.parent)) == 1


def test_a_rewrite_does_not_bring_back_what_was_removed_while_it_was_synced(store, path, monkeypatch):
    create(store, "a")
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (real(fd), path.unlink(missing_ok=True)))
    with pytest.raises(SessionNotFoundError):
        rename(store, "new")
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("shape", ["as it is", "pretty-printed", "edited"])
@pytest.mark.parametrize("expected", [None, 1])
def test_an_append_that_was_saved_by_someone_else_is_not_stored_twice(store, path, monkeypatch, shape, expected):
    """What is written can be read before it is synced: an editor may save a copy that has it."""
    create(store, "a")
    real, done = os.fdatasync, []

    def sync(fd):
        if not done:
            done.append(fd)
            changed = path.with_name("editor.swp")
            changed.write_bytes(path.read_bytes())
            if shape != "as it is":
                whole = json.loads(path.read_text())
                if shape == "edited":
                    whole["history"].append({"item": {"role": "user", "content": "by hand"}})
                changed.write_text(json.dumps(whole, indent=1))
            os.rename(changed, path)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    totals = asyncio.run(store.append(KEY, [said("b"), said("c")], expected_seq=expected))
    assert done
    there = ["a", "b", "c", "by hand"] if shape == "edited" else ["a", "b", "c"]
    assert texts(store) == there
    assert totals.context.items == len(texts(store))
    append(store, "d")
    assert texts(store) == [*there, "d"]


def test_a_rewrite_of_a_file_removed_meanwhile_does_not_bring_it_back(store, path, monkeypatch):
    create(store, "a")
    real = file_document.encode_document
    monkeypatch.setattr(file_document, "encode_document", lambda new: path.unlink() or real(new))
    with pytest.raises(SessionNotFoundError):
        rename(store, "new")
    assert not path.exists()


def test_a_repair_that_fails_leaves_no_second_copy_of_the_damaged_file(store, path, calls):
    create(store, "a")
    torn = tear(path, 900)
    for _ in range(3):
        calls.fails = lambda name, _: errno.ENOSPC if name == "pwrite" else None
        with pytest.raises(SessionIOError):
            append(store, "b")
        calls.heal()
        assert os.listdir(path.parent) == [path.name]
        assert path.read_bytes() == torn


@pytest.mark.parametrize("operation", ["append", "rewrite", "pop"])
def test_a_file_replaced_between_opening_and_locking_is_opened_again(store, path, monkeypatch, operation):
    create(store, "a")
    old = path.read_bytes()
    append(store, "b")
    new = path.with_name("new")
    new.write_bytes(path.read_bytes())
    path.write_bytes(old)
    real = fcntl.flock

    def flock(fd, how):
        if new.exists():
            new.rename(path)
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    asyncio.run(OPERATIONS[operation](store))
    expected = {"append": ["a", "b", "c", "d"], "rewrite": ["a", "b"], "pop": ["a"]}
    assert on_disk(path) == expected[operation]


def test_an_append_to_a_file_removed_meanwhile_is_not_reported_as_stored(store, path, monkeypatch):
    create(store, "a")
    real = os.fdatasync

    def sync(fd):
        path.unlink()
        real(fd)

    monkeypatch.setattr(os, "fdatasync", sync)
    with pytest.raises(SessionNotFoundError):
        append(store, "b")


@pytest.mark.parametrize(
    ("old", "new"), [(b'"status":"active"', b'"status":"paused"'), (b'"name":"aaa"', b'"name":"bbb"')]
)
def test_a_fact_changed_in_place_is_seen_at_once_and_kept(store, path, old, new):
    create(store, "a", name="aaa")
    append(store, "b")
    load(store)
    with path.open("r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data.replace(old, new))
    changed = load(store)
    assert (changed.status, changed.name) != ("active", "aaa")
    append(store, "c")
    assert load(store).model_dump(include={"status", "name"}) == changed.model_dump(include={"status", "name"})
    assert on_disk(path) == ["a", "b", "c"]


def test_a_message_changed_in_place_is_seen_at_once_and_kept(store, path):
    create(store, "aaa")
    append(store, "bbb")
    texts(store)
    with path.open("r+b") as file:
        data = file.read()
        file.seek(data.index(b"bbb"))
        file.write(b"ccc")
    assert texts(store) == ["aaa", "ccc"]
    append(store, "d")
    assert on_disk(path) == ["aaa", "ccc", "d"]


def test_a_pretty_printed_file_is_brought_back_into_shape_by_the_next_write(store, path):
    create(store, "a")
    append(store, "b")
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=2))
    assert texts(store) == ["a", "b"]
    append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]
    assert len(path.read_bytes().splitlines()) == 5


def test_an_append_to_an_edited_file_stores_what_it_was_given_and_no_number_that_came_with_it(store, path):
    create(store, "one")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))

    async def work():
        given = {**said("two"), "seq": 9}
        others = [asyncio.create_task(store.append(KEY, [said("x")], expected_seq=5)) for _ in range(5)]
        waiting = asyncio.create_task(store.append(KEY, [given]))
        await asyncio.sleep(0)
        given["item"]["content"] = float("nan")
        await waiting
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(work())
    assert [(entry["seq"], entry["item"]["content"]) for entry in asyncio.run(store.entries(KEY))] == [
        (1, "one"),
        (2, "two"),
    ]


def test_a_reader_of_a_file_that_shrinks_meanwhile_does_not_hang(store, path, monkeypatch):
    create(store, *["x" * 100] * 200)
    real = file_queries.read_entries

    def shrinking(read, tail):
        os.truncate(path, 3000)
        return real(read, tail)

    monkeypatch.setattr(file_queries, "read_entries", shrinking)
    with contextlib.suppress(SessionCorruptedError):
        asyncio.run(asyncio.wait_for(store.entries(KEY), 10))


# --- locks -----------------------------------------------------------------------------------------------------


def test_a_write_waits_for_another_process_without_a_thread(store, path):
    create(store)

    async def work():
        held = os.open(path, os.O_RDWR)
        fcntl.flock(held, fcntl.LOCK_EX)
        writers = [asyncio.create_task(store.append(KEY, [said(str(number))])) for number in range(200)]
        await asyncio.sleep(0.05)
        assert len(await asyncio.wait_for(asyncio.to_thread(os.listdir, path.parent), 5)) == 1
        fcntl.flock(held, fcntl.LOCK_UN)
        os.close(held)
        await asyncio.gather(*writers)

    asyncio.run(work())
    assert on_disk(path) == [str(number) for number in range(200)]


def test_a_write_does_not_wait_for_ever(store, path, monkeypatch):
    create(store)
    monkeypatch.setattr(file_store, "WRITE_TIMEOUT", 0.05)
    held = os.open(path, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(SessionBusyError):
            append(store, "a")
        assert load(store).seq == 0
    finally:
        os.close(held)


def test_a_busy_turn_says_who_has_it(store):
    create(store)

    async def work():
        async with store.turn_lock(KEY):
            with pytest.raises(SessionBusyError, match=f"process {os.getpid()} on "):
                async with store.turn_lock(KEY, timeout=0):
                    pass

    asyncio.run(work())


def test_a_turn_that_is_over_leaves_no_file(store, path):
    create(store)

    async def work():
        async with store.turn_lock(KEY):
            assert hidden(path.parent)
        assert hidden(path.parent) == []

    asyncio.run(work())


def test_a_turn_whose_lock_file_was_removed_ends_like_any_other(store, path):
    create(store)

    async def work():
        async with store.turn_lock(KEY):
            os.unlink(path.parent / hidden(path.parent)[0])

    asyncio.run(work())


def test_a_turn_does_not_remove_the_lock_file_of_another(store, path):
    create(store)

    async def work():
        async with store.turn_lock(KEY):
            lock = path.parent / hidden(path.parent)[0]
            lock.unlink()
            lock.write_text("another's")
        assert lock.read_text() == "another's"

    asyncio.run(work())


FORKING = """
    import asyncio, os, sys, time
    from agents_sessions.errors import SessionBusyError
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import item_entry
    from agents_sessions.stores.file.store import FileStore

    store, key = FileStore(sys.argv[1]), SessionKey("support", "order-42")

    async def can_take():
        try:
            async with store.turn_lock(key, timeout=0):
                return True
        except SessionBusyError:
            return False

    def in_child(work):
        if (pid := os.fork()) == 0:
            work()
            os._exit(0)
        return pid
"""


def run_forking(store, script):
    source = textwrap.dedent(FORKING) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", source, str(store.root)], stdout=subprocess.PIPE, text=True
    )


def test_a_forked_child_neither_has_nor_releases_the_locks_of_its_parent(store):
    create(store)
    script = """
        async def turn():
            lock = store.turn_lock(key)
            await lock.__aenter__()
            def work():
                asyncio.set_event_loop(None)
                asyncio.events._set_running_loop(None)
                print("child takes it:", asyncio.run(can_take()), flush=True)
                lock.gen.ag_frame  # the child's copy of the turn is given up by its exit
            os.waitpid(in_child(work), 0)
            print("parent takes it:", await can_take(), flush=True)
            await lock.__aexit__(None, None, None)
            print("free:", await can_take(), flush=True)
        asyncio.run(turn())
    """
    out, _ = run_forking(store, script).communicate(timeout=60)
    assert out.splitlines() == ["child takes it: False", "parent takes it: False", "free: True"]


def test_a_child_that_leaves_the_turn_of_its_parent_keeps_a_turn_of_its_own(store):
    """The lock of the child may have the number that the one of its parent had."""
    create(store)
    script = """
        from agents_sessions.stores.file.disk import syscalls as file_io
        from agents_sessions.stores.file import turn_lock as file_turns
        folder = file_io.open_directory(sys.argv[1], "support")
        turn = file_turns.try_turn(folder, "other.json")
        def work():
            mine = file_turns.try_turn(folder, "order-42.json")
            print(mine.fd == turn.fd)
            turn.release()
            print(asyncio.run(can_take()), flush=True)
        os.waitpid(in_child(work), 0)
    """
    out, _ = run_forking(store, script).communicate(timeout=60)
    assert out.splitlines() == ["True", "False"]


def test_a_child_that_leaves_the_turn_of_its_parent_does_not_release_it(store):
    create(store)
    script = """
        from agents_sessions.stores.file.disk import syscalls as file_io, locks as file_locks
        folder = file_io.open_directory(sys.argv[1], "support")
        fd = file_locks.open_lock_file(folder, ".order-42.json.turn", b"{}")
        os.waitpid(in_child(lambda: file_locks.close_lock_file(folder, ".order-42.json.turn", fd)), 0)
        print(asyncio.run(can_take()), flush=True)
    """
    out, _ = run_forking(store, script).communicate(timeout=60)
    assert out.splitlines() == ["False"]


def test_the_lock_of_a_killed_parent_is_free_while_its_child_lives(store):
    create(store)
    script = """
        async def turn():
            async with store.turn_lock(key):
                print(in_child(lambda: time.sleep(600)), flush=True)
                time.sleep(600)
        asyncio.run(turn())
    """
    parent = run_forking(store, script)
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait(60)

        async def take():
            # The child may be a moment behind: it lets go of what it inherited as the first thing it does.
            async with store.turn_lock(KEY, timeout=20):
                pass

        asyncio.run(take())
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_a_child_forked_beside_a_writer_can_write(store, path):
    create(store)
    script = """
        async def work():
            from agents_sessions.stores.file import reader as file_reader, store as file_store
            async with file_store._file_gates.hold(store.place(key)):
                def write():
                    asyncio.events._set_running_loop(None)
                    asyncio.run(asyncio.wait_for(store.append(key, [item_entry({"content": "child"})]), 20))
                with file_reader._tails._mutex:
                    os.waitpid(in_child(write), 0)
            await store.append(key, [item_entry({"content": "parent"})])
        asyncio.run(work())
    """
    forking = run_forking(store, script)
    forking.communicate(timeout=60)
    assert forking.returncode == 0
    assert on_disk(path) == ["child", "parent"]


# --- temporaries -----------------------------------------------------------------------------------------------


@pytest.fixture
def as_new_process(monkeypatch):
    monkeypatch.setattr(file_atomic, "_swept", Recent(8))


def temporary(path, *, age):
    left = path.with_name(f".{path.name}.0badf00d.tmp")
    left.write_bytes(b"half")
    os.utime(left, (time.time() - age,) * 2)
    return left


def test_a_stale_temporary_is_swept(store, path, as_new_process):
    path.parent.mkdir(parents=True)
    left = temporary(path, age=601)
    create(store)
    assert not left.exists()


def synced_by(monkeypatch, act):
    """Return the folders that are synced meanwhile, in the order of their syncs."""
    real, synced = os.fsync, []

    def fsync(fd):
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        act()
    return synced


@linux
def test_a_folder_that_another_process_has_made_is_synced_with_the_first_session_in_it(store, path, monkeypatch):
    path.parent.mkdir(parents=True)
    scan(store)
    root, folder = str(store.root), str(path.parent)
    assert synced_by(monkeypatch, lambda: create(store, "a")) == [root, folder]
    assert synced_by(monkeypatch, lambda: create(store, "b", key=SessionKey("support", "other"))) == [folder]
    assert synced_by(monkeypatch, lambda: append(store, "b")) == []


@linux
def test_a_folder_of_sidecars_that_another_process_has_made_is_synced(store, path, monkeypatch):
    create(store, "a")
    inner = path.with_suffix("") / "checkpoints"
    for folder in (path.with_suffix(""), inner):
        folder.mkdir(mode=0o700)
    written = synced_by(monkeypatch, lambda: asyncio.run(store.write_sidecar(KEY, "checkpoints/a.json", b"1")))
    assert written == [str(path.parent), str(path.with_suffix("")), str(inner)]


@linux
def test_nothing_is_synced_where_that_is_not_wanted(tmp_path, monkeypatch):
    store = FileStore(tmp_path, durability="process")
    assert synced_by(monkeypatch, lambda: create(store, "a")) == []
    assert synced_by(monkeypatch, lambda: asyncio.run(store.write_sidecar(KEY, "c/a.json", b"1"))) == []


def test_a_young_temporary_is_left(store, path, as_new_process):
    path.parent.mkdir(parents=True)
    left = temporary(path, age=500)
    create(store)
    assert left.exists()


def test_a_locked_temporary_is_left(store, path, as_new_process):
    path.parent.mkdir(parents=True)
    left = temporary(path, age=601)
    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        create(store)
        assert left.exists()


def test_what_cannot_be_swept_does_not_stand_in_the_way(store, path, as_new_process):
    path.parent.mkdir(parents=True)
    left = path.with_name(".x.0badf00d.tmp")
    left.mkdir()
    os.utime(left, (0, 0))
    create(store, "a")
    assert texts(store) == ["a"]


def test_a_stale_temporary_of_a_sidecar_is_swept(store, path):
    create(store)
    asyncio.run(store.write_sidecar(KEY, "state.json", b"1"))
    left = temporary(path.with_suffix("") / "state.json", age=601)
    asyncio.run(store.write_sidecar(KEY, "state.json", b"2"))
    assert not left.exists()


def test_removing_a_sidecar_that_is_not_there_is_no_reason_to_warn(store, caplog):
    create(store)
    asyncio.run(store.write_sidecar(KEY, "one.json", b"1"))
    assert asyncio.run(store.delete_sidecar(KEY, "two.json")) is False
    assert caplog.messages == []


def test_a_temporary_is_not_listed(store, path, as_new_process):
    create(store)
    temporary(path, age=0)
    assert scan(store) == [KEY]


def test_no_operation_leaves_a_temporary(store, path):
    create(store, "a")
    append(store, "b")
    rename(store, "x")
    asyncio.run(store.write_sidecar(KEY, "a.json", b"1"))
    asyncio.run(store.write_sidecar(KEY, "a.json", b"2"))
    with pytest.raises(SessionExistsError):
        create(store)
    assert sorted(os.listdir(path.parent)) == ["order-42", "order-42.json"]
    assert os.listdir(path.with_suffix("")) == ["a.json"]


def test_no_operation_leaves_an_open_file(store, path):
    def everything():
        create(store, "a")
        append(store, "b")
        rename(store, "x")
        texts(store)
        scan(store)
        asyncio.run(store.find(KEY.session_id))
        asyncio.run(store.write_sidecar(KEY, "a.json", b"1"))
        asyncio.run(store.read_sidecar(KEY, "a.json"))
        asyncio.run(store.list_sidecars(KEY))
        asyncio.run(store.delete(KEY))

    everything()
    before = open_files()
    everything()
    assert open_files() == before


# --- what a deletion leaves ------------------------------------------------------------------------------------


@pytest.fixture
def orphan(store, path):
    """The sidecars of a session whose deletion died after the file was gone."""
    create(store, "old")
    asyncio.run(store.write_sidecar(KEY, "checkpoints/a.json", b"old"))
    path.unlink()
    return path.with_suffix("")


def test_a_new_session_does_not_inherit_the_sidecars_of_a_dead_one(store, orphan):
    create(store, "new")
    assert asyncio.run(store.list_sidecars(KEY)) == []
    assert not orphan.exists()


def test_the_sidecars_of_a_dead_session_are_not_seen(store, orphan):
    assert asyncio.run(store.list_sidecars(KEY)) == []
    assert asyncio.run(store.read_sidecar(KEY, "checkpoints/a.json")) is None
    assert asyncio.run(store.delete_sidecar(KEY, "checkpoints/a.json")) is False


def test_a_deletion_that_died_can_be_finished(store, orphan):
    with pytest.raises(SessionNotFoundError):
        asyncio.run(store.delete(KEY))
    assert not orphan.exists()


def test_the_sidecars_of_the_dead_are_gone_before_the_new_session_is_there(store, path, orphan, calls):
    create(store, "new")
    assert "rmtree" in calls.made
    assert calls.made.index("rmtree") < calls.made.index("link")


def test_creating_a_session_that_exists_leaves_its_sidecars(store):
    create(store, "old")
    asyncio.run(store.write_sidecar(KEY, "a.json", b"1"))
    with pytest.raises(SessionExistsError):
        create(store, "new")
    assert asyncio.run(store.read_sidecar(KEY, "a.json")) == b"1"


def test_a_session_that_was_made_meanwhile_keeps_its_sidecars(store, path, orphan, monkeypatch):
    """Another process makes the same session after this one has seen the sidecars of the dead, and adds its own."""
    real = file_locks.held

    def late(fd, **how):
        monkeypatch.setattr(file_sidecars, "held", real)
        create(store, "theirs")
        asyncio.run(store.write_sidecar(KEY, "a.json", b"theirs"))
        return real(fd, **how)

    monkeypatch.setattr(file_sidecars, "held", late)
    engine = store._files
    with pytest.raises(SessionExistsError):
        engine.create(KEY, engine.encode(History(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), [])))
    assert texts(store) == ["theirs"]
    assert asyncio.run(store.read_sidecar(KEY, "a.json")) == b"theirs"


def test_the_first_sidecar_waits_for_who_clears_the_folder_of_another(store, path):
    create(store, "one")

    async def work():
        with file_io.directory(str(store.root), "support") as folder:
            with file_locks.held(folder):
                writing = asyncio.create_task(store.write_sidecar(KEY, "a.json", b"1"))
                done, _ = await asyncio.wait({writing}, timeout=0.1)
                assert not done
            await asyncio.wait_for(writing, 30)
        await store.delete(KEY)

    asyncio.run(work())
    assert os.listdir(path.parent) == []


def test_a_deletion_ends_though_someone_holds_the_folder(store, path, monkeypatch):
    """Its sidecars go with the next session of its name, as those of a deletion that was killed."""
    monkeypatch.setattr(file_locks, "FOLDER_SECONDS", 0.01)
    create(store, "old")
    asyncio.run(store.write_sidecar(KEY, "a.json", b"1"))
    with file_io.directory(str(store.root), "support") as folder:
        fcntl.flock(folder, fcntl.LOCK_SH)
        asyncio.run(store.delete(KEY))
    assert load(store) is None
    create(store, "new")
    assert asyncio.run(store.list_sidecars(KEY)) == []


def test_a_deletion_takes_the_lock_with_it_that_a_killed_turn_has_left(store, path):
    create(store)
    left = path.with_name(f".{path.name}.turn")
    left.write_bytes(b"{}")
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []


def test_a_deletion_leaves_the_lock_of_a_turn_that_runs(store, path):
    create(store)

    async def work():
        async with store.turn_lock(KEY):
            await store.delete(KEY)
            assert os.listdir(path.parent) == [f".{path.name}.turn"]

    asyncio.run(work())
    assert os.listdir(path.parent) == []


def test_a_folder_is_no_sidecar_that_could_be_removed(store):
    create(store)
    asyncio.run(store.write_sidecar(KEY, "d/b.json", b"1"))
    assert not asyncio.run(store.delete_sidecar(KEY, "d"))
    assert asyncio.run(store.list_sidecars(KEY)) == ["d/b.json"]


def test_a_session_is_made_below_a_root_that_cannot_be_listed(store, path, monkeypatch):
    """Whoever made the folder of its agent may list it: it was not this process."""
    create(store, key=SessionKey("support", "other"))
    monkeypatch.setattr(file_writer, "_anchored", Recent(8))
    real = os.open

    def refuse(name, *arguments, **how):
        if os.fspath(name) == os.fspath(store.root):
            raise PermissionError(errno.EACCES, "refused")
        return real(name, *arguments, **how)

    monkeypatch.setattr(os, "open", refuse)
    create(store, "a")
    assert texts(store) == ["a"]


def test_a_session_is_not_made_beside_a_folder_that_is_none_of_its_own(store, path):
    create(store, key=SessionKey("support", "other"))
    foreign = path.with_suffix("")
    foreign.mkdir(mode=0o755)
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(SessionPathError, match="sidecars"):
        create(store, "one")
    with pytest.raises(SessionNotFoundError):
        asyncio.run(store.delete(KEY))
    assert (foreign / "thesis.txt").read_text() == "years of work"
    assert not path.exists()


def test_many_sessions_of_one_agent_are_deleted_at_once(store, path):
    keys = [SessionKey("support", f"s-{number}") for number in range(60)]

    async def work():
        for key in keys:
            await store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id))
            await store.write_sidecar(key, "a.json", b"1")
        await asyncio.gather(*(store.delete(key) for key in keys))

    asyncio.run(work())
    assert os.listdir(path.parent) == []


# --- where nothing can be made ---------------------------------------------------------------------------------


def test_a_root_that_leads_nowhere_is_an_error_of_the_system(tmp_path):
    (tmp_path / "sessions").symlink_to(tmp_path / "gone" / "away")
    with pytest.raises(SessionIOError) as caught:
        create(FileStore(tmp_path / "sessions"), "one")
    assert caught.value.errno == errno.ENOENT


# --- who waits for another process ---


def test_a_turn_of_another_process_is_waited_for_with_longer_and_longer_pauses(store, monkeypatch):
    create(store)
    pauses = []

    async def run():
        with file_io.directory(str(store.root), "support") as folder:
            theirs = file_turns.try_turn(folder, f"{KEY.session_id}.json")  # past the gates of this process
            real = asyncio.sleep

            async def sleep(seconds):
                pauses.append(seconds)
                if len(pauses) == 6:
                    theirs.release()
                await real(0)

            monkeypatch.setattr(asyncio, "sleep", sleep)
            async with store.turn_lock(KEY):
                pass

    asyncio.run(run())
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]


@pytest.mark.parametrize("timeout", [0, 0.03])
def test_a_turn_of_another_process_is_waited_for_no_longer_than_asked(store, monkeypatch, timeout):
    create(store)
    waited = []

    async def run():
        with file_io.directory(str(store.root), "support") as folder:
            theirs = file_turns.try_turn(folder, f"{KEY.session_id}.json")
            real = asyncio.sleep

            async def sleep(seconds):
                waited.append(seconds)
                await real(seconds)

            monkeypatch.setattr(asyncio, "sleep", sleep)
            try:
                async with store.turn_lock(KEY, timeout):
                    pytest.fail("it is held twice")
            finally:
                theirs.release()

    with pytest.raises(SessionBusyError) as caught:
        asyncio.run(run())
    assert caught.value.holder == file_turns.this_process()
    assert caught.value.waited >= timeout
    assert sum(waited) <= timeout
    assert bool(waited) == bool(timeout)


def test_a_read_that_waits_too_long_says_for_which_session(store, path, monkeypatch):
    monkeypatch.setattr(file_store, "WRITE_TIMEOUT", 0.02)
    create(store)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    with path.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(SessionBusyError) as caught:
            load(store)
    assert (caught.value.session_id, caught.value.agent_id) == (KEY.session_id, KEY.agent_id)


def test_a_store_has_a_root_and_limits_of_its_own_accord(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore()
    assert store.root == tmp_path / "sessions"
    assert store._files.limits == file_limits.Limits()
