"""The history decides: what was taken back from it does not wait, run, speak or get tried again."""

import asyncio
import json

import pytest
from agents import function_tool
from agents.testing import function_call
from script import agent, calls, managed, opened, stored, to

from agents_sessions.errors import NothingToResumeError, NothingToRetryError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.run_states import RUN_STATE
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "s")
ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@function_tool(needs_approval=True)
def pay(to: str = "bob") -> str:
    ran.append(to)
    return "paid"


def paying(*steps):
    return agent("support", *steps, tools=[pay])


async def popped(manager):
    await manager.session("s").pop_item()


async def popped_with_its_message(manager):
    while await manager.session("s").pop_item():
        pass


async def edited_away(manager):
    await manager.store.rewrite(KEY, lambda h: h.with_entries([e for e in h.entries if "call_id" not in str(e)]))


async def edited(manager):
    def change(history):
        return history.with_entries([_to_eve(entry) for entry in history.entries])

    await manager.store.rewrite(KEY, change)


def _to_eve(entry):
    if entry.get("item", {}).get("type") != "function_call":
        return entry
    return {**entry, "item": {**entry["item"], "arguments": '{"to": "eve"}'}}


async def answered(manager):
    output = {"type": "function_call_output", "call_id": "c1", "output": "paid by hand"}
    await manager.store.append(KEY, [item_entry(output)])


async def state_removed(manager):
    await manager.store.delete_sidecar(KEY, RUN_STATE)


WAYS = [popped, popped_with_its_message, edited_away, edited, answered, state_removed]


async def resume_all(manager, **decisions):
    with pytest.raises(NothingToResumeError):
        await manager.resume("s", **decisions)


DECISIONS = {
    "approve": lambda manager: resume_all(manager, approve=True),
    "reject": lambda manager: resume_all(manager, reject=True),
    "message": lambda manager: manager.send_message("s", "Never mind.", on_pending="reject"),
    "plain message": lambda manager: manager.send_message("s", "Never mind."),
    "give up": lambda manager: manager.give_up("s"),
}


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_was_taken_back_is_not_pending_and_does_not_run(store, way, decision):
    async def run():
        support = paying(calls("pay"), "ok", "later", "later")
        manager = managed(store, support)
        await opened(manager)
        await manager.send_message("s", "Pay.")
        await way(manager)
        assert await manager.pending_approvals("s") == []
        await DECISIONS[decision](manager)
        await manager.send_message("s", "Are you there?")
        return support.model.last_call.input

    sent = asyncio.run(run())
    made = [item["call_id"] for item in sent if item.get("type") == "function_call"]
    answers = [item["call_id"] for item in sent if item.get("type") == "function_call_output"]
    assert ran == []
    assert made == answers
    words = stored(store)
    assert words.count("cancelled") == 1
    assert words[-1] == "completed"


def test_the_other_call_of_a_turn_whose_call_was_popped_gets_an_output(store):
    async def run():
        support = paying([function_call("pay", "{}", call_id=name) for name in ("c1", "c2")], "ok")
        manager = managed(store, support)
        await opened(manager)
        await manager.send_message("s", "Pay.")
        await manager.session("s").pop_item()
        await manager.send_message("s", "Are you there?")
        return support.model.last_call.input

    sent = asyncio.run(run())
    assert [item["call_id"] for item in sent if "call_id" in item] == ["c1", "c1"]


def test_a_call_deep_in_the_history_still_waits(store):
    async def run():
        manager = managed(store, paying(calls("pay"), "done"))
        await opened(manager)
        await manager.send_message("s", "Pay.")
        await store.append(KEY, [item_entry({"role": "user", "content": str(number)}) for number in range(50)])
        assert len(await manager.pending_approvals("s")) == 1
        return await manager.resume("s", approve=True)

    assert asyncio.run(run()).text == "done"
    assert ran == ["bob"]


def handing(*steps):
    billing = agent("billing", "I am billing", "billing again", "billing still")
    support = agent("support", *steps, handoffs=[billing])
    billing.handoffs.append(support)
    return support, billing


async def pop(manager, count):
    for _ in range(count):
        await manager.session("s").pop_item()


@pytest.mark.parametrize(
    ("items", "speaker"), [(0, "billing"), (1, "billing"), (2, "billing"), (3, "support"), (4, "support")]
)
def test_a_handoff_goes_with_the_call_that_asked_for_it(store, items, speaker):
    async def run():
        support, _ = handing(to("billing"), "I am support")
        manager = managed(store, support)
        await opened(manager)
        await manager.send_message("s", "My invoice, please.")
        await pop(manager, items)
        info = await manager.get_session("s")
        assert (info.context.last_agent, info.context.handoffs) == (speaker, int(speaker == "billing"))
        return await manager.send_message("s", "My parcel, please.")

    assert asyncio.run(run()).last_agent == speaker


def test_a_whole_turn_that_was_popped_gives_back_who_spoke_before(store):
    async def run():
        support, _ = handing(to("billing"), "I am support")
        manager = managed(store, support)
        await opened(manager)
        await manager.send_message("s", "My invoice, please.")
        await manager.send_message("s", "My parcel, please.", start="entry")
        await pop(manager, 2)
        return (await manager.get_session("s")).context.last_agent

    assert asyncio.run(run()) == "billing"


def test_what_a_popped_turn_has_cost_stays(store):
    async def run():
        manager = managed(store, agent("support", "ok"))
        await opened(manager)
        await manager.send_message("s", "hello")
        before = (await manager.get_session("s")).context.total_tokens
        await pop(manager, 2)
        return before, (await manager.get_session("s")).context.total_tokens

    before, after = asyncio.run(run())
    assert before == after > 0


def test_a_message_that_was_popped_is_not_tried_again_with_nothing(store):
    async def run():
        support = agent("support", "first", ConnectionError("gone"), "never")
        manager = managed(store, support)
        await opened(manager)
        await manager.send_message("s", "hello")
        with pytest.raises(ConnectionError):
            await manager.send_message("s", "again")
        await pop(manager, 1)
        with pytest.raises(NothingToRetryError, match="taken back"):
            await manager.retry("s")

    asyncio.run(run())


# --- by hand -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("removed", "speaker"), [("handoff", "support"), (None, "billing"), ("usage", "billing")])
def test_a_handoff_that_a_person_removes_is_in_force_no_more(tmp_path, removed, speaker):
    store = FileStore(tmp_path)

    async def run():
        billing = agent("billing", "I am billing", "billing again")
        team = agent("support", to("billing"), "support again", handoffs=[billing])
        await opened(managed(store, team))
        await managed(store, team).send_message("s", "hello")
        path = store.path(SessionKey("support", "s"))
        document = json.loads(path.read_bytes())
        document["history"] = [e for e in document["history"] if e.get("record", {}).get("type") != removed]
        path.write_text(json.dumps(document, indent=1))
        return await managed(store, team).send_message("s", "more")

    assert asyncio.run(run()).last_agent == speaker
