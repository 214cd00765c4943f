"""What comes in comes in whole, under an id that is free, or not at all."""

import asyncio
import os

import pytest
from sample_sessions import KEY, SIDECARS, contents, conversation, filled, info_of, texts, transfer_of

from agents_sessions.errors import (
    ImportRefusedError,
    InvalidValueError,
    SessionBusyError,
    SessionExistsError,
    SessionIdError,
    UnsupportedError,
)
from agents_sessions.features.transfer.transfer import Transfer
from agents_sessions.keys import SessionKey
from agents_sessions.lookup import SessionLookup
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "sessions", durability="process")


async def exported(format_name="jsonl", **changes):
    return await transfer_of(await filled(**changes)).export(KEY.session_id, format_name)


async def everything_in(store):
    return {info.key: await contents(store, info.key) async for info in store.scan()}


def test_an_id_that_is_taken_is_an_error(store):
    async def work():
        await filled(store, entries=[item_entry({"role": "user", "content": "mine"})])
        before = await everything_in(store)
        with pytest.raises(SessionExistsError):
            await transfer_of(store).import_session(await exported())
        assert await everything_in(store) == before

    asyncio.run(work())


def test_an_id_that_another_agent_has_is_taken(store):
    async def work():
        await store.create(info_of(SessionKey("other", KEY.session_id)))
        with pytest.raises(SessionExistsError, match="'other'"):
            await transfer_of(store).import_session(await exported())

    asyncio.run(work())


def test_it_can_get_the_next_free_id(store):
    async def work():
        await filled(store, entries=[])
        transfer = transfer_of(store)
        reports = [await transfer.import_session(await exported(), on_conflict="rename") for _ in range(2)]
        assert [report.session_id for report in reports] == ["order-42-2", "order-42-3"]
        assert reports[0].sessions[0].source_id == "order-42"
        assert (await contents(store, SessionKey("triage", "order-42-3")))[2] == SIDECARS

    asyncio.run(work())


def test_it_can_take_the_place_of_a_session(store):
    async def work():
        await filled(store, entries=[item_entry({"role": "user", "content": "old"})], sidecars={"old": b"old"}, seq=70)
        original = await filled()
        report = await transfer_of(store).import_session(
            await transfer_of(original).export(KEY.session_id), on_conflict="replace"
        )
        assert report.sessions[0].replaced
        assert await everything_in(store) == await everything_in(original)
        assert await store.list_aside() == []

    asyncio.run(work())


def test_one_that_cannot_be_stored_replaces_nothing(store):
    async def work():
        await filled(store)
        before = await everything_in(store)
        text = (await exported(entries=conversation())).replace('"status":"completed"', '"status":"unheard of"')
        with pytest.raises(ImportRefusedError, match="line 10"):
            await transfer_of(store).import_session(text, on_conflict="replace")
        assert await everything_in(store) == before

    asyncio.run(work())


def test_a_store_that_fails_gets_back_what_was_to_be_replaced():
    class Failing(MemoryStore):
        fails = False

        async def create(self, *arguments, **options):
            if self.fails:
                raise OSError(28, "no room")
            return await super().create(*arguments, **options)

    async def work():
        store = await filled(Failing())
        before, store.fails = await everything_in(store), True
        with pytest.raises(OSError, match="no room"):
            await transfer_of(store).import_session(await exported(), on_conflict="replace")
        assert await everything_in(store) == before

    asyncio.run(work())


def test_a_turn_on_a_session_that_is_to_be_replaced_is_waited_for(store):
    async def work():
        await filled(store)
        transfer = Transfer(store, SessionLookup(store), lock_timeout=0.05)
        async with store.turn_lock(KEY):
            with pytest.raises(SessionBusyError):
                await transfer.import_session(await exported(), on_conflict="replace")
        await transfer.import_session(await exported(), on_conflict="replace")

    asyncio.run(work())


def test_a_store_that_cannot_set_aside_says_so():
    class Plain(MemoryStore):
        set_aside = SessionStore.set_aside

    async def work():
        store = await filled(Plain())
        with pytest.raises(UnsupportedError, match="replace a session by an import"):
            await transfer_of(store).import_session(await exported(), on_conflict="replace")

    asyncio.run(work())


def test_it_gets_the_names_that_it_is_given(store):
    async def work():
        report = await transfer_of(store).import_session(await exported(), session_id="mine", agent_id="sales")
        assert report.sessions[0].key == SessionKey("sales", "mine")
        assert len((await contents(store, SessionKey("sales", "mine")))[1]) > 5

    asyncio.run(work())


