"""The database of a catalog: derived, private, and never a reason not to answer."""

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import time

import pytest
from builders import info_of, said

from agents_sessions.keys import SessionKey
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.search import SearchQuery
from agents_sessions.stores.file.catalog import database
from agents_sessions.stores.file.store import FileStore

SPAWN = multiprocessing.get_context("spawn")


def within(store, work):
    async def run():
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())


async def fill(store, count=3):
    for number in range(count):
        await store.create(info_of(SessionKey("a", f"s{number}")), [said("some words")])


async def answers(store):
    """Return how many sessions there are, and how many hits."""
    return await store.count(SessionQuery()), len(await store.search(SearchQuery(text="words", limit=1000)))


@pytest.fixture
def root(tmp_path):
    """A folder of three sessions with a catalog."""
    root = tmp_path / "sessions"

    async def work(store):
        await fill(store)
        assert await answers(store) == (3, 3)

    within(FileStore(root, durability="process"), work)
    return root


def file_of(root):
    return root / ".catalog" / "sessions.db"


def change(root, statement):
    connection = sqlite3.connect(file_of(root))
    with connection:
        connection.execute(statement)
    connection.close()


def remove(root):
    for path in (root / ".catalog").iterdir():
        path.unlink()
    (root / ".catalog").rmdir()


def garbage(root):
    file_of(root).write_bytes(os.urandom(20_000))


