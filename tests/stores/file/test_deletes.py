"""What a deletion takes with it, and what one that died leaves to the next session of its name."""

import asyncio
import fcntl
import os

import pytest
from builders import KEY, info_of
from file_sessions import create, load, sidecars, texts, write_sidecar

from agents_sessions.errors import SessionExistsError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.stores.base import History
from agents_sessions.stores.file import sidecars as file_sidecars
from agents_sessions.stores.file.disk import locks as file_locks
from agents_sessions.stores.file.disk import syscalls as file_io


@pytest.fixture
def orphan(store, path):
    """The sidecars of a session whose deletion died after the file was gone."""
    create(store, "old")
    write_sidecar(store, "checkpoints/a.json", b"old")
    path.unlink()
    return path.with_suffix("")


def test_a_new_session_does_not_inherit_the_sidecars_of_a_dead_one(store, orphan):
    create(store, "new")
    assert sidecars(store) == []
    assert not orphan.exists()


def test_the_sidecars_of_a_dead_session_are_not_seen(store, orphan):
    assert sidecars(store) == []
    assert asyncio.run(store.read_sidecar(KEY, "checkpoints/a.json")) is None
    assert asyncio.run(store.delete_sidecar(KEY, "checkpoints/a.json")) is False


def test_a_deletion_that_died_can_be_finished(store, orphan):
    with pytest.raises(SessionNotFoundError):
        asyncio.run(store.delete(KEY))
    assert not orphan.exists()


def test_the_sidecars_of_the_dead_are_gone_before_the_new_session_is_there(store, path, orphan, calls):
    create(store, "new")
    assert calls.made.index("rmdir") < calls.made.index("link")


def test_creating_a_session_that_exists_leaves_its_sidecars(store):
    create(store, "old")
    write_sidecar(store, "a.json")
    with pytest.raises(SessionExistsError):
        create(store, "new")
    assert asyncio.run(store.read_sidecar(KEY, "a.json")) == b"1"


def test_a_session_that_was_made_meanwhile_keeps_its_sidecars(store, path, orphan, monkeypatch):
    """Another process makes the same session after this one has seen the sidecars of the dead, and adds its own."""
    real = file_locks.held

    def late(fd, **how):
        monkeypatch.setattr(file_sidecars, "held", real)
        create(store, "theirs")
        write_sidecar(store, "a.json", b"theirs")
        return real(fd, **how)

    monkeypatch.setattr(file_sidecars, "held", late)
    engine = store._files
    with pytest.raises(SessionExistsError):
        engine.create(KEY, engine.encode(History(info_of(), []), engine.codec.begin(KEY)))
    assert texts(store) == ["theirs"]
    assert asyncio.run(store.read_sidecar(KEY, "a.json")) == b"theirs"


def test_a_deletion_ends_though_someone_holds_the_folder(store, path, monkeypatch):
    """Its sidecars go with the next session of its name, as those of a deletion that was killed."""
    monkeypatch.setattr(file_locks, "FOLDER_SECONDS", 0.01)
    create(store, "old")
    write_sidecar(store, "a.json")
    with file_io.directory(str(store.root), "support") as folder:
        fcntl.flock(folder, fcntl.LOCK_SH)
        asyncio.run(store.delete(KEY))
    assert load(store) is None
    create(store, "new")
    assert sidecars(store) == []


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


def test_many_sessions_of_one_agent_are_deleted_at_once(store, path):
    keys = [SessionKey("support", f"s-{number}") for number in range(60)]

    async def work():
        for key in keys:
            await store.create(info_of(key))
            await store.write_sidecar(key, "a.json", b"1")
        await asyncio.gather(*(store.delete(key) for key in keys))

    asyncio.run(work())
    assert os.listdir(path.parent) == []


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


def test_removing_a_sidecar_that_is_not_there_is_no_reason_to_warn(store, caplog):
    create(store)
    write_sidecar(store, "one.json")
    assert asyncio.run(store.delete_sidecar(KEY, "two.json")) is False
    assert caplog.messages == []


def test_a_folder_is_no_sidecar_that_could_be_removed(store):
    create(store)
    write_sidecar(store, "d/b.json")
    assert not asyncio.run(store.delete_sidecar(KEY, "d"))
    assert sidecars(store) == ["d/b.json"]
