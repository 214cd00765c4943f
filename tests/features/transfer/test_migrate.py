"""Conversations of live sessions, and all sessions of one store into another."""

import asyncio

import pytest
from agents import SQLiteSession
from agents.extensions.memory import AdvancedSQLiteSession, EncryptedSession
from agents.memory import SessionSettings
from sample_sessions import KEY, RUN_STATE, SIDECARS, contents, conversation, everything, filled, transfer_of

from agents_sessions.errors import (
    ImportRefusedError,
    MigrationError,
    SessionBusyError,
    SessionCorruptedError,
    SessionExistsError,
)
from agents_sessions.features.transfer.migrate import migrate_store
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.session import StoredSession
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore

ITEMS = [{"role": "user", "content": f"hello {number}"} for number in range(8)]
KEYS = [KEY, SessionKey("billing", "b"), SessionKey("billing", "c")]


def test_a_live_session_of_the_sdk_is_copied():
    async def work():
        session, store = SQLiteSession("one"), MemoryStore()
        await session.add_items(ITEMS)
        report = await transfer_of(store).migrate(session)
        assert (report.session_id, report.entries, report.dropped) == ("one", 8, ())
        assert await store.items(SessionKey("default", "one")) == ITEMS == await session.get_items()

    asyncio.run(work())


def test_the_limit_of_a_session_hides_nothing_from_the_copy():
    async def work():
        session, store = SQLiteSession("one", session_settings=SessionSettings(limit=2)), MemoryStore()
        await session.add_items(ITEMS)
        assert len(await session.get_items()) == 2
        await transfer_of(store).migrate(session, session_id="mine", agent_id="support")
        assert await store.items(SessionKey("support", "mine")) == ITEMS

    asyncio.run(work())


def test_what_a_wrapping_session_does_not_show_is_reported():
    async def work():
        inner = SQLiteSession("one")
        await inner.add_items(ITEMS[:3])  # written before there was a key: it does not show them
        session = EncryptedSession("one", inner, encryption_key="secret")
        await session.add_items(ITEMS[3:])
        report = await transfer_of().migrate(session)
        assert report.entries == 5
        assert [dropped.count for dropped in report.dropped] == [3]

    asyncio.run(work())


def test_branches_that_are_not_shown_are_reported(tmp_path):
    async def work():
        session = AdvancedSQLiteSession(session_id="one", db_path=tmp_path / "x.db", create_tables=True)
        await session.add_items(ITEMS)
        await session.create_branch_from_turn(2, "try")
        report = await transfer_of().migrate(session)
        assert report.entries == 1
        assert [(dropped.what[:6], dropped.count) for dropped in report.dropped] == [("branch", 1)]
        session.close()

    asyncio.run(work())


def test_a_session_of_ours_comes_whole():
    async def work():
        source, to = await filled(sidecars={**SIDECARS, **RUN_STATE}), MemoryStore()
        await transfer_of(to).migrate(StoredSession(source, KEY))
        assert await contents(to) == await contents(source)

    asyncio.run(work())


def test_a_copy_does_not_take_an_id_that_is_taken():
    async def work():
        session, store = SQLiteSession("one"), MemoryStore()
        await session.add_items(ITEMS)
        transfer = transfer_of(store)
        await transfer.migrate(session)
        with pytest.raises(SessionExistsError):
            await transfer.migrate(session)
        assert (await transfer.migrate(session, on_conflict="rename")).session_id == "one-2"

    asyncio.run(work())


def test_what_is_no_session_is_refused():
    class Odd:
        session_id = "one"

        async def get_items(self, limit=None):
            return ["text"]

    with pytest.raises(ImportRefusedError, match="no dicts"):
        asyncio.run(transfer_of().migrate(Odd()))


# --- stores --------------------------------------------------------------------------------------------------------


async def several(store):
    for key in KEYS:
        await filled(store, everything(), key=key, sidecars={**SIDECARS, **RUN_STATE})
    return store


async def everything_in(store):
    return {info.key: await contents(store, info.key) async for info in store.scan()}


@pytest.mark.parametrize("direction", ["memory to file", "file to memory"])
def test_all_sessions_of_a_store_are_copied_whole(tmp_path, direction):
    async def work():
        stores = [MemoryStore(), FileStore(tmp_path / "to", durability="process")]
        source, target = stores if direction == "memory to file" else reversed(stores)
        await several(source)
        report = await migrate_store(source, target)
        assert set(report.copied) == set(KEYS)
        assert (report.complete, report.entries) == (True, 3 * len(everything()))
        assert await everything_in(target) == await everything_in(source)

    asyncio.run(work())


def test_what_was_copied_is_passed_over_the_next_time():
    async def work():
        source, target = await several(MemoryStore()), MemoryStore()
        await migrate_store(source, target)
        await target.delete(KEYS[1])
        report = await migrate_store(source, target)
        assert (report.copied, set(report.present), report.complete) == ((KEYS[1],), {KEYS[0], KEYS[2]}, True)

    asyncio.run(work())


@pytest.mark.parametrize("what", ["history", "name", "sidecar"])
def test_what_is_there_and_differs_is_told_and_not_touched(what):
    async def work():
        source, target = await several(MemoryStore()), MemoryStore()
        await migrate_store(source, target)
        if what == "history":
            await target.append(KEY, [item_entry(ITEMS[0])])
        elif what == "name":
            await target.rewrite(KEY, lambda history: history.with_facts(name="other"))
        else:
            await target.write_sidecar(KEY, "note", b"other")
        before = await everything_in(target)
        report = await migrate_store(source, target)
        assert (report.different, report.complete) == ((KEY,), False)
        assert await everything_in(target) == before

    asyncio.run(work())


def test_a_copy_that_comes_back_changed_is_removed_and_an_error():
    class Lossy(MemoryStore):
        async def create(self, info, entries=(), *, sidecars=()):
            kept = [entry async for entry in entries]
            return await super().create(info, kept[:-1], sidecars=sidecars)

    async def work():
        source, target = await several(MemoryStore()), Lossy()
        with pytest.raises(MigrationError, match="came back changed"):
            await migrate_store(source, target)
        assert await everything_in(target) == {}

    asyncio.run(work())


def test_a_session_that_cannot_be_read_is_told_and_the_others_are_copied():
    class Damaged(MemoryStore):
        async def entries(self, key, **window):
            if key == KEYS[1]:
                raise SessionCorruptedError(key, "x.json", "it is damaged")
            return await super().entries(key, **window)

    async def work():
        report = await migrate_store(await several(Damaged()), MemoryStore())
        assert (list(report.unreadable), len(report.copied), report.complete) == ([KEYS[1]], 2, False)

    asyncio.run(work())


def test_a_turn_is_waited_for():
    async def work():
        source = await several(MemoryStore())
        async with source.turn_lock(KEY):
            with pytest.raises(SessionBusyError):
                await migrate_store(source, MemoryStore(), lock_timeout=0.05)

    asyncio.run(work())


def test_progress_tells_how_far_it_is():
    async def work():
        told = []
        source = await filled(MemoryStore(), conversation())
        await migrate_store(source, MemoryStore(), on_progress=told.append)
        assert [(step.session, step.entries, step.of_entries) for step in told] == [(KEY, 9, 9)]

    asyncio.run(work())
