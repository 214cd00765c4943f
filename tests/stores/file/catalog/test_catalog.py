"""The catalog of a folder: what it reads, what it notices, and that it says what the files say."""

import asyncio
import json
import os
import random
import shutil
from datetime import timedelta

import pytest
from builders import info_of, said
from faults import Calls

from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import parse_time
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.file.catalog import catalog as catalogs
from agents_sessions.stores.file.catalog import questions
from agents_sessions.stores.file.disk.listing import FileState
from agents_sessions.stores.file.store import FileStore

SETTLED = 0.03
"""Seconds after which a file that was written is not young any more."""


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "sessions", durability="process")


def within(store, work):
    """Run a coroutine function with a store, and close the store."""

    async def run():
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())


async def fill(store, count, items=3):
    for number in range(count):
        await store.create(info_of(SessionKey("a", f"s{number}"), name=f"n{number}"), [said("some words")] * items)
    await asyncio.sleep(SETTLED)
    await store.count(SessionQuery())
    await store.count(SessionQuery())


async def ids(store, **asked):
    return {info.id for info in await store.query(SessionQuery(**asked))}


async def found(store, text):
    return {(hit.session_id, hit.seq) for hit in await store.search(SearchQuery(text=text, limit=1000))}


def test_a_question_reads_no_session_that_has_not_changed(store):
    async def work(store):
        await fill(store, 20)
        with Calls() as calls:
            assert len(await ids(store)) == 20
            assert len(await found(store, "words")) == 20 * 3
            assert await store.count(SessionQuery(status="active")) == 20
        return calls.read

    assert within(store, work) == 0


def test_of_a_session_that_has_grown_only_the_end_is_read(store):
    async def work(store):
        await fill(store, 20)
        long = SessionKey("a", "long")
        await store.create(info_of(long), [said("filler " * 100)] * 500)
        await asyncio.sleep(SETTLED)
        await store.count(SessionQuery())
        await store.append(long, [said("a needle")])
        with Calls() as calls:
            assert await found(store, "needle") == {("long", 501)}
        return calls.read, store.path(long).stat().st_size

    read, size = within(store, work)
    assert 0 < read < size / 10


def test_one_session_is_found_and_made_without_a_look_at_the_others(tmp_path):
    async def work(store):
        await fill(store, 30)
        with Calls() as calls:
            async with SessionManager(store) as manager:
                await manager.get_session("s7")
                await manager.create_session("a", session_id="new")
        return len(calls.of("preadv")), len(calls.of("stat"))

    reads, looks = within(FileStore(tmp_path, durability="process"), work)
    assert reads < 10
    assert looks < 10


def test_what_a_person_did_to_the_files_is_noticed(store):
    async def work(store):
        await fill(store, 4)
        folder = store.path(SessionKey("a", "s0")).parent
        edited = json.loads((folder / "s0.json").read_text())
        edited["history"][0]["item"]["content"] = "typed by hand"
        edited["name"] = "by hand"
        (folder / "s0.json").write_text(json.dumps(edited, indent=1))
        (folder / "s1.json").unlink()
        moved = json.loads((folder / "s2.json").read_text())
        (folder / "copied.json").write_text(json.dumps({**moved, "id": "copied"}))
        (folder / "s2.json").rename(folder / "other.json")
        assert await ids(store) == {"s0", "s3", "copied"}
        assert await ids(store, name="by hand") == {"s0"}
        assert ("s0", 1) in await found(store, "hand")
        assert {session for session, _ in await found(store, "words")} == {"s0", "s3", "copied"}

    within(store, work)


def test_an_edit_that_keeps_size_and_time_is_noticed(store):
    async def work(store):
        await fill(store, 1)
        path = store.path(SessionKey("a", "s0"))
        before = path.stat()
        path.write_bytes(path.read_bytes().replace(b"some words", b"four birds", 1))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        return await found(store, "birds")

    assert within(store, work) == {("s0", 1)}


