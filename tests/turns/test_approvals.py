import asyncio
import json
import multiprocessing

import pytest
from agents import (
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    ModelBehaviorError,
    RunContextWrapper,
    function_tool,
)
from agents.testing import function_call
from script import QUIET, agent, calls, check_totals, managed, opened, says, stored, turn

from agents_sessions.errors import (
    ApprovalPendingError,
    InvalidDecisionError,
    NothingToResumeError,
    ReplyNotStoredError,
    TurnNotResumableError,
    UnknownAgentError,
)
from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.history import DecisionEntry
from agents_sessions.run_states import RUN_STATE
from agents_sessions.stores.file.store import FileStore

KEY = SessionKey("support", "s")
ASKED = ["user", "function_call", "usage:1", "awaiting_approval"]

paid: list[str] = []


@pytest.fixture(autouse=True)
def nothing_paid():
    paid.clear()


@function_tool(needs_approval=True)
def pay(to: str = "bob") -> str:
    paid.append(to)
    return f"paid {to}"


def paying(*steps):
    return agent("support", *steps, tools=[pay])


def awaits(store) -> None:
    reply = turn(store, paying(calls("pay")))
    assert reply.status == "awaiting_approval"


def awaits_twice(store) -> None:
    both = [function_call("pay", '{"to": "ann"}', call_id="c1"), function_call("pay", '{"to": "bob"}', call_id="c2")]
    turn(store, paying(both))


def go_on(store, *steps, act=None, **decisions):
    """Decide in a new manager, whose model says these steps."""

    async def run():
        async with managed(store, paying(*steps)) as manager:
            return await (manager.resume("s", **decisions) if act is None else act(manager))

    return asyncio.run(run())


def of_pending(store):
    async def run():
        return await managed(store).pending_approvals("s")

    return asyncio.run(run())


def sidecars(store):
    return asyncio.run(store.list_sidecars(KEY))


def outputs(reply):
    return [entry.item["output"] for entry in reply.entries if entry.type == "item" and "output" in entry.item]


def test_a_turn_that_needs_approval_ends_with_interruptions(store):
    reply = turn(store, paying(calls("pay")))
    assert [(item.call_id, item.tool_name) for item in reply.interruptions] == [("c1", "pay")]
    assert stored(store) == ASKED


def test_pending_approvals_say_what_waits(store):
    turn(store, paying(calls("pay", arguments='{"to": "ann"}')))
    assert [item.model_dump() for item in of_pending(store)] == [
        {"call_id": "c1", "tool": "pay", "arguments": '{"to": "ann"}', "agent": "support"}
    ]


def test_no_approval_is_pending_in_a_session_where_none_was_asked(store):
    turn(store, paying("done"))
    assert of_pending(store) == []


def test_an_approved_call_runs_in_a_new_manager(store):
    awaits(store)
    reply = go_on(store, "done", approve=["c1"])
    assert (reply.text, paid) == ("done", ["bob"])
    assert stored(store) == [*ASKED, "decision", "function_call_output", "assistant", "usage:1", "completed"]


def test_the_state_is_gone_after_the_decision(store):
    awaits(store)
    assert sidecars(store) == [RUN_STATE]
    go_on(store, "done", approve=True)
    assert sidecars(store) == []
    assert of_pending(store) == []


def test_a_rejected_call_does_not_run_and_the_model_is_told_why(store):
    awaits(store)
    reply = go_on(store, "sorry", reject={"c1": "too expensive"})
    assert outputs(reply) == ["too expensive"]
    assert paid == []


def test_everything_can_be_rejected(store):
    awaits_twice(store)
    assert go_on(store, "sorry", reject=True).status == "completed"
    assert paid == []


def test_what_is_not_rejected_can_be_approved(store):
    awaits_twice(store)
    go_on(store, "done", approve=True, reject=["c1"])
    assert paid == ["bob"]


def test_a_resumed_turn_counts_what_it_spent_since_it_asked(store):
    awaits(store)
    reply = go_on(store, calls("pay", "c2"), approve=True)
    assert reply.status == "awaiting_approval"
    reply = go_on(store, "done", approve=True)
    assert (reply.usage.requests, reply.usage.total_tokens) == (1, 15)
    assert check_totals(store).total_tokens == 45


def test_a_resumption_that_asks_no_model_counts_nothing(store):
    awaits_twice(store)
    assert go_on(store, approve=["c1"]).usage.total_tokens == 0
    assert check_totals(store).total_tokens == 15
    assert go_on(store, "done", approve=True).usage.total_tokens == 15
    assert check_totals(store).total_tokens == 30


