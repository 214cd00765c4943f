"""What is archived comes back whole; what went in was read back before the original went."""

import asyncio
import json
import sys

import pytest
from keeping import KEY, NOW, make, open_store, said, whole, within

from agents_sessions.errors import (
    ArchiveError,
    InvalidValueError,
    MissingExtraError,
    NotArchivedError,
    SessionArchivedError,
    SessionBusyError,
    SessionChangedError,
    SessionExistsError,
    SessionNotFoundError,
)
from agents_sessions.features.archive import compression, shelf
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import record_entry
from agents_sessions.model.query import SessionQuery
from agents_sessions.session import StoredSession

ODD = {"note": ["Zaunkönig \u2028 \ud800", 10**30, 1e-300, None, {"z": 1, "a": 2}]}


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_store(request.param, tmp_path)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "archive"


@pytest.fixture(params=["zst", "gz"])
def kind(request, monkeypatch):
    monkeypatch.setattr(shelf, "best_kind", lambda: request.param)
    return request.param


async def furnish(store, size=3):
    await make(store, size=size, days_ago=1, name="Order", tags=("gold",), metadata=ODD, user_id="ann", ttl=10**7)
    await store.append(KEY, [said("Zaunkönig", turn="t1"), {**said("x", agent="a"), "at": "2026-01-01T00:00:00.000Z"}])
    await store.append(KEY, [record_entry({"type": "handoff", "from": "a", "to": "b"}, turn="t1")])
    await store.write_sidecar(KEY, "checkpoints/1", b"\xff\x00binary")
    await store.write_sidecar(KEY, "run_state.json", b"{}")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_archived_session_comes_back_whole(store, folder, kind):
    async def act(manager):
        await furnish(store, size=1200)
        before, info = await whole(store), await store.load(KEY)
        archived = await manager.archive.archive("order-42")
        assert archived.path.name.endswith(f".jsonl.{kind}")
        assert archived.size == archived.path.stat().st_size
        assert await store.entries(KEY) == []
        assert await store.list_sidecars(KEY) == []
        restored = await manager.archive.restore("order-42")
        assert await whole(store) == before
        assert (restored.seq, restored.context) == (info.seq, info.context)
        assert files(folder) == []
        assert (await store.append(KEY, [said("next")])).seq == info.seq + 1

    within(store, act, archive=folder)


def test_the_store_keeps_its_facts_and_says_where_the_history_is(store, folder):
    async def act(manager):
        await furnish(store)
        await manager.archive.archive("order-42")
        info = await manager.get_session("order-42")
        assert (info.status, info.name, info.user_id) == ("archived", "Order", "ann")
        assert info.archived_at >= NOW
        assert files(folder) == [info.archive]
        assert [each.id for each in await manager.list_sessions(status="archived")] == ["order-42"]

    within(store, act, archive=folder)


USES = {
    "send_message": lambda manager: manager.send_message("order-42", "hello"),
    "stream_message": lambda manager: manager.stream_message("order-42", "hello").reply(),
    "resume": lambda manager: manager.resume("order-42", approve=True),
    "retry": lambda manager: manager.retry("order-42"),
    "get_history": lambda manager: manager.get_history("order-42"),
    "get_recent_messages": lambda manager: manager.get_recent_messages("order-42", agent_id="support"),
    "clear_session": lambda manager: manager.clear_session("order-42"),
    "session": lambda manager: manager.session("order-42").get_items(),
    "status": lambda manager: manager.update_session("order-42", status="active"),
    "archive": lambda manager: manager.archive.archive("order-42"),
}


@pytest.mark.parametrize("name", USES)
def test_what_needs_the_history_says_that_it_is_archived_and_how_to_restore(store, folder, name):
    async def act(manager):
        await furnish(store)
        before = await whole(store)
        await manager.archive.archive("order-42")
        with pytest.raises(SessionArchivedError, match=r"manager\.archive\.restore"):
            await USES[name](manager)
        await manager.archive.restore("order-42")
        assert await whole(store) == before

    within(store, act, archive=folder)


def test_facts_that_are_changed_meanwhile_stay_changed(store, folder):
    async def act(manager):
        await furnish(store)
        await manager.update_session("order-42", status="paused")
        await manager.archive.archive("order-42")
        await manager.update_session("order-42", name="New")
        restored = await manager.archive.restore("order-42")
        assert (restored.name, restored.status) == ("New", "paused")
        assert (restored.archive, restored.archived_at) == (None, None)

    within(store, act, archive=folder)


def test_what_a_bare_session_adds_to_an_archived_one_is_not_lost(store, folder):
    async def act(manager):
        await furnish(store)
        count = len(await store.items(KEY))
        await manager.archive.archive("order-42")
        await StoredSession(store, KEY).add_items([{"role": "user", "content": "late"}])
        await manager.archive.restore("order-42")
        items = await store.items(KEY)
        assert len(items) == count + 1
        assert items[-1]["content"] == "late"

    within(store, act, archive=folder)


