"""The turn lock as a file: who has it, what is left of it, how another process waits for it."""

import asyncio
import os

import pytest
from builders import KEY
from file_sessions import create, hidden

from agents_sessions.errors import SessionBusyError
from agents_sessions.stores.file import turn_lock as file_turns
from agents_sessions.stores.file.disk import syscalls as file_io


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


def test_a_turn_of_another_process_is_waited_for_with_longer_and_longer_pauses(store, monkeypatch):
    create(store)
    pauses = []

    async def run():
        with file_io.directory(str(store.root), "support") as folder:
            theirs = file_turns.try_turn(folder, f"{KEY.session_id}.json")  # past the locks of this process
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