def test_a_turn_is_one_however_often_it_asks(store):
    awaits(store)
    go_on(store, "done", approve=True)
    assert check_totals(store).turns == 1
    entries = asyncio.run(store.entries(KEY))
    assert len({entry["turn"] for entry in entries}) == 1


def test_items_of_a_resumed_turn_are_of_the_agent_that_asked(store):
    awaits(store)
    reply = go_on(store, "done", approve=True)
    assert [entry.agent for entry in reply.entries if entry.type == "item"] == ["support", "support"]


def test_a_partial_decision_leaves_the_rest_pending(store):
    awaits_twice(store)
    reply = go_on(store, approve=["c1"])
    assert reply.status == "awaiting_approval"
    assert [item.call_id for item in of_pending(store)] == ["c2"]
    reply = go_on(store, "done", approve=["c2"])
    assert paid == ["ann", "bob"]
    check_totals(store)


def test_an_unknown_call_is_an_error_before_anything_happens(store):
    awaits(store)
    with pytest.raises(InvalidDecisionError, match=r"'c7' .* waiting: c1"):
        go_on(store, "done", approve=["c1", "c7"])
    assert paid == []
    assert stored(store) == ASKED
    assert go_on(store, "done", approve=["c1"]).text == "done"


def test_a_call_cannot_be_approved_and_rejected(store):
    awaits(store)
    with pytest.raises(InvalidDecisionError, match="c1"):
        go_on(store, "done", approve=["c1"], reject=["c1"])
    assert stored(store) == ASKED


def test_a_session_that_does_not_wait_cannot_be_resumed(store):
    turn(store, paying("done"))
    with pytest.raises(NothingToResumeError, match="no tool call waits"):
        go_on(store, approve=True)


def test_a_message_meanwhile_is_refused(store):
    awaits(store)
    with pytest.raises(ApprovalPendingError, match="waits for approval of c1"):
        go_on(store, act=lambda manager: manager.send_message("s", "forget it"))
    assert stored(store) == ASKED


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_message_meanwhile_can_reject_what_waits(store, streamed):
    async def act(manager):
        if not streamed:
            return await manager.send_message("s", "forget it", on_pending="reject")
        return await manager.stream_message("s", "forget it", on_pending="reject").reply()

    awaits(store)
    reply = go_on(store, "fine", act=act)
    assert (reply.text, paid) == ("fine", [])
    assert stored(store) == [*ASKED, "decision", "function_call_output", "user", "assistant", "usage:1", "completed"]
    assert sidecars(store) == []
    check_totals(store)


def test_an_awaiting_turn_can_be_resumed_as_a_stream(store):
    async def act(manager):
        stream = manager.stream_resume("s", approve=True)
        names = [event.name async for event in stream.stream_events() if event.type == "run_item_stream_event"]
        return names, await stream.reply()

    awaits(store)
    names, reply = go_on(store, "done", act=act)
    assert "tool_output" in names
    assert reply.text == "done"
    assert stored(store) == [*ASKED, "decision", "function_call_output", "assistant", "usage:1", "completed"]
    check_totals(store)


def resume_elsewhere(root: str) -> None:
    reply = go_on(FileStore(root, durability="process"), "done", approve=["c1"])
    assert paid == ["bob"]
    assert reply.text == "done"


def test_another_process_can_decide(file_store):
    awaits(file_store)
    worker = multiprocessing.get_context("spawn").Process(target=resume_elsewhere, args=(str(file_store.root),))
    worker.start()
    worker.join(60)
    assert worker.exitcode == 0
    assert stored(file_store)[-1] == "completed"


def test_the_context_object_is_given_again(store):
    @function_tool(needs_approval=True)
    def who(wrapper: RunContextWrapper[dict[str, str]]) -> str:
        return wrapper.context["name"]

    async def first(manager, session_id):
        return await manager.send_message(session_id, "hello", context={"name": "ann", "lock": object()})

    async def second():
        manager = managed(store, agent("support", "done", tools=[who]))
        return await manager.resume("s", approve=True, context={"name": "bob"})

    turn(store, agent("support", calls("who"), tools=[who]), act=first)
    assert outputs(asyncio.run(second())) == ["bob"]


def test_the_context_object_is_not_stored(file_store):
    async def first(manager, session_id):
        return await manager.send_message(session_id, "hello", context={"token": "secret"})

    turn(file_store, paying(calls("pay")), act=first)
    assert b"secret" not in asyncio.run(file_store.read_sidecar(KEY, RUN_STATE))


