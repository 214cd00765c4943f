"""The catalog of a folder keeps what each session has spent, and reads only what is new."""

import asyncio

import pytest

from agents_sessions.errors import InvalidItemError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import SessionQuery
from agents_sessions.model.usage import NOTHING
from agents_sessions.stores.base import SessionStore
from agents_sessions.stores.file.catalog import reading
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "order-42")


def usage(tokens, model="gpt-4.1"):
    row = {**NOTHING.row(), "requests": 1, "input_tokens": tokens, "total_tokens": tokens, "model": model}
    return record_entry({"type": "usage", "requests": [row]})


def said(text):
    return item_entry({"role": "user", "content": text})


async def spends(store, query=None):
    return sorted([each async for each in store.spend(query or SessionQuery())], key=lambda each: each.key)


async def walked(store):
    """Return what the base class says, which reads every history."""
    return sorted([each async for each in SessionStore.spend(store, SessionQuery())], key=lambda each: each.key)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "sessions", durability="process")


async def filled(store, count=3):
    for number in range(count):
        info = SessionInfo(id=f"s{number}", agent_id="support", user_id=f"u{number}", name=f"n{number}")
        await store.create(info, [said("hello"), usage(number + 1)])


def test_the_catalog_says_what_the_histories_say(store):
    async def run():
        await filled(store)
        assert await spends(store) == await walked(store)
        await store.append(SessionKey("support", "s1"), [usage(70, "o3"), usage(5)])
        assert await spends(store) == await walked(store)
        await store.rewrite(SessionKey("support", "s1"), lambda history: history.with_entries(history.entries[1:3]))
        await store.rewrite(SessionKey("support", "s2"), lambda history: history.with_facts(parent_id="s1"))
        await store.delete(SessionKey("support", "s0"))
        found = await spends(store)
        assert found == await walked(store)
        assert len(found) == 2

    asyncio.run(run())


def test_of_a_session_that_has_grown_only_the_new_lines_are_folded(store, monkeypatch):
    folded = []

    async def run():
        await filled(store)
        await spends(store)
        await asyncio.sleep(0.05)  # a file as young as the last look is read again
        await spends(store)
        whole = reading.fold_spend
        monkeypatch.setattr(
            reading, "fold_spend", lambda spend, entries: folded.append(len(entries)) or whole(spend, entries)
        )
        await store.append(SessionKey("support", "s1"), [usage(70)])
        return await spends(store)

    found = asyncio.run(run())
    assert folded == [1]
    assert [sum(sums.input_tokens for _, sums in each.spend.lines) for each in found] == [1, 72, 3]


def test_a_catalog_that_was_kept_by_another_fold_is_made_anew(store, monkeypatch):
    async def run():
        await filled(store)
        before = await spends(store)
        await store.aclose()
        monkeypatch.setattr("agents_sessions.stores.file.catalog.database.VERSION", "another")
        assert await spends(FileStore(store.root)) == before

    asyncio.run(run())


def test_a_record_that_cannot_be_folded_hides_no_session(store, monkeypatch):
    whole = reading.fold_spend

    def fold(spend, entries):
        if any(row["input_tokens"] == 2 for entry in entries for row in entry.get("record", {}).get("requests", ())):
            raise InvalidItemError("a record", "is incomplete")
        return whole(spend, entries)

    async def run():
        monkeypatch.setattr(reading, "fold_spend", fold)
        await filled(store)
        listed = [info.id for info in await store.query(SessionQuery(sort="id"))]
        return listed, [(each.key.session_id, each.spend is None) for each in await spends(store)]

    listed, found = asyncio.run(run())
    assert listed == ["s0", "s1", "s2"]
    assert found == [("s0", False), ("s1", True), ("s2", False)]


def test_a_file_that_cannot_be_read_is_named_where_all_are_asked_for(store):
    async def run():
        await filled(store)
        store.path(SessionKey("support", "s1")).write_bytes(b"{")
        everyone = [(each.key, each.spend is None) for each in await spends(store)]
        of_agent = [each.key.session_id for each in await spends(store, SessionQuery(agent_id="support", limit=1))]
        of_other = await spends(store, SessionQuery(agent_id="sales"))
        of_user = [each.key.session_id for each in await spends(store, SessionQuery(user_id="u2"))]
        return everyone, of_agent, of_other, of_user

    everyone, of_agent, of_other, of_user = asyncio.run(run())
    assert (SessionKey("support", "s1"), True) in everyone
    assert (of_agent, of_other, of_user) == (["s0", "s1", "s2"], [], ["s2"])


def test_what_a_session_without_an_index_has_spent_is_known_and_its_text_is_not(store):
    async def run():
        info = SessionInfo(id="s", agent_id="support", indexed=False)
        await store.create(info, [said("my-secret"), usage(7)])
        [found] = await spends(store)
        [listed] = await store.query(SessionQuery())
        return found.spend.lines[0][1].input_tokens, listed.title

    assert asyncio.run(run()) == (7, "my-secret")
    catalog = b"".join(path.read_bytes() for path in store.root.joinpath(".catalog").iterdir())
    assert b"my-secret" not in catalog


def test_titles_come_from_the_catalog_without_a_look_at_the_files(store, monkeypatch):
    async def never(*_, **__):
        pytest.fail("read a file")

    async def run():
        await filled(store, 2)
        await store.create(SessionInfo(id="x", agent_id="support"), [said("  "), said("Where is\nit?"), said("Hello?")])
        await store.query(SessionQuery())
        monkeypatch.setattr(store, "entries", never)
        return [info.title for info in await store.query(SessionQuery(sort="id"))]

    assert asyncio.run(run()) == ["n0", "n1", "Where is it?"]
