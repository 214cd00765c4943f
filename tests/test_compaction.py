"""Compaction replaces what it has read, if that is still there, and nothing else."""

import asyncio
from types import SimpleNamespace

import pytest
from agents import Agent, RunConfig, Runner
from agents.extensions.memory import EncryptedSession
from agents.memory import OpenAIResponsesCompactionSession
from agents.memory.session import _CompactionSnapshot
from agents.testing import ScriptedModel, assistant_message

from agents_sessions import FileSession, MemoryStore, SessionKey, SessionManager, StoredSession
from agents_sessions.compaction import Snapshot
from agents_sessions.errors import SessionNotFoundError
from agents_sessions.model.entries import item_entry, record_entry

QUIET = RunConfig(tracing_disabled=True)
SUMMARY = {"type": "compaction", "id": "c", "encrypted_content": "all of it"}
KEY = SessionKey("default", "s")


def said(text):
    return {"role": "user", "content": text}


def texts(items):
    return [item.get("content", item.get("type")) for item in items]


@pytest.fixture(params=["file", "memory"])
def make(request, tmp_path):
    """Make sessions that share one place."""
    if request.param == "file":
        return lambda: FileSession("s", root=tmp_path)
    store = MemoryStore()
    return lambda: StoredSession(store, KEY)


async def filled(make, *words):
    session = make()
    await session.add_items([said(word) for word in words])
    return session


def test_a_snapshot_has_what_the_sdk_asks_of_it():
    assert {"items", "complete", "replace_suffix"} <= _CompactionSnapshot.__dataclass_fields__.keys()
    assert Snapshot.__dataclass_fields__.keys() == _CompactionSnapshot.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    ("limit", "seen", "complete"),
    [(1, ["c"], False), (2, ["b", "c"], False), (3, ["a", "b", "c"], True), (9, ["a", "b", "c"], True), (0, [], False)],
)
def test_a_snapshot_has_the_newest_items_and_says_if_they_are_all(make, limit, seen, complete):
    async def scenario():
        session = await filled(make, "a", "b", "c")
        spent = {"type": "usage", "requests": []}
        await session.store.append(KEY, [record_entry(spent)] * 9)  # which are no items
        return await session._get_compaction_snapshot(limit)

    snapshot = asyncio.run(scenario())
    assert (texts(snapshot.items), snapshot.complete) == (seen, complete)


def test_the_snapshot_of_a_new_session_is_empty_and_replaces_nothing(make):
    async def scenario():
        snapshot = await make()._get_compaction_snapshot(5)
        return snapshot.items, snapshot.complete, await snapshot.replace_suffix(0, [SUMMARY]), await make().get_items()

    assert asyncio.run(scenario()) == ([], True, False, [])


def test_a_missing_session_of_a_manager_is_not_an_empty_one():
    async def scenario():
        await SessionManager(MemoryStore()).session("s")._get_compaction_snapshot(5)

    with pytest.raises(SessionNotFoundError):
        asyncio.run(scenario())


def test_only_what_was_read_is_replaced(make):
    async def scenario():
        session = await filled(make, "a", "b", "c", "d")
        snapshot = await session._get_compaction_snapshot(3)
        return await snapshot.replace_suffix(1, [SUMMARY]), texts(await session.get_items())

    assert asyncio.run(scenario()) == (True, ["a", "b", "compaction"])


async def add(session):
    await session.add_items([said("acknowledged")])


async def pop(session):
    await session.pop_item()


async def replace_last(session):
    await session.pop_item()
    await session.add_items([said("b")])


async def clear(session):
    await session.clear_session()


async def edit(session):
    def change(history):
        return history.with_entries([*history.entries[:-1], {**history.entries[-1], "item": said("mended")}])

    await session.store.rewrite(KEY, change)


@pytest.mark.parametrize("meanwhile", [add, pop, replace_last, clear, edit])
def test_whatever_changed_since_the_snapshot_wins_over_the_summary(make, meanwhile):
    async def scenario():
        session = await filled(make, "a", "b")
        snapshot = await session._get_compaction_snapshot(9)
        await meanwhile(make())
        left = await session.get_items()
        return await snapshot.replace_suffix(0, [SUMMARY]), left == await session.get_items()

    assert asyncio.run(scenario()) == (False, True)


def test_a_summary_can_replace_all_while_only_facts_and_records_change(make):
    async def scenario():
        session = await filled(make, "a", "b")
        snapshot = await session._get_compaction_snapshot(9)
        await session.store.append(KEY, [record_entry({"type": "handoff", "from": "a", "to": "b"})])
        await session.store.rewrite(KEY, lambda history: history.with_facts(name="x"))
        replaced = await snapshot.replace_suffix(0, [SUMMARY])
        return replaced, await session.get_items(), (await session.info()).context.handoffs

    assert asyncio.run(scenario()) == (True, [SUMMARY], 1)