def test_an_agent_used_as_a_tool_gets_the_context_object_given_again(store):
    @function_tool(needs_approval=True)
    def who(wrapper: RunContextWrapper[dict[str, str]]) -> str:
        paid.append(wrapper.context["name"])
        return "told"

    def team(inner_steps, *steps):
        inner = agent("cashier", *inner_steps, tools=[who])
        return agent("support", *steps, tools=[inner.as_tool("ask_cashier", "Pays bills.")])

    async def first(manager, session_id):
        return await manager.send_message(session_id, "hello", context={"name": "ann"})

    async def second():
        manager = managed(store, team(["settled"], "done"))
        return await manager.resume("s", approve=True, context={"name": "bob"})

    turn(store, team([calls("who", "n1")], calls("ask_cashier", arguments='{"input": "pay"}')), act=first)
    asyncio.run(second())
    assert paid == ["bob"]


def nested():
    """An agent whose tool is an agent, whose tool needs approval."""
    inner = agent("cashier", calls("pay", "n1"), "bill settled", tools=[pay])
    tool = inner.as_tool("ask_cashier", "Pays bills.")
    return agent("support", calls("ask_cashier", arguments='{"input": "pay"}'), "all done", tools=[tool])


def test_a_call_inside_an_agent_used_as_a_tool_can_be_approved(store):
    async def run():
        support = nested()
        manager = managed(store, support)
        reply = await manager.send_message(await opened(manager), "hello")
        assert [(item.call_id, item.agent) for item in await manager.pending_approvals("s")] == [("n1", "cashier")]
        assert reply.status == "awaiting_approval"
        return await managed(store, support).resume("s", approve=["n1"])

    reply = asyncio.run(run())
    assert (reply.text, paid) == ("all done", ["bob"])
    assert outputs(reply) == ["bill settled"]
    assert check_totals(store).requests == 4


def test_a_call_inside_an_agent_used_as_a_tool_can_be_approved_elsewhere(store):
    asyncio.run(_await_nested(store))
    inner = agent("cashier", "bill settled", tools=[pay])
    support = agent("support", "all done", tools=[inner.as_tool("ask_cashier", "Pays bills.")])

    async def run():
        return await managed(store, support).resume("s", approve=["n1"])

    reply = asyncio.run(run())
    assert (reply.text, paid) == ("all done", ["bob"])
    assert check_totals(store).requests == 4


async def _await_nested(store):
    manager = managed(store, nested())
    await manager.send_message(await opened(manager), "hello")


def test_clearing_drops_what_waits(store):
    async def act(manager):
        await manager.clear_session("s")
        return await manager.send_message("s", "hello")

    awaits(store)
    assert go_on(store, "hi", act=act).text == "hi"
    assert sidecars(store) == []


def test_deleting_drops_what_waits(store):
    awaits(store)
    go_on(store, act=lambda manager: manager.delete_session("s"))
    assert sidecars(store) == []


def test_a_resumed_turn_that_fails_can_be_retried(store):
    awaits(store)
    with pytest.raises(ConnectionError):
        go_on(store, ConnectionError("gone"), approve=True)
    assert sidecars(store) == []
    reply = go_on(store, "done", act=lambda manager: manager.retry("s"))
    assert (reply.text, paid) == ("done", ["bob"])
    assert stored(store) == [
        *ASKED,
        "decision",
        "function_call_output",
        "failed",
        "assistant",
        "usage:1",
        "completed",
    ]


def test_a_resumed_turn_that_is_rolled_back_can_be_retried_from_its_message(store):
    awaits(store)
    with pytest.raises(ConnectionError):
        go_on(store, ConnectionError("gone"), approve=True, on_failure="rollback")
    assert [kind for kind in stored(store) if ":" not in kind] == ["awaiting_approval", "decision", "failed"]
    reply = go_on(store, "done", act=lambda manager: manager.retry("s"))
    assert [entry.text for entry in reply.entries if entry.type == "item"] == ["hello", "done"]


def test_the_state_is_json_beside_the_session(file_store):
    awaits(file_store)
    files = [path for path in file_store.root.rglob(RUN_STATE) if path.is_file()]
    assert json.loads(files[0].read_text())["agent"] == "support"


