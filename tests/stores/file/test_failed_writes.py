"""What a write that the system cuts short or refuses leaves behind."""

import errno
import logging
import os

import pytest
from faults import EVERY
from file_sessions import append, create, load, on_disk, rename, tear, texts

from agents_sessions.errors import SessionIOError
from agents_sessions.stores.file.disk import syscalls as file_io


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


def test_a_failed_sync_puts_the_old_end_back(store, path, calls):
    create(store, "a")
    append(store, "b")
    before = path.read_bytes()
    calls.fail("fdatasync", errno.EIO, nth=[1])
    with pytest.raises(SessionIOError):
        append(store, "lost")
    assert path.read_bytes() == before
    assert calls.of("fdatasync") == ["fdatasync"] * 2  # the second one is for the old bytes


def test_a_disk_that_dies_in_an_append_leaves_what_the_next_write_repairs(store, path, calls, monkeypatch, caplog):
    create(store, "a")
    append(store, "b")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, bytes(data)[:90], offset))
    calls.fail("pwrite", errno.EIO, nth=EVERY[1:])
    with caplog.at_level(logging.WARNING), pytest.raises(SessionIOError):
        append(store, "lost" * 100)
    monkeypatch.undo()
    calls.heal()
    assert "could not put the old end back" in caplog.text
    assert texts(store) == ["a", "b"]
    append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]


def test_a_batch_whose_sync_failed_is_not_stored_also_if_the_disk_is_full_by_then(store, path, calls):
    create(store, "a")
    append(store, "b")
    calls.fail("fdatasync", errno.EIO, nth=[1])
    calls.fail("pwrite", errno.ENOSPC, nth=EVERY[1:])
    with pytest.raises(SessionIOError):
        append(store, "c")
    calls.heal()
    assert texts(store) == ["a", "b"]
    append(store, "c")
    assert on_disk(path) == ["a", "b", "c"]
    assert load(store).seq == 3


def test_an_error_names_the_session_and_the_path(store, path, calls):
    create(store, "a")
    calls.fail("pwrite", errno.ENOSPC)
    with pytest.raises(SessionIOError) as caught:
        append(store, "b")
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
    assert "order-42" in str(caught.value)
    assert "No space left" in str(caught.value)


def test_a_repair_that_fails_leaves_no_second_copy_of_the_damaged_file(store, path, calls):
    create(store, "a")
    torn = tear(path, 900)
    for _ in range(3):
        calls.fail("pwrite", errno.ENOSPC)
        with pytest.raises(SessionIOError):
            append(store, "b")
        calls.heal()
        assert os.listdir(path.parent) == [path.name]
        assert path.read_bytes() == torn
