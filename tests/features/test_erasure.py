"""What must be gone for good is gone everywhere, and what must stay stays."""

from pathlib import Path

import pytest
from keeping import KEY, make, open_store, said, within

from agents_sessions.errors import InvalidValueError, SessionBusyError
from agents_sessions.features.retention.policy import Policy
from agents_sessions.keys import SessionKey

WORD = "Xylographenblauwurz"


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return open_store(request.param, tmp_path)


def traces(root, word=WORD):
    """Return the files below a root that hold a word, in their names or, also compressed, in their bytes."""
    found = []
    for path in Path(root).rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        if word in path.name or word.encode() in data or word.encode() in unpacked(path.name, data):
            found.append(str(path.relative_to(root)))
    return found


def unpacked(name, data):
    if name.endswith((".zst", ".gz")):
        from agents_sessions.features.archive.compression import decompressor

        return decompressor(name.rpartition(".")[2]).decompress(data)
    return b""


async def ids(store):
    return sorted([info.id async for info in store.scan()])


async def people(store, **more):
    for name, user, agent in (("1", "ann", "support"), ("2", "ann", "sales"), ("3", "bob", "support")):
        await make(store, name, user_id=user, agent=agent, **more)


def test_all_sessions_of_a_user_go_with_an_outcome_each(store):
    async def act(manager):
        await people(store)
        report = await manager.delete_user_sessions("ann")
        assert sorted(outcome.key.session_id for outcome in report.outcomes) == ["1", "2"]
        assert (report.sessions, report.is_complete, report.erased) == (2, True, {"sessions": 2, "sidecars": 0} | NONE)
        assert await ids(store) == ["3"]

    NONE = {"archive": 0, "repaired copies": 0}
    within(store, act)


def test_all_sessions_of_an_agent_go_to_the_trash_if_there_is_one(store):
    async def act(manager):
        await people(store)
        assert (await manager.delete_agent_sessions("support")).sessions == 2
        assert sorted(each.session_id for each in await manager.trash.list()) == ["1", "3"]
        assert await ids(store) == ["2"]

    within(store, act, trash="30d")


def test_one_that_is_busy_is_told_and_hides_no_other(store):
    async def act(manager):
        await people(store)
        async with store.turn_lock(SessionKey("support", "1")):
            report = await manager.delete_user_sessions("ann", erase=True)
        errors = {outcome.key.session_id: type(outcome.error) for outcome in report.outcomes}
        assert errors == {"1": SessionBusyError, "2": type(None)}
        assert not report.is_complete
        assert await ids(store) == ["1", "3"]

    within(store, act, lock_timeout=0.01)


@pytest.mark.parametrize("wrong", [None, "", 5])
def test_no_user_is_not_every_user(store, wrong):
    async def act(manager):
        await people(store)
        for delete in (manager.delete_user_sessions, manager.delete_agent_sessions):
            with pytest.raises(InvalidValueError):
                await delete(wrong)
        assert await ids(store) == ["1", "2", "3"]

    within(store, act)


async def plant(manager, store):
    """Leave a word in every place that there is."""
    facts = {"user_id": "ann", "text": WORD, "name": WORD, "metadata": {"note": WORD}, "tags": (WORD,)}
    for name in (
        "live",
        "trashed",
        "archived",
        "archived-and-trashed",
        "torn",
        "torn-and-trashed",
        "ruled",
        "unanswered",
    ):
        await make(store, name, days_ago=40 if name == "ruled" else 0, **facts)
        await store.write_sidecar(SessionKey("support", name), "checkpoints/1", WORD.encode())
    for name in ("torn", "torn-and-trashed"):
        await tear(store, SessionKey("support", name))
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": WORD}
    await store.append(SessionKey("support", "unanswered"), [{"item": call}])
    await manager.diagnostics.repair(await manager.diagnostics.check(), dry_run=False)
    for name in ("archived", "archived-and-trashed"):
        await manager.archive.archive(name)
    for name in ("trashed", "archived-and-trashed", "torn-and-trashed"):
        await manager.delete_session(name)
    await manager.retention.apply(await manager.retention.preview(Policy(max_idle="30d")))
    await orphan(manager, store)


async def tear(store, key):
    path = store.path(key)
    before = path.read_bytes()
    await store.append(key, [said(WORD * 200)])
    path.write_bytes(path.read_bytes()[: len(before) + 300])
    await store.append(key, [])


async def orphan(manager, store):
    """Leave a file of the archive without a session, as a death in the middle of an archiving does."""
    await make(store, "orphan", user_id="ann", text=WORD)
    archived = await manager.archive.archive("orphan")
    kept = archived.path.read_bytes()
    await manager.archive.restore("orphan")
    await store.delete(SessionKey("support", "orphan"))
    archived.path.write_bytes(kept)


def test_erased_there_is_no_trace_below_the_root(tmp_path, caplog):
    store = open_store("file", tmp_path)

    async def act(manager):
        await people(store, text="other")
        await plant(manager, store)
        assert len(traces(tmp_path)) > 10
        report = await manager.delete_user_sessions("ann", erase=True)
        assert traces(tmp_path) == []
        assert report.is_complete
        assert {place: count > 0 for place, count in report.erased.items()} == {
            "sessions": True,
            "sidecars": True,
            "trash": True,
            "archive": True,
            "repaired copies": True,
            "backups": True,
            "log of retention": True,
            "indexes": False,
        }
        assert traces(tmp_path, "trashed") == []
        assert await ids(store) == ["3"]
        assert (await store.items(SessionKey("support", "3")))[0]["content"] == "other"

    within(store, act, trash="30d")


def test_of_an_agent_damaged_sessions_are_erased_too_and_of_a_user_told(tmp_path, caplog):
    store = open_store("file", tmp_path)

    async def act(manager):
        await people(store)
        await make(store, text=WORD, user_id="ann")
        store.path(KEY).write_text("{" + WORD)
        report = await manager.delete_user_sessions("ann", erase=True)
        assert (report.unread, report.is_complete) == (("support/order-42.json",), False)
        report = await manager.delete_agent_sessions("support", erase=True)
        assert report.is_complete
        assert traces(tmp_path) == []

    within(store, act)


def test_copies_of_an_id_that_someone_else_has_by_now_are_told(tmp_path, caplog):
    store = open_store("file", tmp_path)

    async def act(manager):
        await make(store, user_id="ann", text=WORD)
        await tear(store, KEY)
        await manager.delete_session("order-42")
        await make(store, user_id="bob")
        report = await manager.delete_user_sessions("ann", erase=True)
        assert not report.is_complete
        assert "another session has this id" in report.unread[0]
        assert await ids(store) == ["order-42"]

    within(store, act, trash="30d")


def test_backups_of_sessions_with_like_names_are_left():
    from agents_sessions.features.diagnostics.backups import _is_of

    names = [
        "a.json",
        "a",
        "a.01234567.jsonl.gz",
        ".a.json.turn",
        "a.b.json",
        "a.b",
        "ab.json",
        "a.b.01234567.jsonl.gz",
    ]
    assert [name for name in names if _is_of(name, "a.json")] == names[:4]