def test_a_turn_that_asks_after_a_handoff_goes_on_with_its_agent(store):
    def team(*steps):
        billing = agent("billing", *steps, tools=[pay])
        return agent("support", calls("transfer_to_billing", "h1"), handoffs=[billing]), billing

    async def first(manager, session_id):
        return await manager.send_message(session_id, "hello")

    turn(store, team(calls("pay"))[0], act=first)

    async def second():
        return await managed(store, team("billed")[0]).resume("s", approve=True)

    reply = asyncio.run(second())
    assert (reply.text, reply.last_agent) == ("billed", "billing")
    check_totals(store)


def test_an_answer_that_is_given_with_the_call_is_no_answer(store):
    reply = turn(store, paying([*says("I will pay."), *calls("pay")]))
    assert (reply.text, reply.final_output) == ("", None)


# --- what a leg of a turn that goes on has spent ---------------------------------------------------------------


def team(inner_steps, *steps):
    """An agent whose tool is an agent, whose tool needs approval."""
    inner = agent("cashier", *inner_steps, tools=[pay])
    tool = inner.as_tool("ask_cashier", "Pays bills.", failure_error_function=None)
    return agent("support", *steps, tools=[tool])


def resume_nested(store, inner_steps):
    turn(store, team([calls("pay", "n1")], calls("ask_cashier", arguments='{"input": "pay"}')))
    assert check_totals(store).requests == 2

    async def run():
        return await managed(store, team(inner_steps)).resume("s", approve=True)

    return asyncio.run(run())


def test_what_a_nested_agent_spends_in_a_leg_that_fails_is_counted(store):
    with pytest.raises(ModelBehaviorError):
        resume_nested(store, [calls("no_such_tool", "n2")])
    assert check_totals(store).requests == 3


def test_what_a_nested_agent_spends_before_it_asks_again_is_counted(store):
    reply = resume_nested(store, [calls("pay", "n2")])
    assert (reply.status, reply.usage.requests) == ("awaiting_approval", 1)
    assert check_totals(store).requests == 3


def test_a_handoff_after_an_approval_is_recorded_with_its_tool(store):
    def staff(*steps):
        return agent("support", *steps, tools=[pay], handoffs=[agent("billing", "billed")])

    both = [*calls("pay"), *calls("transfer_to_billing", "h1")]
    turn(store, staff(both))

    async def run():
        return await managed(store, staff()).resume("s", approve=True)

    assert [(handoff.to_agent, handoff.tool) for handoff in asyncio.run(run()).handoffs] == [
        ("billing", "transfer_to_billing")
    ]


# --- what is decided, and when ---------------------------------------------------------------------------------


def test_a_decision_is_part_of_the_history(store):
    awaits_twice(store)
    reply = go_on(store, "done", approve=["c1"], reject={"c2": "no"})
    entry = reply.entries[0]
    assert isinstance(entry, DecisionEntry)
    assert (entry.approved, entry.rejected) == (("c1",), ("c2",))


def test_a_decision_is_stored_before_any_tool_runs(store):
    awaits(store)
    append, before = store.append, []

    async def watched(*arguments, **options):
        before.append(list(paid))
        return await append(*arguments, **options)

    store.append = watched
    go_on(store, "done", approve=True)
    assert before[0] == []
    assert paid == ["bob"]


def test_a_decision_that_cannot_be_stored_runs_nothing_and_leaves_the_calls_waiting(store):
    awaits(store)
    append = store.append

    async def full(*_arguments, **_options):
        raise OSError(28, "no space left")

    store.append = full
    with pytest.raises(OSError, match="no space left"):
        go_on(store, "done", approve=True)
    store.append = append
    assert (paid, stored(store), sidecars(store)) == ([], ASKED, [RUN_STATE])
    assert go_on(store, "done", approve=True).text == "done"


def test_a_turn_that_could_store_nothing_behind_its_decision_does_not_run_its_tool_again(store):
    awaits(store)
    append = store.append

    async def full(*arguments, **options):
        if paid:
            raise OSError(28, "no space left")
        return await append(*arguments, **options)

    store.append = full
    with pytest.raises(OSError, match="no space left"):
        go_on(store, "done", approve=True)
    store.append = append
    assert of_pending(store) == []
    with pytest.raises(NothingToResumeError):
        go_on(store, "done", approve=True)
    assert go_on(store, "done", act=lambda manager: manager.retry("s")).text == "done"
    assert paid == ["bob"]
    ends = ["function_call_output", "interrupted", "assistant", "usage:1", "completed"]
    assert stored(store) == [*ASKED, "decision", *ends]
    assert sidecars(store) == []