def test_a_file_store_has_its_archive_below_its_root_out_of_sight(tmp_path):
    store = open_store("file", tmp_path)

    async def act(manager):
        await furnish(store)
        archived = await manager.archive.archive("order-42")
        assert archived.path.parent == store.root / ".archive/support"
        assert archived.path.stat().st_mode & 0o777 == 0o600
        assert archived.path.parent.stat().st_mode & 0o777 == 0o700
        assert [info.id async for info in store.scan()] == ["order-42"]

    within(store, act)


def test_a_store_without_a_folder_needs_one(tmp_path):
    store = open_store("memory", tmp_path)

    async def act(manager):
        await furnish(store)
        with pytest.raises(InvalidValueError, match="archive"):
            await manager.archive.archive("order-42")
        assert await store.entries(KEY) != []

    within(store, act)


def test_many_are_archived_with_an_outcome_each(store, folder):
    async def act(manager):
        for name in ("1", "2", "3"):
            await make(store, name)
        async with store.turn_lock(SessionKey("support", "2")):
            outcomes = await manager.archive.archive_many(["1", "2", "gone"])
        assert [(one.session_id, type(one.error)) for one in outcomes] == [
            ("1", type(None)),
            ("2", SessionBusyError),
            ("gone", SessionNotFoundError),
        ]
        assert outcomes[0].archived.session_id == "1"

    within(store, act, archive=folder, lock_timeout=0.01)


def test_filters_choose_what_is_archived_but_never_what_is_pinned(store, folder):
    async def act(manager):
        await make(store, "1", user_id="ann")
        await make(store, "2", user_id="bob")
        await make(store, "3", user_id="ann", pinned=True)
        assert [one.session_id for one in await manager.archive.archive_many(user_id="ann")] == ["1"]
        assert await manager.archive.archive_many(user_id="ann") == []
        for wrong in ({}, {"session_ids": ["1"], "user_id": "ann"}, {"colour": "red"}):
            with pytest.raises(InvalidValueError):
                await manager.archive.archive_many(**wrong)

    within(store, act, archive=folder)


def test_archived_sessions_are_listed_and_searched_by_facts(store, folder):
    async def act(manager):
        await make(store, "1", user_id="ann", tags=("gold",))
        await make(store, "2", user_id="bob")
        for name in ("1", "2"):
            await manager.archive.archive(name)
            await asyncio.sleep(0.002)
        assert [one.session_id for one in await manager.archive.list()] == ["2", "1"]
        (found,) = await manager.archive.search(user_id="ann", tags=["gold"])
        assert (found.session_id, found.size) == ("1", found.path.stat().st_size)
        assert found.archived_at == found.info.archived_at

    within(store, act, archive=folder)


def test_restoring_what_is_not_archived_is_an_error(store, folder):
    async def act(manager):
        await make(store)
        for name in ("order-42", "gone"):
            with pytest.raises(NotArchivedError):
                await manager.archive.restore(name)

    within(store, act, archive=folder)


def test_restoring_onto_a_taken_id_is_refused_and_touches_neither(store, folder):
    async def act(manager):
        await furnish(store)
        await manager.archive.archive("order-42")
        await store.delete(KEY)
        await make(store, text="new")
        with pytest.raises(SessionExistsError):
            await manager.archive.restore("order-42")
        assert (await store.items(KEY))[0]["content"] == "new"
        assert len(files(folder)) == 1

    within(store, act, archive=folder)


def test_deleting_an_archived_session_for_good_removes_its_file(store, folder):
    async def act(manager):
        await furnish(store)
        await manager.archive.archive("order-42")
        await manager.delete_session("order-42")
        assert files(folder) == []
        assert await store.load(KEY) is None

    within(store, act, archive=folder)


def test_who_does_not_know_the_archive_leaves_no_history_behind_there(tmp_path, folder):
    store = open_store("memory", tmp_path)

    async def put_away(manager):
        for name in ("1", "2"):
            await make(store, name, user_id="ann")
            await manager.archive.archive(name)
        await manager.delete_session("2")

    async def remove(manager):
        with pytest.raises(InvalidValueError, match="archive"):
            await manager.delete_session("1", permanently=True)
        report = await manager.trash.purge("2")
        assert "archive" in report.skipped[0].reason
        assert not (await manager.delete_user_sessions("ann", erase=True)).is_complete
        assert await store.load(SessionKey("support", "1")) is not None
        assert len(await manager.trash.list()) == 1

    within(store, put_away, archive=folder, trash="30d")
    within(store, remove, trash="30d")
    assert len(files(folder)) == 2


def test_an_archived_session_in_the_trash_keeps_its_file_until_it_is_purged(store, folder):
    async def act(manager):
        await furnish(store)
        before = await whole(store)
        await manager.archive.archive("order-42")
        await manager.delete_session("order-42")
        await manager.trash.restore("order-42")
        await manager.archive.restore("order-42")
        assert await whole(store) == before
        await manager.archive.archive("order-42")
        await manager.delete_session("order-42")
        assert len(files(folder)) == 1
        await manager.trash.purge("order-42")
        assert files(folder) == []

    within(store, act, archive=folder, trash="30d")


