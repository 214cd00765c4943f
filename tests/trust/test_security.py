"""What `docs/security.md` promises: nothing outside the root, nothing readable by others, nothing told to logs."""

import asyncio
import contextlib
import json
import logging
import os
import stat
import time
import traceback

import pytest

from agents_sessions.concurrency import process
from agents_sessions.concurrency.recent import Recent
from agents_sessions.errors import SessionError, SessionExistsError, SessionPathError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.session import StoredSession
from agents_sessions.stores.file.disk import atomic as file_atomic
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "order-42")
SECRET = "4929-1234-5678-9012"


def said(text):
    return item_entry({"role": "user", "content": text})


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "swept_folders", Recent(8))
    return FileStore(tmp_path / "sessions")


@pytest.fixture
def path(store):
    return store.path(KEY)


@pytest.fixture
def victim(tmp_path):
    """A file outside the root that no operation may read, change or remove."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"outside " + SECRET.encode())
    victim.chmod(0o644)
    before = (victim.read_bytes(), stat.S_IMODE(victim.stat().st_mode))
    yield victim
    assert (victim.read_bytes(), stat.S_IMODE(victim.stat().st_mode)) == before


def make(store, *contents):
    info = SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id)
    return asyncio.run(store.create(info, [said(text) for text in contents]))


async def turn(store):
    async with store.turn_lock(KEY, timeout=0):
        pass


# --- links -----------------------------------------------------------------------------------------------------

LINKS = {"symbolic": os.symlink, "hard": os.link}
symbolic_or_hard = pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)


@pytest.mark.parametrize("one", ["../victim", "../../victim", "/victim", "..", "support/../../victim", "%2e%2e/victim"])
def test_no_id_leads_out_of_the_root(store, victim, one):
    async def work():
        for key in (SessionKey("support", one), SessionKey(one, "order-42"), SessionKey(one, one)):
            await store.create(SessionInfo(id=key.session_id, agent_id=key.agent_id))
            await store.write_sidecar(key, "a.json", b"1")
            assert store.path(key).resolve().is_relative_to(store.root)

    asyncio.run(work())
    assert sorted(os.listdir(victim.parent)) == ["sessions", "victim"]


@pytest.mark.parametrize("name", ["../x", "../../victim", "a/../../x", "a/b/c", "/victim", "", "a//b", ".."])
def test_no_name_of_a_sidecar_leads_out_of_its_folder(store, path, victim, name):
    make(store)
    with contextlib.suppress(ValueError):
        asyncio.run(store.write_sidecar(KEY, name, b"1"))
    found = {str(each.relative_to(path.parent)) for each in path.parent.rglob("*") if each.is_file()}
    assert all(each == "order-42.json" or each.startswith("order-42/") for each in found)
    assert sorted(os.listdir(victim.parent)) == ["sessions", "victim"]


@symbolic_or_hard
def test_a_linked_turn_lock_overwrites_nothing(store, path, victim, link):
    make(store)
    link(victim, path.with_name(".order-42.json.turn"))
    with contextlib.suppress(SessionPathError):
        asyncio.run(turn(store))


def test_a_hard_linked_turn_lock_does_not_keep_anyone_from_a_turn(store, path, victim):
    make(store)
    os.link(victim, path.with_name(".order-42.json.turn"))
    asyncio.run(turn(store))
    assert os.listdir(path.parent) == ["order-42.json"]


@symbolic_or_hard
def test_a_linked_sidecar_is_replaced_and_not_written_through(store, path, victim, link):
    make(store)
    path.with_suffix("").mkdir()
    link(victim, path.with_suffix("") / "a.json")
    if link is os.symlink:
        with pytest.raises(SessionPathError):
            asyncio.run(store.read_sidecar(KEY, "a.json"))
    asyncio.run(store.write_sidecar(KEY, "a.json", b"mine"))
    assert asyncio.run(store.read_sidecar(KEY, "a.json")) == b"mine"


@symbolic_or_hard
def test_a_linked_temporary_is_swept_without_its_target(store, path, victim, link):
    """A hard link is removed as what a dead process left; a symbolic one is not opened, and so stays."""
    path.parent.mkdir(parents=True)
    left = path.with_name(".order-42.json.1badf00d.tmp")
    left.touch()
    planted = path.with_name(".order-42.json.0badf00d.tmp")
    link(victim, planted)
    for each in (left, planted):
        os.utime(each, (0, 0), follow_symlinks=False)
    make(store, "a")
    stays = [planted.name] if link is os.symlink else []
    assert sorted(os.listdir(path.parent)) == [*stays, "order-42.json"]
    assert victim.stat().st_nlink == 1
    assert stays == [] or os.readlink(planted) == str(victim)


def test_a_linked_temporary_folder_is_not_swept_through(store, path, tmp_path):
    path.parent.mkdir(parents=True)
    outside, planted = tmp_path / "outside", path.with_name(".order-42.0badf00d.tmp")
    outside.mkdir()
    (outside / "kept").touch()
    planted.symlink_to(outside)
    for each in (outside, planted):
        os.utime(each, (0, 0), follow_symlinks=False)
    make(store, "a")
    assert os.listdir(outside) == ["kept"]
    assert os.readlink(planted) == str(outside)


@pytest.mark.parametrize("what", ["a folder", "a file", "nothing"])
def test_a_linked_folder_of_sidecars_goes_with_its_session_and_its_target_stays(store, path, tmp_path, victim, what):
    target = {"a folder": tmp_path / "outside", "a file": victim, "nothing": tmp_path / "nowhere"}[what]
    if what == "a folder":
        target.mkdir()
        (target / "kept").write_text("x")
    make(store)
    path.with_suffix("").symlink_to(target)
    asyncio.run(store.delete(KEY))
    assert os.listdir(path.parent) == []
    path.with_suffix("").symlink_to(target)
    make(store)
    assert os.listdir(path.parent) == ["order-42.json"]
    assert what != "a folder" or os.listdir(target) == ["kept"]


def test_a_linked_file_is_never_overwritten_by_a_new_session(store, path, victim):
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    with pytest.raises(SessionExistsError):
        make(store)


def test_a_linked_file_inside_a_linked_agent_is_not_listed(store, path, victim, caplog):
    make(store)
    path.with_name("planted.json").symlink_to(victim)
    (store.root / "agent").symlink_to(victim.parent)

    async def work():
        return [info.key async for info in store.scan()]

    with caplog.at_level(logging.DEBUG):
        assert asyncio.run(work()) == [KEY]
    assert SECRET not in caplog.text


# --- permissions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o777])
def test_every_kind_of_file_is_private_under_any_umask(store, path, mask, monkeypatch):
    seen = {}

    def look():
        for each in [store.root, *store.root.rglob("*")]:
            kind = "folder" if each.is_dir() else each.name.rpartition(".")[2].partition("-")[0]
            seen.setdefault(kind, set()).add(stat.S_IMODE(each.stat().st_mode))

    for name in ("fdatasync", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: (look(), real(fd)))

    async def work():
        await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id), [said("a")])
        await store.write_sidecar(KEY, "checkpoints/a.json", b"{}")
        async with store.turn_lock(KEY):
            look()
        before = path.read_bytes()
        await store.append(KEY, [said("torn " * 300)])
        path.write_bytes(path.read_bytes()[:1500] + before[1500:])
        await store.append(KEY, [said("b")])
        look()

    previous = os.umask(mask)
    try:
        asyncio.run(work())
    finally:
        os.umask(previous)
    assert seen.pop("folder") == {0o700}
    assert set(seen) == {"json", "tmp", "turn", "torn"}
    assert {mode for modes in seen.values() for mode in modes} == {0o600}


# --- secrets ---------------------------------------------------------------------------------------------------


def told(error):
    """Return all that a traceback, a log or a report of an error may show."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def spoil(data):
    """Yield broken forms of a file that are full of what nobody may see."""
    middle = data.index(SECRET.encode())
    yield data[: middle + 5]
    yield data[:middle] + b"\xff" + data[middle:]
    yield data[:middle] + b'"' + data[middle:]
    yield data.replace(b'"status":"active"', b'"status":"' + SECRET.encode() + b'"')
    yield data.replace(b'"created_at":"', b'"created_at":"' + SECRET.encode())
    yield data.replace(b'{"seq":1,', b'{"seq":"' + SECRET.encode() + b'",')
    yield data.replace(b'"at":"', b'"at":1e999,"x":"')
    yield data.replace(b'"history":[', b'"history":"' + SECRET.encode() + b'",[')
    yield SECRET.encode()
    yield b'{"format":"' + SECRET.encode() + b'"}'
    yield data.decode().encode("utf-16")
    yield data.replace(b'"id":"order-42"', b'"id":"order-43"')


