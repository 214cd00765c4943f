"""What the model is told of calls whose turn ended without their outputs."""

import asyncio
import contextlib
import json

import pytest
from agents import (
    ApplyPatchResult,
    ApplyPatchTool,
    CustomTool,
    RunHooks,
    ShellTool,
    ToolApprovalItem,
    function_tool,
)
from agents.testing import function_call
from openai.types.responses import ResponseCustomToolCallOutputParam, ResponseFunctionShellToolCall
from openai.types.responses.response_input_item_param import ApplyPatchCallOutput, ShellCallOutput
from pydantic import TypeAdapter
from script import agent, calls, managed, opened

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry
from agents_sessions.model.history import TurnEntry
from agents_sessions.stores.memory import MemoryStore
from agents_sessions.turns.approvals import _arguments
from agents_sessions.turns.past import MAY_HAVE_RUN, NOT_RUN, lost_outputs, unanswered

KEY = SessionKey("support", "s")
GONE = ConnectionError("gone")

ran: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@function_tool(needs_approval=True)
def pay(to: str = "bob") -> str:
    ran.append(to)
    return f"paid {to}"


@function_tool
def look() -> str:
    ran.append("look")
    return "found"


@function_tool(needs_approval=True, failure_error_function=None)
def fail() -> str:
    raise GONE


class Killed(BaseException):
    """Ends the turn as nothing else does: not one more entry is stored."""


def team(outer, inner):
    """An agent whose tool is an agent that has tools of its own, by what both models say."""
    cashier = agent("cashier", *inner, tools=[pay, look])
    tool = cashier.as_tool("ask_cashier", "Pays bills.", failure_error_function=None)
    return agent("support", *outer, tools=[tool, pay, fail])


ASKS = function_call("ask_cashier", '{"input": "pay"}', call_id="o")


def both(first="n1", second="n2"):
    return [function_call("pay", f'{{"to": "{id_}"}}', call_id=id_) for id_ in (first, second)]


async def await_approval(store, outer, inner):
    manager = managed(store, team(outer, inner))
    reply = await manager.send_message(await opened(manager), "hello")
    assert reply.status == "awaiting_approval"


async def resume(store, outer=(), inner=(), **decisions):
    """Go on in a new manager, whose models say these steps, to an error or to the next request for approval."""
    with contextlib.suppress(Exception):
        await managed(store, team(outer, inner)).resume("s", **decisions)


async def kill(store, outer=(), inner=(), **decisions):
    """Go on in a process that dies once it has stored its decision, and try again in the next."""
    await kill_by(store, team(outer, inner), **decisions)
    await managed(store, team(["done"], [])).retry("s")


async def kill_by(store, support, **decisions):
    append = store.append

    async def only_once(*arguments, **options):
        store.append = die
        return await append(*arguments, **options)

    async def die(*_arguments, **_options):
        raise Killed

    store.append = only_once
    with pytest.raises(Killed):
        await managed(store, support).resume("s", **decisions)
    store.append = append


def told(store):
    """The outputs that the calls of the history have, by their ids."""
    items = [entry["item"] for entry in asyncio.run(store.entries(KEY)) if "item" in entry]
    return {item["call_id"]: item["output"] for item in items if "output" in item}


