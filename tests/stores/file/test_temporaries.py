"""The temporary files of rewrites: which are swept, and that no operation leaves one."""

import asyncio
import fcntl
import os
import time

import pytest
from builders import KEY, info_of
from file_sessions import append, create, rename, said, scan, texts, write_sidecar

from agents_sessions.concurrency import process
from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import SessionExistsError


@pytest.fixture
def as_new_process(monkeypatch):
    monkeypatch.setattr(process, "swept_folders", Recent(8))


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
    write_sidecar(store, "state.json")
    left = temporary(path.with_suffix("") / "state.json", age=601)
    write_sidecar(store, "state.json", b"2")
    assert not left.exists()


def test_a_temporary_is_not_listed(store, path, as_new_process):
    create(store)
    temporary(path, age=0)
    assert scan(store) == [KEY]


def test_no_operation_leaves_a_temporary(store, path):
    create(store, "a")
    append(store, "b")
    rename(store, "x")
    write_sidecar(store, "a.json")
    write_sidecar(store, "a.json", b"2")
    with pytest.raises(SessionExistsError):
        create(store)
    assert sorted(os.listdir(path.parent)) == ["order-42", "order-42.json"]
    assert os.listdir(path.with_suffix("")) == ["a.json"]


def test_a_stream_that_is_cancelled_while_it_begins_leaves_no_temporary(store, path, monkeypatch):
    begin = store._files.grow

    def slowly(key):
        begun = begin(key)
        time.sleep(0.05)
        return begun

    monkeypatch.setattr(store._files, "grow", slowly)

    async def entries():
        yield said("a")

    async def work():
        task = asyncio.create_task(store.create(info_of(), entries()))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert os.listdir(path.parent) == []