def test_what_is_written_meanwhile_keeps_a_session_from_being_archived(store, folder, monkeypatch):
    async def act(manager):
        await furnish(store)
        real = shelf.Shelf.verify

        async def verify(self, filed):
            await store.append(KEY, [said("late")])
            await real(self, filed)

        monkeypatch.setattr(shelf.Shelf, "verify", verify)
        with pytest.raises(SessionChangedError):
            await manager.archive.archive("order-42")
        assert (await store.items(KEY))[-1]["content"] == "late"
        assert files(folder) == []

    within(store, act, archive=folder)


def test_a_file_that_is_not_what_was_written_is_seen_before_the_original_goes(store, folder, monkeypatch):
    async def act(manager):
        await furnish(store)
        before = await whole(store)
        real = shelf.Shelf.verify

        async def verify(self, filed):
            path = self.folder / filed.name
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
            await real(self, filed)

        monkeypatch.setattr(shelf.Shelf, "verify", verify)
        with pytest.raises(ArchiveError, match="nothing was changed"):
            await manager.archive.archive("order-42")
        assert await whole(store) == before
        assert files(folder) == []

    within(store, act, archive=folder)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def lose(path):
    path.unlink()


def swap(path):
    made = compression.compressor(path.name.rpartition(".")[2])
    facts = {"id": "other", "agent_id": "support"}
    lines = [{"format": "agents-sessions-export/1", "session": facts, "seq": 0}, {"end": True, "entries": 0}]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(made.compress(text) + made.flush())


@pytest.mark.parametrize("harm", [flip, cut, lose, swap])
def test_a_harmed_file_is_an_error_and_the_session_stays_archived(store, folder, kind, harm):
    async def act(manager):
        await furnish(store)
        archived = await manager.archive.archive("order-42")
        harm(archived.path)
        with pytest.raises(ArchiveError):
            await manager.archive.restore("order-42")
        assert (await store.load(KEY)).archive == archived.info.archive

    within(store, act, archive=folder)


@pytest.mark.parametrize("name", ["../../etc/passwd", "support/x", "a/b/c.01234567.jsonl.gz", "/x.01234567.jsonl.gz"])
def test_a_name_that_someone_has_written_leads_nowhere_else(store, folder, name):
    async def act(manager):
        await make(store, status="archived", archive=name)
        with pytest.raises(ArchiveError):
            await manager.archive.restore("order-42")

    within(store, act, archive=folder)


def test_without_the_extra_gzip_is_written_and_zstd_is_an_error_that_names_it(store, folder, monkeypatch):
    async def act(manager):
        await furnish(store)
        await manager.archive.archive("order-42")
        monkeypatch.setitem(sys.modules, "backports", None)
        monkeypatch.setitem(sys.modules, "compression", None)
        with pytest.raises(MissingExtraError, match=r"agents-sessions\[archive\]"):
            await manager.archive.restore("order-42")
        await make(store, "2")
        assert (await manager.archive.archive("2")).path.suffix == ".gz"

    within(store, act, archive=folder)


def test_a_text_is_taken_out_of_the_archive_too(store, folder, kind):
    async def act(manager):
        await make(store, text="the card 4929-1234-5678-9012, please", size=3)
        await store.write_sidecar(KEY, "checkpoints/1", b"4929-1234-5678-9012")
        await manager.archive.archive("order-42")
        (place,) = await manager.redact("order-42", text="4929-1234-5678-9012", dry_run=True)
        assert (place.kind, place.count, place.removed) == ("archive", 4, False)
        (place,) = await manager.redact("order-42", text="4929-1234-5678-9012")
        assert place.removed
        assert await manager.redact("order-42", text="4929-1234-5678-9012") == []
        assert len(files(folder)) == 1
        await manager.archive.restore("order-42")
        assert [item["content"] for item in await store.items(KEY)] == ["the card [removed], please"] * 3
        assert await store.read_sidecar(KEY, "checkpoints/1") == b"[removed]"

    within(store, act, archive=folder)


def test_an_export_of_many_says_whose_history_is_in_the_archive(store, folder, tmp_path):
    async def act(manager):
        await make(store, "1", size=2)
        await make(store, "2", size=2)
        await manager.archive.archive("1")
        report = await manager.transfer.export_many(SessionQuery(), tmp_path / "all.zip")
        assert report.entries == 2
        assert [(dropped.session_id, "archive" in dropped.what) for dropped in report.dropped] == [("1", True)]

    within(store, act, archive=folder)


def test_rules_of_retention_can_archive(store, folder):
    async def act(manager):
        await make(store, days_ago=40, size=500, text="hello " * 30)
        report = await manager.retention.force(before=NOW, to="archive")
        assert [one.key for one in report.removed] == [KEY]
        assert 0 < report.bytes_freed < report.removed[0].size
        assert (await store.load(KEY)).status == "archived"
        assert [one.to for one in await manager.retention.log()] == ["archive"]
        assert (await manager.retention.force(before=NOW)).sessions == 0

    within(store, act, archive=folder)
