"""Private modes, and what is refused: links, devices, folders, the file of another session."""

import asyncio
import json
import os
import shutil
import stat

import pytest
from builders import KEY, info_of
from file_sessions import OF_A_FILE, append, create, said, scan, sidecars, tear, write_sidecar

from agents_sessions.errors import SessionExistsError, SessionNotFoundError, SessionPathError
from agents_sessions.keys import SessionKey


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_files_and_folders_are_private_under_any_umask(store, path, mask):
    async def work():
        await store.create(info_of(), [said("a")])
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
        write_sidecar(store, "a.json", b"{}")
    with pytest.raises(SessionPathError):
        sidecars(store)
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
    write_sidecar(store, "a.json", b"mine", key=other)
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