def test_no_log_error_or_repr_shows_what_a_session_holds(store, path, caplog):
    item = {"type": "function_call_output", "call_id": "c", "output": SECRET}
    shown = []

    async def work():
        metadata = {"card": SECRET}
        await store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id, metadata=metadata), [said(SECRET)])
        await store.append(KEY, [item_entry(item), said(SECRET)])
        await store.write_sidecar(KEY, "run_state.json", SECRET.encode())
        session = StoredSession(store, KEY)
        shown.extend([repr(store), repr(session), str(session)])
        whole = path.read_bytes()
        acts = (
            lambda: store.load(KEY),
            lambda: store.entries(KEY),
            lambda: store.items(KEY, limit=1),
            session.get_items,
            session.pop_item,
            lambda: store.append(KEY, [said(SECRET)]),
            lambda: store.append(KEY, [said({SECRET})]),
            lambda: store.append(KEY, [said([SECRET, float("nan")])]),
            lambda: store.append(KEY, [item_entry({SECRET: {1: SECRET}})]),
            lambda: store.append(KEY, [record_entry({"type": "usage", "requests": SECRET})]),
            lambda: store.append(KEY, [said(SECRET)], expected_seq=99),
            lambda: store.rewrite(KEY, lambda history: history.with_facts(name="x")),
            lambda: store.create(SessionInfo(id=KEY.session_id, agent_id=KEY.agent_id, metadata={"a": SECRET})),
            lambda: store.create(SessionInfo.model_construct(id="x", agent_id="y", status=SECRET)),
            lambda: _scan(store),
        )
        for data in (whole, *spoil(whole)):
            for act in acts:
                path.write_bytes(data)
                try:
                    await act()
                except SessionError as error:
                    shown.append(told(error))

    with caplog.at_level(logging.DEBUG):
        asyncio.run(work())
    assert len(shown) > 60
    assert caplog.text
    assert not [text[:300] for text in (*shown, caplog.text) if SECRET in text]


