"""Which system calls an operation makes, and how many bytes it reads and writes."""

import os

import pytest
from file_sessions import append, create, linux, load, scan, texts, write_sidecar

from agents_sessions.concurrency import process
from agents_sessions.concurrency.recent import Recent
from agents_sessions.keys import SessionKey
from agents_sessions.stores.file.store import FileStore


@linux
def test_an_append_is_one_write_and_one_sync(store, calls):
    create(store)
    append(store, "first")
    calls.clear()
    append(store, "second", "third")
    assert calls.of("pwrite", "fdatasync", "fsync", "ftruncate", "replace", "link") == ["pwrite", "fdatasync"]
    assert len(calls.made) <= 18


def test_an_append_that_is_not_synced_is_one_write(tmp_path, calls):
    store = FileStore(tmp_path, durability="process")
    create(store)
    calls.clear()
    append(store, "a")
    assert calls.of("pwrite", "fdatasync", "fsync") == ["pwrite"]


@pytest.mark.parametrize("cached", [True, False])
def test_an_append_costs_the_same_at_any_length(tmp_path, calls, monkeypatch, cached):
    costs = []
    for length in (1000, 9000):
        store = FileStore(tmp_path / str(length))
        create(store, *["x" * 50] * length)
        append(store, "warm")
        if not cached:
            monkeypatch.setattr(process, "file_ends", Recent(8))
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
    written = synced_by(monkeypatch, lambda: write_sidecar(store, "checkpoints/a.json"))
    assert written == [str(path.parent), str(path.with_suffix("")), str(inner)]


@linux
def test_nothing_is_synced_where_that_is_not_wanted(tmp_path, monkeypatch):
    store = FileStore(tmp_path, durability="process")
    assert synced_by(monkeypatch, lambda: create(store, "a")) == []
    assert synced_by(monkeypatch, lambda: write_sidecar(store, "c/a.json")) == []