def test_the_oldest_items_go_with_it_up_to_the_first_that_may_not(make):
    async def scenario():
        session = await filled(make, "old", "old", "kept", "old", "read")
        snapshot = await session._get_compaction_snapshot(1, prune_prefix=lambda item: item["content"] == "old")
        return await snapshot.replace_suffix(0, [SUMMARY]), texts(await session.get_items())

    assert asyncio.run(scenario()) == (True, ["kept", "old", "compaction"])


def test_all_that_is_older_can_go_with_it(make):
    async def scenario():
        session = await filled(make, "old", "old", "read")
        snapshot = await session._get_compaction_snapshot(1, prune_prefix=lambda item: True)
        await snapshot.replace_suffix(0, [SUMMARY])
        return await session.get_items()

    assert asyncio.run(scenario()) == [SUMMARY]


def test_a_subclass_that_changes_what_is_stored_gives_no_snapshot(tmp_path):
    class Shouting(FileSession):
        async def get_items(self, limit=None, *, wrapper=None):
            return await super().get_items(limit, wrapper=wrapper)

    assert asyncio.run(Shouting("s", root=tmp_path)._get_compaction_snapshot(5)) is None


# --- under the SDK's own wrapper ---


class Service:
    """Stands for the service that compacts, which takes as long as `meanwhile` does."""

    def __init__(self, meanwhile=None):
        self.responses, self.meanwhile, self.asked = self, meanwhile, 0

    async def compact(self, **_):
        self.asked += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return SimpleNamespace(output=[SUMMARY], usage=None)


def compacting(session, service):
    return OpenAIResponsesCompactionSession(
        "s", session, client=service, compaction_mode="input", should_trigger_compaction=lambda _: True
    )


def agent(*answers):
    return Agent(name="support", model=ScriptedModel([[assistant_message(answer)] for answer in answers]))


def test_what_is_stored_during_the_request_is_kept(make):
    async def scenario():
        session = compacting(make(), Service(lambda: add(make())))
        await Runner.run(agent("hi"), "hello", session=session, run_config=QUIET)
        return await make().get_items()

    assert texts(asyncio.run(scenario()))[-1] == "acknowledged"


def test_what_is_cleared_during_the_request_does_not_come_back(make):
    async def scenario():
        session = compacting(make(), Service(lambda: clear(make())))
        await Runner.run(agent("hi"), "hello", session=session, run_config=QUIET)
        return await make().get_items()

    assert asyncio.run(scenario()) == []


def test_a_managed_turn_that_ended_during_the_request_is_kept(tmp_path):
    async def scenario():
        manager = SessionManager(tmp_path, agents=[agent("acknowledged")], run_config=QUIET)
        await manager.create_session("support", session_id="s")
        service = Service(lambda: manager.send_message("s", "meanwhile"))
        session = compacting(manager.session("s"), service)
        await Runner.run(agent("hi"), "hello", session=session, run_config=QUIET)
        return [message.text for message in await manager.get_recent_messages("s")]

    assert asyncio.run(scenario()) == ["hello", "hi", "meanwhile", "acknowledged"]


def test_a_history_of_which_the_model_saw_the_end_is_compacted_there(make):
    async def scenario():
        await filled(make, *(f"old {n}" for n in range(10)))
        service = Service()
        config = RunConfig(tracing_disabled=True, session_settings={"limit": 4})
        await Runner.run(agent("hi"), "hello", session=compacting(make(), service), run_config=config)
        return service.asked, texts(await make().get_items())

    assert asyncio.run(scenario()) == (1, [*(f"old {n}" for n in range(6)), "compaction"])


def test_what_an_encrypting_wrapper_could_not_read_is_kept(make):
    async def scenario():
        old = EncryptedSession("s", make(), "the old key")
        await old.add_items([said("from before")])
        session = EncryptedSession("s", compacting(make(), Service()), "the new key")
        await Runner.run(agent("hi"), "hello", session=session, run_config=QUIET)
        new = EncryptedSession("s", make(), "the new key")
        return texts(await old.get_items()), texts(await new.get_items())

    assert asyncio.run(scenario()) == (["from before"], ["compaction"])


def test_a_summary_is_an_item_like_any_other(make):
    async def scenario():
        session = await filled(make, "a")
        snapshot = await session._get_compaction_snapshot(9)
        await snapshot.replace_suffix(0, [SUMMARY])
        entries = await session.store.entries(KEY)
        return [(entry["seq"], entry["item"]) for entry in entries]

    assert asyncio.run(scenario()) == [(2, item_entry(SUMMARY)["item"])]
