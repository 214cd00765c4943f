"""Files that an append has torn, that are damaged, or that a newer version has written."""

import asyncio
import errno
import logging
import os

import pytest
from builders import KEY
from file_sessions import OF_A_FILE, append, create, load, on_disk, scan, tear, texts, write_sidecar

from agents_sessions.errors import SessionCorruptedError, SessionExistsError, SessionIOError, SessionVersionError
from agents_sessions.keys import SessionKey


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


@pytest.mark.parametrize("name", DAMAGED)
def test_a_session_that_cannot_be_read_can_be_deleted(store, path, name):
    create(store, "a")
    write_sidecar(store, "a.json")
    path.write_bytes(DAMAGED[name](path.read_bytes()))
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []


def test_a_session_of_a_newer_format_can_be_deleted(store, path):
    create(store, "a")
    path.write_bytes(path.read_bytes().replace(b"agents-sessions/1", b"agents-sessions/2"))
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []
