"""Every system call of what keeps and removes sessions fails in turn, on a full disk among others: nothing is lost."""

import asyncio
import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from faults import Calls, failing

from agents_sessions.errors import ArchiveError, SessionIOError
from agents_sessions.features.retention.policy import Policy
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry, parse_time
from agents_sessions.model.info import SessionInfo
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "order-42")
ERRORS = ("ENOSPC", "EIO", "EACCES", "EMFILE")
OLD = parse_time("2026-01-01T00:00:00.000Z")


@pytest.fixture
def base():
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="keeping-", dir=memory if usable else None) as folder:
        yield Path(folder)


async def furnish(manager):
    info = SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id, created_at=OLD, updated_at=OLD)
    entries = [{**item_entry({"role": "user", "content": text}), "at": "2026-01-01T00:00:00.000Z"} for text in "abc"]
    await manager.store.create(info, entries, sidecars={"checkpoints/a.json": b"1"})


async def furnish_archive(manager):
    await furnish(manager)
    await manager.archive.archive("order-42")


async def furnish_trash(manager):
    await furnish(manager)
    await manager.delete_session("order-42")


async def break_call(manager):
    await furnish(manager)
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    await manager.store.append(KEY, [item_entry(call)])


async def apply(manager):
    await manager.retention.apply(await manager.retention.preview(Policy(keep_last=0)))


async def repair(manager):
    await manager.diagnostics.repair(await manager.diagnostics.check(), dry_run=False)


OPERATIONS = {
    "archive": (furnish, lambda manager: manager.archive.archive("order-42")),
    "restore from the archive": (furnish_archive, lambda manager: manager.archive.restore("order-42")),
    "trash": (furnish, lambda manager: manager.delete_session("order-42")),
    "restore from the trash": (furnish_trash, lambda manager: manager.trash.restore("order-42")),
    "purge": (furnish_trash, lambda manager: manager.trash.purge(everything=True)),
    "retention": (furnish, apply),
    "repair": (break_call, repair),
}
GOES = ("purge",)


async def look(manager):
    """Return the whole history and what lies beside it, from wherever it is; None if it is nowhere."""
    for trashed in await manager.trash.list():
        await manager.trash.restore(trashed)
    if any(archived.session_id == "order-42" for archived in await manager.archive.list()):
        await manager.archive.restore("order-42")
    info = await manager.store.load(KEY)
    if info is None:
        return None
    entries = [(entry["seq"], entry["item"]) for entry in await manager.store.entries(KEY)]
    return entries[:4], {name: await manager.store.read_sidecar(KEY, name) for name in ["checkpoints/a.json"]}


def opened(folder):
    return SessionManager(FileStore(folder, durability="process"), trash="30d")


@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_call_fails_the_session_is_whole_somewhere_or_was_to_go(base, name, caplog):
    prepare, act = OPERATIONS[name]

    async def attempt(place, expected):
        folder = base / str(place)
        shutil.copytree(base / "first", folder)
        manager, failed = opened(folder), None
        number = getattr(errno, ERRORS[place % len(ERRORS)])
        with Calls().at(place, failing(number)) as calls:
            try:
                await act(manager)
            except (SessionIOError, ArchiveError, OSError) as error:
                failed = error
        await manager.store.aclose()
        found = await look(again := opened(folder))
        assert found == expected or (found is None and name in GOES), (calls.where, failed)
        assert not list(folder.rglob("*.part")), calls.where
        await again.store.aclose()
        shutil.rmtree(folder)
        return place < len(calls.made)

    async def work():
        await prepare(first := opened(base / "first"))
        await first.store.aclose()
        shutil.copytree(base / "first", base / "expected")
        expected = await look(opened(base / "expected"))
        assert expected is not None
        place = 0
        while await attempt(place, expected):
            place += 1 if place < 40 else 3
        assert place > 10

    asyncio.run(work())