@pytest.mark.parametrize("cancel_after", [0, 1, 2, 3, 5, 8, 13, 30, 60])
def test_one_that_is_cancelled_at_any_moment_leaves_nothing_or_all(tmp_path, cancel_after):
    async def work():
        store = FileStore(tmp_path / "sessions", durability="process")
        await filled(store, entries=[item_entry({"role": "user", "content": "old"})], sidecars={})
        before = await everything_in(store)
        original = await filled(sidecars={})
        text = await transfer_of(original).export(KEY.session_id)
        task = asyncio.create_task(transfer_of(store).import_session(text, on_conflict="replace"))
        for _ in range(cancel_after):
            await asyncio.sleep(0.0005)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        after = await everything_in(store)
        assert after in (before, await everything_in(original))
        assert after != before or isinstance(outcome, asyncio.CancelledError)
        assert await store.list_aside() == []
        assert [name for name in os.listdir(tmp_path / "sessions" / "triage") if "part" in name or "tmp" in name] == []

    asyncio.run(work())


def test_progress_tells_how_far_it_is():
    async def work():
        told = []
        text = await exported(entries=[item_entry({"role": "user", "content": "x"})] * 1200, sidecars={})
        await transfer_of().import_session(text, on_progress=told.append)
        assert [step.entries for step in told] == [500, 1000, 1200]
        assert told[-1].of_entries == 1200

    asyncio.run(work())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"format": "pdf"}, InvalidValueError),
        ({"on_conflict": "ignore"}, InvalidValueError),
        ({"session_id": ""}, SessionIdError),
        ({"agent_id": "\0"}, SessionIdError),
    ],
    ids=repr,
)
def test_bad_arguments_are_refused(options, error):
    with pytest.raises(error):
        asyncio.run(transfer_of().import_session("[]", **options))


@pytest.mark.parametrize(
    "text",
    ["", " ", "hello", "7", "null", "{}", '{"a": 1}', "\x00", "<html>", "[", b"\xff\xfe[", '{"format": "other/1"}'],
)
def test_what_is_nothing_that_can_be_imported_is_refused(text):
    async def work():
        store = MemoryStore()
        with pytest.raises(ImportRefusedError, match="nothing was imported"):
            await transfer_of(store).import_session(text)
        assert await everything_in(store) == {}

    asyncio.run(work())


def test_half_a_character_is_no_text_to_import():
    with pytest.raises(ImportRefusedError, match="not UTF-8"):
        asyncio.run(transfer_of().import_session("\ud800"))


def test_what_is_not_what_it_must_be_is_refused():
    async def work():
        with pytest.raises(ImportRefusedError, match="is 'jsonl', not 'responses'"):
            await transfer_of().import_session(await exported(), format="responses")

    asyncio.run(work())


def test_a_file_says_its_format_by_its_content(tmp_path):
    async def work():
        (tmp_path / "notes.txt").write_text(await exported())
        report = await transfer_of().import_file(tmp_path / "notes.txt")
        assert (report.format, report.entries) == ("jsonl", report.sessions[0].entries)

    asyncio.run(work())


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "nothing"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, kind):
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = "/dev/zero"
    with pytest.raises(FileNotFoundError if kind == "nothing" else ImportRefusedError):
        asyncio.run(transfer_of().import_file(path))


def test_the_file_of_a_session_from_another_machine_is_taken(tmp_path):
    async def work():
        source = await filled(FileStore(tmp_path), sidecars={})
        to = MemoryStore()
        report = await transfer_of(to).import_file(source.path(KEY))
        assert report.format == "session_file"
        assert await contents(to) == await contents(source)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (('"agents-sessions/1"', '"agents-sessions/2"'), "newer version"),
        (('"salt"', '"codec":{"key":"k"},"salt"'), "through a codec"),
        (('"agents-sessions/1"', '"agents-sessions/x"'), "not the format"),
    ],
    ids=["newer", "encrypted", "odd"],
)
def test_the_file_of_a_session_that_cannot_be_read_is_refused(tmp_path, change, reason):
    async def work():
        source = await filled(FileStore(tmp_path), sidecars={}, entries=conversation())
        path = source.path(KEY)
        path.write_text(path.read_text().replace(*change))
        with pytest.raises(ImportRefusedError, match=reason):
            await transfer_of().import_file(path)

    asyncio.run(work())


def test_a_long_file_is_read_some_lines_at_a_time(tmp_path):
    async def work():
        path = tmp_path / "long.jsonl"
        entries = [item_entry({"role": "user", "content": f"{number} {'x' * 900}"}) for number in range(2000)]
        await transfer_of(await filled(entries=entries, sidecars={})).export_to_file(KEY.session_id, path)
        to = FileStore(tmp_path / "sessions", durability="process")
        await transfer_of(to).import_file(path)
        assert (await texts(to))[1999][:5] == "1999 "

    asyncio.run(work())