@pytest.mark.parametrize("young", [True, False])
def test_a_file_as_young_as_the_last_look_is_looked_at_again(store, monkeypatch, young):
    """A clock that stands still hides every change: only what was young when it was read is then read again."""
    states = catalogs.file_states
    frozen = lambda *args: {name: FileState(1, *rest) for name, (_, *rest) in states(*args).items()}  # noqa: E731
    opened = "agents_sessions.stores.file.catalog.reading.open_with_state"
    monkeypatch.setattr(catalogs, "file_states", frozen)
    monkeypatch.setattr(FileState, "is_young", property(lambda _: young))

    def open_frozen(folder, name):
        fd = os.open(name, os.O_RDONLY, dir_fd=folder)
        return fd, FileState(1, os.fstat(fd).st_size, os.fstat(fd).st_ino)

    monkeypatch.setattr(opened, open_frozen)

    async def work(store):
        await fill(store, 1)
        path = store.path(SessionKey("a", "s0"))
        data = path.read_bytes().replace(b"some words", b"four birds", 1)
        fd = os.open(path, os.O_WRONLY)
        os.pwrite(fd, data, 0)
        os.close(fd)
        return await found(store, "birds")

    assert within(store, work) == ({("s0", 1)} if young else set())


def test_a_broken_file_hides_nothing_and_is_read_once(store, caplog):
    async def work(store):
        await fill(store, 3)
        path = store.path(SessionKey("a", "s1"))
        whole = path.read_bytes()
        path.write_bytes(b"{" + whole[200:])
        await asyncio.sleep(SETTLED)
        for _ in range(2):
            assert await ids(store) == {"s0", "s2"}
        with Calls() as calls:
            await ids(store)
        path.write_bytes(whole)
        assert await ids(store) == {"s0", "s1", "s2"}
        return calls.read

    assert within(store, work) == 0
    assert [record.getMessage()[:8] for record in caplog.records] == ["left out"]


def test_a_session_whose_history_is_damaged_is_found_by_its_facts(store):
    async def work(store):
        await fill(store, 1, items=200)
        path = store.path(SessionKey("a", "s0"))
        data = path.read_bytes()
        middle = len(data) // 2
        path.write_bytes(data[:middle] + b"\0" * 50 + data[middle + 50 :])
        assert [info.id async for info in store.scan()] == ["s0"]
        assert await ids(store, name="n0") == {"s0"}
        assert await found(store, "n0") == {("s0", None)}
        assert await found(store, "words") == set()
        assert [each.spend async for each in store.spend(SessionQuery())] == [None]

    within(store, work)


def test_what_sessions_have_spent_is_folded_from_what_is_new(store):
    async def work(store):
        await fill(store, 3)
        await store.append(SessionKey("a", "s1"), [said("more")])
        with Calls() as calls:
            told = {each.key.session_id: each.spend.entries async for each in store.spend(SessionQuery())}
        assert told == {"s0": 3, "s1": 4, "s2": 3}
        oracle = sorted([each async for each in SessionStore.spend(store, SessionQuery())])
        assert sorted([each async for each in store.spend(SessionQuery())]) == oracle
        return calls.read

    assert within(store, work) < 8000


def test_what_else_lies_below_the_root_is_no_session(store):
    async def work(store):
        await fill(store, 2)
        root = store.root
        (root / ".hidden").mkdir()
        shutil.copy(store.path(SessionKey("a", "s0")), root / ".hidden" / "s0.json")
        (root / "notes.json").write_text("{}")
        (root / "a" / "folder.json").mkdir()
        await store.write_sidecar(SessionKey("a", "s0"), "state.json", b"{}")
        await store.set_aside(SessionKey("a", "s1"))
        async with store.turn_lock(SessionKey("a", "s0")):
            assert await ids(store) == {"s0"}
        assert [info.id async for info in store.scan()] == ["s0"]

    within(store, work)


def test_a_first_look_tells_how_far_it_has_come(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogs, "STEP", 10)
    told = []
    store = FileStore(tmp_path, durability="process", on_indexing=lambda *numbers: told.append(numbers))

    async def work(store):
        for number in range(25):
            await store.create(info_of(SessionKey("a", str(number))))
        await store.count(SessionQuery())

    within(store, work)
    assert told == [(10, 25), (20, 25)]


