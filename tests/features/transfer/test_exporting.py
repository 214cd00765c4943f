"""Sessions that go out: to a text, or to a file that appears whole or not at all."""

import asyncio
import json
import os

import pytest
from sample_sessions import KEY, contents, conversation, filled, transfer_of

from agents_sessions.errors import FileInTheWayError, InvalidValueError, SessionChangedError, SessionNotFoundError
from agents_sessions.features.transfer.values import ExportOptions
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry
from agents_sessions.stores.base import PAGE
from agents_sessions.stores.memory import MemoryStore


class WatchedStore(MemoryStore):
    """Does something when it is read, and remembers how much was read at a time."""

    def __init__(self, when_read=None):
        super().__init__()
        self.pages, self.when_read = [], when_read

    async def entries(self, key, **window):
        found = await super().entries(key, **window)
        self.pages.append(len(found))
        if self.when_read is not None:
            await self.when_read(self, len(self.pages))
        return found


def many(count):
    return [item_entry({"role": "user", "content": f"hello {number}"}) for number in range(count)]


def test_a_manager_offers_it():
    async def work():
        manager = SessionManager(MemoryStore())
        await manager.create_session("support", session_id="a", name="Zoë")
        assert json.loads(await manager.transfer.export("a"))["session"]["name"] == "Zoë"
        assert manager.transfer is manager.transfer

    asyncio.run(work())


@pytest.mark.parametrize("format_name", ["markdown", "html"])
def test_what_people_read_says_what_it_has_cost(format_name):
    async def work():
        prices = {None: {"input": "1000", "output": "2000"}}
        manager = SessionManager(await filled(entries=conversation()), prices=prices)
        assert "$2.20" in await manager.transfer.export(KEY.session_id, format_name)
        without = await manager.transfer.export(KEY.session_id, format_name, include_usage=False)
        assert not [word for word in ("$2.20", "2,000", "model request") if word in without]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".json", "{"), (".jsonl", "{"), (".md", "# "), (".yaml", "format:"), (".html", "<!doctype")]
)
def test_a_file_gets_the_format_of_its_name(tmp_path, suffix, begins):
    async def work():
        transfer, path = transfer_of(await filled()), tmp_path / f"talk{suffix.upper()}"
        report = await transfer.export_to_file(KEY.session_id, path)
        assert path.read_text().startswith(begins)
        assert (report.size, report.sessions, report.path) == (path.stat().st_size, (KEY,), path)
        assert os.listdir(tmp_path) == [path.name]

    asyncio.run(work())


def test_only_its_owner_can_read_a_file(tmp_path):
    async def work():
        await transfer_of(await filled()).export_to_file(KEY.session_id, tmp_path / "x.json")
        assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o600

    asyncio.run(work())


def test_a_file_that_is_there_is_kept_unless_asked(tmp_path):
    async def work():
        transfer, path = transfer_of(await filled()), tmp_path / "x.json"
        path.write_text("mine")
        with pytest.raises(FileInTheWayError, match="overwrite=True"):
            await transfer.export_to_file(KEY.session_id, path)
        assert path.read_text() == "mine"
        await transfer.export_to_file(KEY.session_id, path, overwrite=True)
        assert path.read_text() == await transfer.export(KEY.session_id)
        assert os.listdir(tmp_path) == ["x.json"]

    asyncio.run(work())


def test_a_file_that_comes_meanwhile_is_kept(tmp_path):
    path = tmp_path / "x.json"

    async def come(_store, _count):
        path.write_text("mine")

    async def work():
        transfer = transfer_of(await filled(WatchedStore(come)))
        with pytest.raises(FileInTheWayError):
            await transfer.export_to_file(KEY.session_id, path)
        assert path.read_text() == "mine"
        assert os.listdir(tmp_path) == ["x.json"]

    asyncio.run(work())


def test_a_link_is_not_followed(tmp_path):
    async def work():
        (tmp_path / "x.json").symlink_to(tmp_path / "elsewhere")
        transfer = transfer_of(await filled())
        with pytest.raises(FileInTheWayError):
            await transfer.export_to_file(KEY.session_id, tmp_path / "x.json")
        await transfer.export_to_file(KEY.session_id, tmp_path / "x.json", overwrite=True)
        assert os.listdir(tmp_path) == ["x.json"]

    asyncio.run(work())