def cut(root):
    os.truncate(file_of(root), file_of(root).stat().st_size // 2 + 100)


def empty(root):
    file_of(root).write_bytes(b"")


def holes(root):
    data = bytearray(file_of(root).read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    file_of(root).write_bytes(data)


DAMAGES = {
    "removed": remove,
    "garbage": garbage,
    "cut": cut,
    "empty": empty,
    "holes": holes,
    "older": lambda root: change(root, "UPDATE about SET version = '0/1'"),
    "newer": lambda root: change(root, "UPDATE about SET version = '99/1'"),
    "of others": lambda root: change(root, "DROP TABLE about"),
    "a table lost": lambda root: change(root, "DROP TABLE message"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_catalog_that_cannot_be_used_is_made_anew(root, damage):
    DAMAGES[damage](root)
    assert within(FileStore(root), answers) == (3, 3)
    assert within(FileStore(root), answers) == (3, 3)
    connection = sqlite3.connect(file_of(root))
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT count(*) FROM session").fetchone() == (3,)
    connection.close()


@pytest.mark.parametrize("damage", ["removed", "garbage", "a table lost"])
def test_a_catalog_that_is_lost_while_it_is_in_use_is_made_anew(root, damage):
    async def work(store):
        assert await answers(store) == (3, 3)
        DAMAGES[damage](root)
        await store.create(info_of(SessionKey("a", "new")), [said("more words")])
        return await answers(store)

    assert within(FileStore(root), work) == (4, 4)
    assert within(FileStore(root), answers) == (4, 4)


def test_only_the_owner_may_read_it(root):
    async def work(store):
        await answers(store)
        return {path.name: path.stat().st_mode & 0o777 for path in (root / ".catalog").iterdir()}

    assert set(within(FileStore(root), work).values()) == {0o600}
    assert (root / ".catalog").stat().st_mode & 0o777 == 0o700


def test_without_a_root_there_is_nothing_and_none_is_made(tmp_path):
    async def work(store):
        assert await answers(store) == (0, 0)
        assert not store.root.exists()
        await fill(store)
        assert await answers(store) == (3, 3)
        return file_of(store.root).exists()

    assert within(FileStore(tmp_path / "sessions"), work)


@pytest.mark.parametrize(
    "what", ["a folder that cannot be made", "a link", "a file of two names", "a FIFO", "a full disk"]
)
def test_where_none_can_be_written_the_answers_are_the_same(root, tmp_path, monkeypatch, what):
    remove(root)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    def fill_up(*_):
        raise sqlite3.OperationalError("database or disk is full")

    if what == "a folder that cannot be made":
        monkeypatch.setattr(database.listing, "make_private", refuse)
    elif what == "a link":
        (root / ".catalog").symlink_to(elsewhere)
    elif what == "a full disk":
        monkeypatch.setattr(database.Database, "_make_tables_in_file", fill_up, raising=False)
        monkeypatch.setattr(database.Database, "_has_tables", fill_up)
    else:
        (root / ".catalog").mkdir()
        if what == "a FIFO":
            os.mkfifo(file_of(root))
        else:
            (elsewhere / "precious").write_bytes(b"precious")
            os.link(elsewhere / "precious", file_of(root))

    async def work(store):
        assert await answers(store) == (3, 3)
        await store.append(SessionKey("a", "s0"), [said("more words")])
        return await answers(store)

    assert within(FileStore(root), work) == (3, 4)
    assert [path.read_bytes() for path in elsewhere.iterdir()] in ([], [b"precious"])


def words_in(root):
    """Return all bytes of the catalog in lower case, as its words are stored."""
    return b"".join(path.read_bytes().lower() for path in (root / ".catalog").iterdir())


def test_what_is_purged_is_in_no_byte_of_the_catalog(root):
    key = SessionKey("a", "secret")

    async def work(store):
        await store.create(info_of(key, name="Xylophone"), [said("Zaunkoenig one"), said("two")] * 20)
        await store.search(SearchQuery(text="zaunkoenig"))
        assert b"zaunkoenig" in words_in(root)
        await store.rewrite(key, lambda history: history.with_entries(history.entries[1::2]).with_facts(name="other"))
        assert list(await store.search(SearchQuery(text="zaunkoenig"))) == []
        await store.purge()
        assert b"zaunkoenig" not in words_in(root)
        assert b"xylophone" not in words_in(root)
        assert len(await store.search(SearchQuery(text="two", limit=100))) == 20

    within(FileStore(root), work)


def test_a_session_that_is_not_indexed_leaves_no_text(root):
    async def work(store):
        await store.create(info_of(indexed=False), [said("Zaunkoenig")])
        await store.append(info_of().key, [said("Zaunkoenig again")])
        assert (await answers(store))[0] == 4

    within(FileStore(root), work)
    assert b"zaunkoenig" not in words_in(root)


def ask_in_process(root, results):
    results.put(within(FileStore(root), answers))


def write_and_ask(root, agent, results):
    """Append and ask at once: every answer must have what this process was told as stored."""

    async def work(store):
        for number in range(12):
            key = SessionKey(agent, f"{number % 3}")
            if number < 3:
                await store.create(info_of(key), [said("words")])
            else:
                await store.append(key, [said("words")])
            (hits,) = [await store.search(SearchQuery(text="words", sessions=SessionQuery(agent_id=agent), limit=1000))]
            if len(hits) != number + 1:
                return len(hits), number + 1
        return None

    results.put(within(FileStore(root, durability="process"), work))


def run_processes(target, arguments):
    results = SPAWN.Queue()
    children = [SPAWN.Process(target=target, args=(*each, results)) for each in arguments]
    for child in children:
        child.start()
    answered = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(60)
    return answered


def test_processes_that_write_and_ask_at_once_see_what_they_wrote(root):
    assert run_processes(write_and_ask, [(root, agent) for agent in "bcd"]) == [None] * 3
    assert within(FileStore(root), answers) == (3 + 9, 3 + 36)


def build_for_ever(root):
    while True:
        remove(root)
        within(FileStore(root), answers)


def test_a_process_that_is_killed_while_it_builds_leaves_what_the_next_one_can_use(root):
    within(FileStore(root, durability="process"), lambda store: fill_more(store, 150))
    for _ in range(3):
        child = multiprocessing.get_context("fork").Process(target=build_for_ever, args=(root,))
        child.start()
        time.sleep(0.15)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert within(FileStore(root), answers) == (153, 153)


async def fill_more(store, count):
    for number in range(count):
        await store.create(info_of(SessionKey("b", f"t{number}")), [said("words")])


def test_a_forked_child_has_a_connection_of_its_own(root):
    store = FileStore(root)

    async def ask():
        return await answers(store)

    assert asyncio.run(ask()) == (3, 3)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if asyncio.run(ask()) == (3, 3) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    within(FileStore(root, durability="process"), lambda other: other.delete(SessionKey("a", "s0")))
    assert within(store, answers) == (2, 2)