def test_approving_everything_means_what_waited_when_it_was_said(store, monkeypatch):
    """Of two who approve at once, one does not approve what only came by the other."""
    awaits(store)
    read_sidecar, seen = store.read_sidecar, []

    async def seeing(*arguments):
        seen.append(await read_sidecar(*arguments))
        return seen[-1]

    async def act(manager):
        async with store.turn_lock(KEY, 0):
            both = [asyncio.create_task(manager.resume("s", approve=True)) for _ in range(2)]
            while len(seen) < len(both):
                await asyncio.sleep(0)
        return await asyncio.gather(*both, return_exceptions=True)

    monkeypatch.setattr(store, "read_sidecar", seeing)
    ends = go_on(store, calls("pay", "c2", '{"to": "eve"}'), "done", act=act)
    (refused,) = [end for end in ends if isinstance(end, NothingToResumeError)]
    (reply,) = [end for end in ends if end is not refused]
    assert reply.status == "awaiting_approval"
    assert str(refused).endswith("other calls wait by now: c2")
    assert paid == ["bob"]


@pytest.mark.parametrize("on_failure", ["keep", "rollback"])
def test_a_message_that_was_stopped_behind_a_rejected_call_can_be_tried_again(store, on_failure):
    async def no_bad_words(_context, _agent, given):
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered="bad" in str(given))

    guard = InputGuardrail(no_bad_words, run_in_parallel=False)

    async def stopped(manager):
        manager = managed(store, agent("support", tools=[pay], input_guardrails=[guard]))
        with pytest.raises(InputGuardrailTripwireTriggered):
            await manager.send_message("s", "bad second", on_pending="reject", on_failure=on_failure)

    awaits(store)
    go_on(store, act=stopped)
    reply = go_on(store, "done", act=lambda manager: manager.retry("s"))
    said = [entry["item"]["content"] for entry in asyncio.run(store.entries(KEY)) if is_said(entry)]
    assert said == ["hello", "bad second"]
    assert reply.text == "done"


def is_said(entry):
    return entry.get("item", {}).get("role") == "user"


def test_a_resumption_can_be_given_more_turns_of_the_sdk(store):
    async def first(manager, session_id):
        return await manager.send_message(session_id, "hello", max_turns=1)

    turn(store, paying(calls("pay")), act=first)
    assert go_on(store, "done", approve=True, max_turns=2).text == "done"


@pytest.mark.parametrize("door", ["manager", "session"])
def test_no_state_stays_behind_when_a_history_is_cleared(store, door):
    awaits(store)
    go_on(
        store,
        act=lambda manager: manager.clear_session("s") if door == "manager" else manager.session("s").clear_session(),
    )
    assert sidecars(store) == []


def test_a_request_for_approval_that_cannot_be_kept_is_a_failed_turn(store):
    async def full(*_arguments, **_options):
        raise OSError(28, "no space left")

    async def run(manager, session_id):
        store.write_sidecar = full
        with pytest.raises(ReplyNotStoredError) as caught:
            await manager.send_message(session_id, "hello")
        return caught.value.reply

    reply = turn(store, paying(calls("pay")), act=run)
    assert [item.call_id for item in reply.interruptions] == ["c1"]
    assert stored(store) == ["user", "function_call", "usage:1", "function_call_output", "failed"]
    assert asyncio.run(store.items(KEY))[-1]["output"] == "The tool was not run."


# --- calls of one id -------------------------------------------------------------------------------------------


def two_cashiers(first, second, *steps):
    """An agent with two agents for tools, whose calls have the same id."""
    tools = [
        agent(name, *inner, tools=[pay]).as_tool(f"ask_{name}", "Pays bills.")
        for name, inner in (("ann", first), ("bob", second))
    ]
    return agent("support", *steps, tools=tools)


def awaits_with_one_id(store):
    asks = [function_call(f"ask_{name}", '{"input": "pay"}', call_id=name) for name in ("ann", "bob")]
    inner = [[calls("pay", "c1", f'{{"to": "{name}"}}')] for name in ("ann", "bob")]
    turn(store, two_cashiers(*inner, asks))
    assert [item.call_id for item in of_pending(store)] == ["c1", "c1"]


def decide_on_one_id(store, verb, *arguments, **options):
    async def run():
        manager = managed(store, two_cashiers(["settled"], ["settled"], "done"))
        return await getattr(manager, verb)("s", *arguments, **options)

    return asyncio.run(run())


def test_all_calls_of_one_id_can_be_approved(store):
    awaits_with_one_id(store)
    assert decide_on_one_id(store, "resume", approve=True).text == "done"
    assert sorted(paid) == ["ann", "bob"]