@pytest.mark.parametrize("name", ["a.json", "a.html", "a.zip"])
def test_one_that_is_cancelled_leaves_nothing(tmp_path, name):
    async def work():
        reading = asyncio.Event()

        async def wait(_store, count):
            if count == 3:
                reading.set()
                await asyncio.sleep(3600)

        store = await filled(WatchedStore(wait), many(3 * PAGE))
        transfer = transfer_of(store)
        export = (
            transfer.export_many([KEY], tmp_path / name)
            if name == "a.zip"
            else transfer.export_to_file("order-42", tmp_path / name)
        )
        task = asyncio.create_task(export)
        await reading.wait()
        assert len(os.listdir(tmp_path)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert os.listdir(tmp_path) == []

    asyncio.run(work())


@pytest.mark.parametrize("format_name", ["json", "markdown", "yaml", "html"])
def test_a_long_history_is_never_held_at_once(tmp_path, format_name):
    async def work():
        store = await filled(WatchedStore(), many(5 * PAGE))
        await transfer_of(store).export_to_file(KEY.session_id, tmp_path / "x", format_name)
        assert max(store.pages) == PAGE

    asyncio.run(work())


def test_progress_tells_how_far_it_is(tmp_path):
    async def work():
        told = []
        transfer = transfer_of(await filled(entries=many(2 * PAGE + 1)))
        await transfer.export_to_file(KEY.session_id, tmp_path / "x.json", on_progress=told.append)
        assert [step.entries for step in told] == [PAGE, 2 * PAGE, 2 * PAGE + 1]
        assert {step[2:] for step in told} == {(2 * PAGE + 1, 0, 1)}

    asyncio.run(work())


def test_what_is_added_meanwhile_is_not_part_of_it():
    async def add(store, count):
        if count == 1:
            await store.append(KEY, many(3))

    async def work():
        store = await filled(WatchedStore(add), many(PAGE + 5))
        found = json.loads(await transfer_of(store).export(KEY.session_id))
        assert (len(found["history"]), found["seq"]) == (PAGE + 5, PAGE + 5)

    asyncio.run(work())


def test_a_session_that_is_rewritten_meanwhile_is_not_exported_as_a_mixture(tmp_path):
    async def cut(store, count):
        if count == 1:
            await store.rewrite(KEY, lambda history: history.with_entries(history.entries[:10]))

    async def work():
        transfer = transfer_of(await filled(WatchedStore(cut), many(PAGE + 5)))
        with pytest.raises(SessionChangedError, match="do it again"):
            await transfer.export_to_file(KEY.session_id, tmp_path / "x.json")
        assert os.listdir(tmp_path) == []

    asyncio.run(work())


def test_bad_arguments_are_refused_before_anything_is_touched(tmp_path):
    async def work():
        transfer = transfer_of(await filled())
        with pytest.raises(InvalidValueError, match="must be one of 'json', 'jsonl'"):
            await transfer.export(KEY.session_id, "pdf")
        with pytest.raises(InvalidValueError, match="must be given"):
            await transfer.export_to_file(KEY.session_id, tmp_path / "x")
        with pytest.raises(SessionNotFoundError):
            await transfer.export_to_file("order-43", tmp_path / "x.json")
        with pytest.raises(InvalidValueError, match="not one string"):
            await transfer.export_many(KEY.session_id, tmp_path / "x.zip")
        with pytest.raises(FileNotFoundError):
            await transfer.export_to_file(KEY.session_id, tmp_path / "nowhere" / "x.json")
        assert os.listdir(tmp_path) == []

    asyncio.run(work())


def test_options_reach_a_file(tmp_path):
    async def work():
        transfer = transfer_of(await filled(entries=conversation()))
        options = ExportOptions(include_tool_calls=False, include_usage=False)
        await transfer.export_to_file(KEY.session_id, tmp_path / "x.md", options=options)
        text = (tmp_path / "x.md").read_text()
        assert "find_order" not in text
        assert "without tool calls, usage" in text

    asyncio.run(work())


def test_what_was_taken_back_marked_and_merged_goes_out_comes_back_and_is_shown():
    async def work():
        source = await filled(
            entries=[*conversation(), *conversation(turn="t2"), *conversation(turn="t3")], sidecars={}
        )
        manager = SessionManager(source)
        await manager.checkpoints.save(KEY.session_id, data={"budget": 3}, label="before refund")
        await manager.undo(KEY.session_id)
        await manager.summaries.save(KEY.session_id, "They asked twice.")
        for format_name in ("json", "jsonl"):
            to = MemoryStore()
            await transfer_of(to).import_session(await manager.transfer.export(KEY.session_id, format_name))
            assert await contents(to) == await contents(source)
            assert await to.items(KEY) == await source.items(KEY)
        await transfer_of(to).import_session(
            await manager.transfer.export(KEY.session_id, mask="all"), on_conflict="rename"
        )
        for format_name in ("markdown", "html"):
            text = await manager.transfer.export(KEY.session_id, format_name)
            assert "before refund" in text
            assert "undo of entries 19 to " in text

    asyncio.run(work())