@pytest.mark.parametrize(
    ("sizes", "count"), [([], 0), ([1] * 300, 200), ([40 << 20, 1], 1), ([1, 40 << 20], 1), ([16 << 20] * 5, 2)]
)
def test_one_step_reads_some_files_and_not_too_many_bytes(sizes, count):
    assert catalogs._batch(sizes) == count


def test_hits_beyond_one_window_are_on_later_pages(store, monkeypatch):
    monkeypatch.setattr(questions, "WINDOW", 7)

    async def work(store):
        await fill(store, 10, items=2)
        pages, cursor = [], None
        while True:
            page = await store.search(SearchQuery(text="words", limit=3, cursor=cursor))
            pages += [(hit.session_id, hit.seq) for hit in page]
            cursor = page.next_cursor
            if cursor is None:
                return pages

    pages = within(store, work)
    assert len(pages) == 20
    assert set(pages) == {(f"s{number}", seq) for number in range(10) for seq in (1, 2)}


FACTS = {
    "user_id": ["ann", "bob", None],
    "status": ["active", "paused", "closed"],
    "mode": ["plan", None],
    "tags": [(), ("x",), ("x", "y")],
    "metadata": [{}, {"k": 1}, {"k": True, "z": [1, {"q": None}]}, {"k": "1"}, {"k": 1.5}],
    "name": ["", "Zoë", "a\ud800", None],
    "pinned": [True, False],
    "indexed": [True, True, False],
}
TEXTS = ["tea", "green tea", "a 茶 and tea", "nothing", "Tée!", "teapot"]
DAY = parse_time("2026-11-20T00:00:00.000Z")


def test_a_catalog_says_what_a_scan_says(store):  # noqa: C901 -- one world of random steps
    """The scan of the base class is the oracle: for random sessions, changes, filters, orders and pages."""
    rng = random.Random(os.environ.get("TRUST_SEED", "catalog"))

    def facts():
        return {name: rng.choice(values) for name, values in FACTS.items()}

    def question():
        asked = {name: value for name, value in facts().items() if name != "indexed" and rng.random() < 0.2}
        if rng.random() < 0.3:
            asked["created_after"] = DAY + timedelta(hours=rng.randrange(40), microseconds=rng.choice([0, 1]))
        if rng.random() < 0.3:
            asked["active_before"] = DAY + timedelta(days=400)
        sort = rng.choice(["last_active", "created", "updated", "name", "id"])
        return SessionQuery(**asked, sort=sort, limit=rng.randrange(1, 12))

    async def change(store, number):
        key = SessionKey(rng.choice("ab"), f"s{rng.randrange(20)}")
        there = await store.load(key)
        if there is None:
            at = DAY + timedelta(hours=number % 40)
            await store.create(info_of(key, **facts(), created_at=at), [said(rng.choice(TEXTS))])
        elif rng.random() < 0.5:
            await store.append(key, [said(rng.choice(TEXTS)) for _ in range(rng.randrange(3))])
        elif rng.random() < 0.7:
            new = facts()
            await store.rewrite(key, lambda h: h.with_facts(**new).with_entries(h.entries[rng.randrange(2) :]))
        else:
            await store.delete(key)

    async def work(store):
        for number in range(120):
            await change(store, number)
            query = question()
            page = await store.query(query)
            assert page == await SessionStore.query(store, query)
            assert await store.count(query) == await SessionStore.count(store, query)
            if page.next_cursor is not None:
                more = SessionQuery(**{**vars(query), "cursor": page.next_cursor})
                assert await store.query(more) == await SessionStore.query(store, more)
            search = SearchQuery(
                text=rng.choice(["tea", "te", "茶", "green tea", '"a 茶"']), sessions=query, limit=1000
            )
            assert list(await store.search(search)) == list(await SessionStore.search(store, search))

    within(store, work)