@pytest.mark.parametrize(
    "decision", [("resume", (), {"reject": True}), ("send_message", ("stop",), {"on_pending": "reject"})], ids=str
)
def test_all_calls_of_one_id_can_be_rejected(store, decision):
    verb, arguments, options = decision
    awaits_with_one_id(store)
    assert decide_on_one_id(store, verb, *arguments, **options).text == "done"
    assert paid == []


@pytest.mark.parametrize("decision", [{"approve": ["c1"]}, {"reject": ["c1"]}], ids=str)
def test_an_id_of_two_calls_names_neither(store, decision):
    awaits_with_one_id(store)
    with pytest.raises(InvalidDecisionError, match="'c1' is ambiguous: 2 calls"):
        decide_on_one_id(store, "resume", **decision)
    assert paid == []
    assert decide_on_one_id(store, "resume", approve=True).text == "done"


# --- a turn that no one can go on with -------------------------------------------------------------------------


def billed(*steps, **options):
    """An agent that hands off to billing, which asks."""
    return agent("support", *steps, handoffs=[agent("billing", calls("pay"), tools=[pay])], **options)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_message_gives_up_a_turn_whose_agent_is_gone(store, streamed):
    turn(store, billed(calls("transfer_to_billing", "h1")))
    support = agent("support", "welcome back")

    async def run():
        manager = managed(store, support)
        with pytest.raises(TurnNotResumableError, match="give_up"):
            await manager.resume("s", reject=True)
        if streamed:
            return await manager.stream_message("s", "hi", on_pending="reject").reply()
        return await manager.send_message("s", "hi", on_pending="reject")

    reply = asyncio.run(run())
    assert (reply.text, reply.last_agent, paid, sidecars(store)) == ("welcome back", "support", [], [])
    words = stored(store)
    assert words[words.index("awaiting_approval") :] == [
        *["awaiting_approval", "decision", "function_call_output", "cancelled"],
        *["user", "assistant", "usage:1", "completed"],
    ]
    lost = [
        item["output"] for item in support.model.last_call.input if item.get("call_id") == "c1" and "output" in item
    ]
    assert lost == ["The tool was not run."]
    check_totals(store)


def test_a_message_gives_up_a_turn_whose_first_agent_is_gone(store):
    async def first():
        manager = managed(store, agent("old", calls("pay"), tools=[pay]))
        await manager.send_message(await opened(manager, "old"), "hello")

    async def second():
        manager = SessionManager(store, agents=lambda _info: agent("new", "hi"), run_config=QUIET)
        return await manager.send_message("s", "stop", on_pending="reject")

    asyncio.run(first())
    assert asyncio.run(second()).last_agent == "new"


def test_a_message_is_kept_if_a_turn_is_given_up_and_no_other_begins(store):
    turn(store, billed(calls("transfer_to_billing", "h1")))
    append = store.append

    async def killed(*arguments, **options):
        await append(*arguments, **options)
        raise OSError(5, "gone")

    async def run():
        store.append = killed
        with pytest.raises(OSError, match="gone"):
            await managed(store, agent("support")).send_message("s", "hi", on_pending="reject")

    asyncio.run(run())
    store.append = append
    reply = asyncio.run(managed(store, agent("support", "done")).retry("s", start="entry"))
    assert [entry.text for entry in reply.entries if entry.type == "item"] == ["hi", "done"]


def test_a_turn_is_not_given_up_if_no_new_one_can_begin(store):
    turn(store, billed(calls("transfer_to_billing", "h1")))
    before = stored(store)

    async def run():
        with pytest.raises(UnknownAgentError):
            await managed(store, agent("other")).send_message("s", "hi", on_pending="reject")

    asyncio.run(run())
    assert (stored(store), len(of_pending(store))) == (before, 1)


def test_the_messages_of_a_turn_that_is_given_up_are_in_the_new_one(store):
    inner = [calls("pay", "n1"), calls("pay", "n2")]
    support = team(inner, calls("ask_cashier", arguments='{"input": "pay"}'))

    async def run():
        manager = managed(store, support)
        await manager.send_message(await opened(manager), "hello")
        await manager.send_message("s", "stop", on_pending="reject")
        manager = SessionManager(store, agents=lambda _info: agent("new", "done"), run_config=QUIET)
        return await manager.send_message("s", "now!", on_pending="reject")

    reply = asyncio.run(run())
    assert [entry.text for entry in reply.entries if entry.type == "item"] == ["stop", "now!", "done"]
