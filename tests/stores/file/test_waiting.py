"""How readers and writers wait for a file that another process has locked."""

import asyncio
import errno
import fcntl
import json
import os

import pytest
from builders import KEY
from file_sessions import append, create, load, on_disk, said, scan, texts

from agents_sessions.errors import SessionBusyError
from agents_sessions.stores.file import reader as file_reader
from agents_sessions.stores.file import store as file_store
from agents_sessions.stores.file.disk import syscalls as file_io


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


def test_a_read_that_waits_too_long_says_for_which_session(store, path, monkeypatch):
    monkeypatch.setattr(file_store, "WRITE_TIMEOUT", 0.02)
    create(store)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    with path.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with pytest.raises(SessionBusyError) as caught:
            load(store)
    assert (caught.value.session_id, caught.value.agent_id) == (KEY.session_id, KEY.agent_id)


@pytest.mark.parametrize("read", [texts, scan])
def test_a_reader_of_an_edited_file_holds_its_lock_only_while_it_reads_the_bytes(store, path, monkeypatch, read):
    create(store, "a")
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    real = file_reader.decode_document
    free = []

    def decode(data, codec):
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)
        return real(data, codec)

    monkeypatch.setattr(file_reader, "decode_document", decode)
    assert read(store) in (["a"], [KEY])
    assert free == [True]


@pytest.mark.parametrize(
    "read", [lambda store: store.load(KEY), lambda store: store.items(KEY), lambda store: store.list_sidecars(KEY)]
)
def test_a_reader_waits_until_a_lease_of_the_file_is_given_up(store, monkeypatch, read):
    create(store, "a")
    expected = asyncio.run(read(store))
    real = file_io.open_sized_file
    leased = iter(range(3))

    def refused(folder, name):
        if next(leased, None) is not None:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
        return real(folder, name)

    monkeypatch.setattr(file_io, "open_sized_file", refused)
    assert asyncio.run(read(store)) == expected
