"""A text is taken out of every place where it can be, for good, and only what was asked for."""

import asyncio
import json

import pytest
from agents import function_tool
from script import agent, calls, check_totals, echo, managed, opened

from agents_sessions.errors import InvalidValueError, PositionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.redaction import FoundText

KEY = SessionKey("support", "s")
SECRET = 'Ämil "4711" Nobody'


@function_tool(needs_approval=True)
def pay(to: str) -> str:
    return "paid"


def acts(store, act, *agents, messages=("one", SECRET, "three")):
    async def run():
        async with managed(store, *(agents or [echo()])) as manager:
            await opened(manager)
            for text in messages:
                await manager.send_message("s", text)
            return await act(manager)

    return asyncio.run(run())


async def left(store, *session_ids):
    """All that a store has of some sessions, as text."""
    found = []
    for name in session_ids:
        key = SessionKey("support", name)
        found += [json.dumps([await store.entries(key), (await store.load(key)).header()], ensure_ascii=False)]
        found += [(await store.read_sidecar(key, each)).decode() for each in await store.list_sidecars(key)]
    return "\n".join(found)


def test_a_text_goes_out_of_everything_that_a_session_has(store):
    async def act(manager):
        await manager.checkpoints.save("s", {"note": f"by {SECRET}!"}, label=SECRET)
        await manager.summaries.save("s", f"{SECRET} came")
        await manager.update_session("s", name=SECRET, metadata={"who": [SECRET], SECRET: 1})
        await manager.undo("s")
        await manager.summaries.compact("s", keep_turns=0, summariser=lambda items: SECRET)
        listed = await manager.redact("s", text=SECRET, dry_run=True)
        assert "Nobody" in await left(store, "s")
        removed = await manager.redact("s", text=SECRET)
        return listed, removed, await left(store, "s"), await manager.get_history("s")

    listed, removed, after, history = acts(store, act)
    assert "Nobody" not in after
    assert [each.model_copy(update={"removed": True}) for each in listed] == removed
    assert {each.kind for each in removed} == {"history", "facts", "sidecar"}
    assert history[-1].type == "redaction"
    check_totals(store)


def test_a_text_goes_out_of_the_arguments_of_calls_and_of_a_run_state_that_waits(store):
    async def act(manager):
        assert "Nobody" in await left(store, "s")
        await manager.redact("s", text=SECRET, replacement="someone")
        return await left(store, "s"), await manager.pending_approvals("s")

    support = agent("support", calls("pay", arguments=json.dumps({"to": SECRET})), tools=[pay])
    after, pending = acts(store, act, support, messages=("pay",))
    assert "Nobody" not in after
    assert [json.loads(each.arguments) for each in pending] == [{"to": "someone"}]


def test_what_one_entry_says_goes_and_its_structure_stays(store):
    async def act(manager):
        entry = next(e for e in await manager.get_history("s") if e.type == "item" and e.text == SECRET)
        await manager.redact("s", seq=entry.seq)
        again = await manager.redact("s", seq=entry.seq)
        items = await manager.session("s").get_items()
        return [item["content"] for item in items if item.get("role") == "user"], again

    texts, again = acts(store, act)
    assert texts == ["one", "[removed]", "three"]
    assert again == []


def test_a_picture_becomes_a_text_that_a_model_takes(store):
    async def act(manager):
        picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}
        await manager.session("s").add_items([{"role": "user", "content": [picture]}])
        await manager.redact("s", seq=1)
        return await manager.session("s").get_items()

    assert acts(store, act, messages=()) == [{"role": "user", "content": [{"type": "input_text", "text": "[removed]"}]}]


def test_forks_are_listed_and_touched_only_by_choice(store):
    async def act(manager):
        await manager.branches.fork("s", new_id="f")
        first = await manager.redact("s", text=SECRET)
        between = "Nobody" in await left(store, "f")
        second = await manager.redact("s", text=SECRET, forks=True)
        return first, between, second, await left(store, "s", "f")

    first, between, second, after = acts(store, act)
    assert between
    assert {(each.session_id, each.removed) for each in first} == {("s", True), ("f", False)}
    assert {(each.session_id, each.removed) for each in second} == {("f", True)}
    assert "Nobody" not in after


def test_copies_that_were_set_aside_lose_it_too(store):
    async def act(manager):
        await manager.summaries.save("s", SECRET)
        token = (await store.set_aside(KEY, "trash")).token
        await opened(manager)
        found = await manager.redact("s", text=SECRET)
        await manager.delete_session("s")
        await store.bring_back(token)
        return {each.kind for each in found}, await left(store, "s")

    kinds, after = acts(store, act)
    assert kinds == {"set aside"}
    assert "Nobody" not in after


def test_a_copy_that_a_repair_has_kept_loses_it_too(file_store):
    async def act(manager):
        path = file_store.path(KEY)
        path.write_bytes(path.read_bytes() + b'{"torn')
        await manager.send_message("s", "four")
        (torn,) = path.parent.glob("*.torn-*")
        before = "Nobody" in torn.read_text()
        found = await manager.redact("s", text=SECRET)
        return before, [each.kind for each in found if each.name == torn.name], "Nobody" in torn.read_text()

    assert acts(file_store, act) == (True, ["torn copy"], False)


def test_a_place_outside_of_the_store_is_asked_too(store):
    asked = []

    class Archive:
        async def redact(self, key, redaction, *, dry_run):
            asked.append(dry_run)
            return [FoundText("archive", key.session_id, 1)]

    async def act(manager):
        manager.redactions.places.append(Archive())
        listed = await manager.redact("s", text=SECRET, dry_run=True)
        removed = await manager.redact("s", text=SECRET)
        return listed[0].kind, removed[0].kind, asked

    assert acts(store, act) == ("archive", "archive", [True, False])


def test_a_redaction_refuses_what_it_cannot_do(store):
    async def act(manager):
        for arguments in [{}, {"seq": 1, "text": "x"}, {"text": " "}, {"text": "a", "replacement": "abc"}]:
            with pytest.raises(InvalidValueError):
                await manager.redact("s", **arguments)
        with pytest.raises(PositionNotFoundError):
            await manager.redact("s", seq=99)
        return await manager.redact("s", text="nowhere to be found"), await manager.get_history("s")

    found, history = acts(store, act)
    assert found == []
    assert history[-1].type == "turn"