async def _scan(store):
    return [info.key async for info in store.scan()]


def test_the_suite_hears_what_any_of_its_tests_logs_and_knows_a_message_by_its_text(request, store):
    """`tests/conftest.py` fails the test; here it is asked before."""
    listening = request.config.pluginmanager.getplugin("listening")
    logger, before = logging.getLogger("agents_sessions.some.module"), listening.heard
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.debug("it failed", exc_info=True)
    logger.info("%s", said(SECRET))
    logger.debug(SECRET)
    logger.info("nothing of it")
    assert listening.heard == before + 4
    assert len(listening.taken()) == 3


# --- code ------------------------------------------------------------------------------------------------------


def test_nothing_that_runs_code_stands_in_the_package():
    """A session file is data: no pickle, no eval, no import of a name that a file holds."""
    package = os.path.dirname(file_atomic.__file__)
    for folder, _, names in os.walk(os.path.dirname(package)):
        for name in (name for name in names if name.endswith(".py")):
            with open(f"{folder}/{name}") as file:
                source = file.read()
            for word in ("import pickle", "import marshal", "import shelve", "eval(", "exec(", "__import__", "yaml"):
                assert word not in source, name


def test_a_file_that_says_it_is_an_object_is_data(store, path):
    make(store, "a")
    data = json.loads(path.read_bytes())
    data["history"][0]["item"] = {"__class__": "os.system", "__reduce__": ["os.system", ["true"]], "$ref": "file:///"}
    path.write_text(json.dumps(data))
    assert asyncio.run(store.items(KEY)) == [data["history"][0]["item"]]


def test_a_turn_lock_of_odd_content_is_a_lock_like_any_other(store, path):
    make(store)
    for content in (b"", b"\xff", b"[]", b'{"process":1,"since":2}', b'{"since":"yesterday"}', b"{" * 100_000):
        path.with_name(".order-42.json.turn").write_bytes(content)
        begun = time.monotonic()
        asyncio.run(turn(store))
        assert time.monotonic() - begun < 5