ENDS = {"fails": resume, "killed": kill}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_agent_that_ran_a_tool_before_it_asked_may_have_run(store, end):
    async def run():
        await await_approval(store, [[ASKS]], [calls("look", "n0"), calls("pay", "n1")])
        await ENDS[end](store, [GONE], [GONE], reject=True)

    asyncio.run(run())
    assert ran == ["look"]
    assert told(store) == {"o": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_agent_whose_tool_was_approved_in_an_earlier_leg_may_have_run(store, end):
    async def run():
        await await_approval(store, [[ASKS]], [calls("pay", "n1", '{"to": "ann"}')])
        await resume(store, inner=[calls("pay", "n2")], approve=["n1"])
        await ENDS[end](store, [GONE], [GONE], reject=["n2"])

    asyncio.run(run())
    assert ran == ["ann"]
    assert told(store) == {"o": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_agent_whose_calls_were_decided_one_by_one_may_have_run(store, end):
    async def run():
        await await_approval(store, [[ASKS]], [both()])
        await resume(store, approve=["n1"])
        await ENDS[end](store, [GONE], [GONE], reject=["n2"])

    asyncio.run(run())
    assert ran == ["n1"]
    assert told(store) == {"o": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_nested_call_of_the_same_id_says_nothing_of_the_outer_one(store, end):
    asks = function_call("ask_cashier", '{"input": "pay"}', call_id="n1")

    async def run():
        await await_approval(store, [[asks]], [calls("look", "n0"), calls("pay", "n1")])
        await ENDS[end](store, [GONE], [GONE], reject=True)

    asyncio.run(run())
    assert told(store) == {"n1": MAY_HAVE_RUN}


@pytest.mark.parametrize("end", ENDS)
def test_a_call_that_was_never_approved_was_not_run(store, end):
    """Rejected, or not decided about: whatever else was approved, in this leg or before."""

    async def run():
        last = function_call("fail", "{}", call_id="c3")
        await await_approval(store, [[*both("c1", "c2"), last]], [])
        await resume(store, approve=["c1"])
        await ENDS[end](store, approve=["c3"])

    asyncio.run(run())
    assert ran == ["c1"]
    assert told(store) == {"c1": "paid c1", "c2": NOT_RUN, "c3": MAY_HAVE_RUN}


def test_the_end_of_a_leg_says_which_of_its_calls_wait():
    store = MemoryStore()

    async def run():
        await await_approval(store, [[ASKS, *both("c1", "c2")]], [calls("pay", "n1")])
        await resume(store, approve=["c2"])
        return await managed(store).get_history("s", agent_id="support")

    ends = [entry for entry in asyncio.run(run()) if isinstance(entry, TurnEntry)]
    assert [entry.asked for entry in ends] == [("c1", "c2"), ("c1",)]


# --- tools that no function is ---------------------------------------------------------------------------------


class Editor:
    async def create_file(self, operation):
        ran.append(operation.path)
        return ApplyPatchResult(output="created")

    update_file = delete_file = create_file


async def execute(*_arguments):
    ran.append("executed")
    return "executed"


SHELL = {"commands": ["rm x"], "timeout_ms": 1000}
PATCH = {"type": "create_file", "path": "x.txt", "diff": "+x"}
TOOLS = {
    "shell": (
        ShellTool(executor=execute, needs_approval=True, environment={"type": "local"}),
        {"type": "shell_call", "id": "i", "call_id": "c", "status": "completed", "action": SHELL},
        ShellCallOutput,
    ),
    "apply_patch": (
        ApplyPatchTool(editor=Editor(), needs_approval=True),
        {"type": "apply_patch_call", "id": "i", "call_id": "c", "status": "completed", "operation": PATCH},
        ApplyPatchCallOutput,
    ),
    "sql": (
        CustomTool(name="sql", description="Asks.", on_invoke_tool=execute, needs_approval=True),
        {"type": "custom_tool_call", "id": "i", "call_id": "c", "name": "sql", "input": "DROP TABLE"},
        ResponseCustomToolCallOutputParam,
    ),
}


def owner(tool, *steps):
    return agent("support", *steps, tools=[TOOLS[tool][0], fail])


async def await_with(store, tool):
    manager = managed(store, owner(tool, [TOOLS[tool][1], *calls("fail", "f")]))
    await manager.send_message(await opened(manager), "hello")
    return {approval.tool: approval.arguments for approval in await manager.pending_approvals("s")}


class Breaks(RunHooks):
    async def on_tool_end(self, *_arguments):
        raise GONE


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_of_any_kind_gets_the_output_that_it_lost(store, tool):
    """In a shape that the API takes and the SDK pairs with the call: so the model sees the call."""

    async def run():
        await await_with(store, tool)
        with pytest.raises(ConnectionError):
            await managed(store, owner(tool)).resume("s", approve=["c"], hooks=Breaks())
        support = owner(tool, "done")
        await managed(store, support).retry("s")
        return [item for item in support.model.last_call.input if item.get("call_id") == "c"]

    call, output = asyncio.run(run())
    assert ran
    assert call["type"] == TOOLS[tool][1]["type"]
    assert set(output) <= set(TOOLS[tool][2].__annotations__)
    TypeAdapter(TOOLS[tool][2]).validate_python(output)
    assert MAY_HAVE_RUN in str(output)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_of_any_kind_that_was_rejected_was_not_run(store, tool):
    async def run():
        await await_with(store, tool)
        await kill_by(store, owner(tool), reject=["c"], approve=["f"])
        await managed(store, owner(tool, "done")).retry("s")

    asyncio.run(run())
    assert ran == []
    assert NOT_RUN in str(told(store)["c"])
    assert told(store)["f"] == MAY_HAVE_RUN


def test_a_pending_shell_command_or_patch_is_shown():
    shown = [asyncio.run(await_with(MemoryStore(), tool)) for tool in TOOLS]
    assert [json.loads(shown[0]["shell"]), json.loads(shown[1]["apply_patch"])] == [SHELL, PATCH]
    assert shown[2]["sql"] == "DROP TABLE"


def test_a_pending_shell_command_is_shown_as_the_api_gave_it():
    call = ResponseFunctionShellToolCall.model_validate(TOOLS["shell"][1] | {"environment": None})
    assert json.loads(_arguments(ToolApprovalItem(owner("shell"), call))) == SHELL


def test_a_local_shell_call_gets_an_output_too():
    call = {"type": "local_shell_call", "id": "i", "call_id": "c", "action": {}, "status": "completed"}
    (lost,) = lost_outputs(unanswered([item_entry(call)]), (), agent=None, turn="r")
    assert lost["item"] == {"type": "local_shell_call_output", "call_id": "c", "output": MAY_HAVE_RUN}
    assert unanswered([item_entry(call), lost]) == {}
