"""Many sessions in one zip: whole, checked, and no name in it is a path of anything."""

import asyncio
import hashlib
import io
import json
import os
import zipfile

import pytest
from sample_sessions import KEY, contents, conversation, filled, transfer_of

from agents_sessions.errors import (
    FileInTheWayError,
    ImportLimitError,
    ImportRefusedError,
    ImportVersionError,
    InvalidValueError,
    SessionExistsError,
    SessionNotFoundError,
)
from agents_sessions.features.transfer.values import ImportLimits
from agents_sessions.keys import SessionKey
from agents_sessions.model.query import SessionQuery
from agents_sessions.stores.file.store import FileStore
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.testing.contract.samples import HOSTILE_IDS

KEYS = [KEY, SessionKey("billing", "b"), SessionKey("billing", "../../etc/passwd")]


async def several(keys=KEYS, store=None):
    store = store or MemoryStore()
    for number, key in enumerate(keys):
        await filled(store, conversation(question=f"hello {number}"), key=key, user_id=f"u-{number % 2}")
    return store


async def everything_in(store):
    return {info.key: await contents(store, info.key) async for info in store.scan()}


def changed(path, change):
    """Write an archive anew, with its members as `change` makes them."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members = change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("format_name", ["json", "jsonl"])
def test_many_sessions_come_back_equal(tmp_path, format_name):
    async def work():
        store, to = await several(), FileStore(tmp_path / "to", durability="process")
        report = await transfer_of(store).export_many(KEYS, tmp_path / "a.zip", format_name)
        assert (report.sessions, report.entries) == (tuple(KEYS), 27)
        report = await transfer_of(to).import_many(tmp_path / "a.zip")
        assert (report.format, report.entries) == ("archive", 27)
        assert await everything_in(to) == await everything_in(store)

    asyncio.run(work())


def test_sessions_of_any_id_have_members_of_their_own(tmp_path):
    async def work():
        keys = [SessionKey("a", session_id) for session_id in HOSTILE_IDS]
        store, to = await several(keys), MemoryStore()
        await transfer_of(store).export_many(SessionQuery(agent_id="a"), tmp_path / "a.zip")
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            assert all(".." not in name.split("/") and not name.startswith("/") for name in archive.namelist())
        await transfer_of(to).import_many(tmp_path / "a.zip")
        assert await everything_in(to) == await everything_in(store)

    asyncio.run(work())


def test_the_manifest_says_what_is_in_it(tmp_path):
    async def work():
        await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            assert archive.testzip() is None
            manifest = json.loads(archive.read("manifest.json"))
            assert [(row["agent_id"], row["id"], row["entries"]) for row in manifest["sessions"]] == [
                (*key, 9) for key in KEYS
            ]
            for row in manifest["sessions"]:
                assert hashlib.sha256(archive.read(row["file"])).hexdigest() == row["sha256"]

    asyncio.run(work())


def test_a_query_chooses_sessions_whatever_its_limit_is(tmp_path):
    async def work():
        transfer = transfer_of(await several())
        report = await transfer.export_many(SessionQuery(user_id="u-0", limit=1), tmp_path / "a.zip")
        assert sorted(report.sessions) == sorted([KEYS[0], KEYS[2]])

    asyncio.run(work())


def test_a_session_that_is_not_there_is_an_error_and_nothing_is_written(tmp_path):
    async def work():
        transfer = transfer_of(await several())
        for missing in ("gone", SessionKey("a", "gone")):
            with pytest.raises(SessionNotFoundError):
                await transfer.export_many([*KEYS, missing], tmp_path / "a.zip")
        assert os.listdir(tmp_path) == []

    asyncio.run(work())


def test_a_session_that_goes_away_meanwhile_is_reported(tmp_path):
    async def work():
        store = await several()

        def delete(_progress):
            store._sessions.pop(KEYS[1], None)

        report = await transfer_of(store).export_many(KEYS, tmp_path / "a.zip", on_progress=delete)
        assert (report.sessions, report.missing) == ((KEYS[0], KEYS[2]), ("b",))
        assert len((await transfer_of().import_many(tmp_path / "a.zip")).sessions) == 2

    asyncio.run(work())


def test_an_archive_that_is_there_is_kept(tmp_path):
    async def work():
        (tmp_path / "a.zip").write_text("mine")
        with pytest.raises(FileInTheWayError):
            await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        assert (tmp_path / "a.zip").read_text() == "mine"

    asyncio.run(work())


def test_some_sessions_of_an_archive_can_be_chosen(tmp_path):
    async def work():
        to = MemoryStore()
        await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        await transfer_of(to).import_many(tmp_path / "a.zip", only=["b"])
        assert [info.key async for info in to.scan()] == [KEYS[1]]
        with pytest.raises(ImportRefusedError, match="does not hold 'c'"):
            await transfer_of(to).import_many(tmp_path / "a.zip", only=["c", KEY.session_id])
        assert [info.key async for info in to.scan()] == [KEYS[1]]
        with pytest.raises(InvalidValueError, match="choose one with only="):
            await transfer_of().import_file(tmp_path / "a.zip", session_id="x")

    asyncio.run(work())


def test_a_zip_of_exports_without_a_manifest_is_taken(tmp_path):
    async def work():
        transfer, to = transfer_of(await several()), MemoryStore()
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for key in KEYS:
                archive.writestr(f"x/{len(archive.namelist())}.json", await transfer.export(key.session_id))
            archive.writestr("README.txt", "hello")
        await transfer_of(to).import_file(tmp_path / "a.zip")
        assert len(await everything_in(to)) == 3

    asyncio.run(work())


def test_a_member_that_cannot_be_read_takes_the_others_back(tmp_path):
    async def work():
        def cut(members):
            return {
                name: data[:-30] if "passwd" in name else data
                for name, data in members.items()
                if name != "manifest.json"
            }

        to = await filled(MemoryStore(), [], key=SessionKey("old", "old"))
        await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        changed(tmp_path / "a.zip", cut)
        for on_conflict in ("error", "rename", "replace"):
            with pytest.raises(ImportRefusedError, match="passwd"):
                await transfer_of(to).import_many(tmp_path / "a.zip", on_conflict=on_conflict)
            assert [info.id async for info in to.scan()] == ["old"]

    asyncio.run(work())


def test_a_conflict_in_the_middle_takes_the_others_back(tmp_path):
    async def work():
        to = await filled(MemoryStore(), [], key=KEYS[1])
        await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        with pytest.raises(SessionExistsError):
            await transfer_of(to).import_many(tmp_path / "a.zip")
        assert [info.key async for info in to.scan()] == [KEYS[1]]

    asyncio.run(work())


# --- hostile archives ----------------------------------------------------------------------------------------------


def edited_manifest(**changes):
    def change(members):
        manifest = {**json.loads(members["manifest.json"]), **changes}
        return {**members, "manifest.json": json.dumps(manifest)}

    return change


def other_bytes(members):
    return {name: data.replace(b"hello", b"hallo") for name, data in members.items()}


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (other_bytes, ImportRefusedError, "does not have the checksum"),
        (edited_manifest(format="agents-sessions-archive/2"), ImportVersionError, "newer version"),
        (edited_manifest(format="zip"), ImportRefusedError, "is not"),
        (edited_manifest(sessions=None), ImportRefusedError, "no list"),
        (edited_manifest(sessions=[]), ImportRefusedError, "holds no session"),
        (edited_manifest(sessions=[{"file": "x"}]), ImportRefusedError, "without file or sha256"),
        (edited_manifest(sessions=[{"file": "/etc/passwd", "sha256": "x"}]), ImportRefusedError, "lacks '/etc/passwd'"),
        (lambda members: {**members, "manifest.json": "["}, ImportRefusedError, "cannot be unpacked|not JSON"),
        (lambda _: {"a.txt": "x"}, ImportRefusedError, "holds no session"),
    ],
    ids=["other bytes", "newer", "format", "no rows", "no session", "row", "path", "no json", "no exports"],
)
def test_an_archive_that_is_not_as_it_should_be_is_refused(tmp_path, change, error, reason):
    async def work():
        to = MemoryStore()
        await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        changed(tmp_path / "a.zip", change)
        with pytest.raises(error, match=reason):
            await transfer_of(to).import_many(tmp_path / "a.zip")
        assert await everything_in(to) == {}

    asyncio.run(work())


@pytest.mark.parametrize("damage", ["cut", "flipped", "lzma", "encrypted", "tail"])
def test_a_damaged_archive_is_refused(tmp_path, damage):
    path = tmp_path / "a.zip"

    async def work():
        await transfer_of(await several()).export_many(KEYS, path)
        data = bytearray(path.read_bytes())
        if damage == "cut":
            del data[len(data) // 2 :]
        elif damage == "tail":
            data[-22:] = b"PK\x05\x06" + b"\xff" * 18
        elif damage == "flipped":
            for place in range(200, 260):
                data[place] ^= 0xFF
        elif damage == "encrypted":
            data[6] |= 1
            place = data.index(b"PK\x01\x02")
            data[place + 8] |= 1
        else:
            memory = io.BytesIO()
            with zipfile.ZipFile(memory, "w", zipfile.ZIP_LZMA) as archive:
                archive.writestr("a.json", "{}")
            data = memory.getvalue()
        path.write_bytes(data)
        to = MemoryStore()
        with pytest.raises(ImportRefusedError):
            await transfer_of(to).import_many(path)
        assert await everything_in(to) == {}

    asyncio.run(work())


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    async def work():
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.json", b" " * 50_000_000)
        with pytest.raises(ImportLimitError, match="max_bytes"):
            await transfer_of().import_many(tmp_path / "a.zip", limits=ImportLimits(max_bytes=1_000_000))
        with pytest.raises(ImportLimitError, match=r"max_(whole|line)_bytes"):
            await transfer_of().import_many(tmp_path / "a.zip", limits=ImportLimits(max_whole_bytes=1_000_000))

    asyncio.run(work())


def test_more_sessions_than_allowed_are_refused(tmp_path):
    async def work():
        await transfer_of(await several()).export_many(KEYS, tmp_path / "a.zip")
        with pytest.raises(ImportLimitError, match="max_sessions"):
            await transfer_of().import_many(tmp_path / "a.zip", limits=ImportLimits(max_sessions=2))

    asyncio.run(work())
