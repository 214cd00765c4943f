"""The approval request of a hosted MCP tool gets its response however its turn ends. A service refuses an open one."""

import asyncio
import contextlib

import pytest
from agents import HostedMCPTool
from openai.types.responses.response_output_item import McpApprovalRequest
from script import agent, managed, opened

from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import record_entry
from agents_sessions.turns.past import MAY_HAVE_RUN, NOT_RUN

KEY = SessionKey("support", "s")
TOOL = HostedMCPTool(
    tool_config={
        "type": "mcp",
        "server_label": "crm",
        "server_url": "https://crm.example",
        "require_approval": "always",
    }
)
ASK = McpApprovalRequest(id="mcpr_1", arguments="{}", name="delete", server_label="crm", type="mcp_approval_request")


def support(*steps, tools=(TOOL,)):
    return agent("support", *steps, tools=list(tools))


async def cancelled_behind_the_decision(store):
    task = asyncio.ensure_future(managed(store, support("done")).resume("s", approve=True))
    while not any("record" in e and e["record"]["type"] == "decision" for e in await store.entries(KEY)):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def killed_behind_the_decision(store):
    turn = (await store.entries(KEY))[-1]["turn"]
    decision = {"type": "decision", "approved": ["mcpr_1"], "rejected": []}
    await store.append(KEY, [record_entry(decision, turn=turn)])


async def model_gone(store):
    with contextlib.suppress(ConnectionError):
        await managed(store, support(ConnectionError("gone"))).resume("s", approve=True)


async def agent_gone(store):
    manager = SessionManager(store, agents=lambda _info: agent("support-2", "hello"))
    await manager.send_message("s", "Forget it.", on_pending="reject")


async def tool_gone(store):
    await managed(store, support("hello", tools=())).resume("s", reject=True)


async def tool_gone_and_approved(store):
    await managed(store, support("hello", tools=())).resume("s", approve=True)


async def given_up(store):
    await managed(store).give_up("s")


async def rejected(store):
    await managed(store, support("hello")).resume("s", reject=True)


async def approved(store):
    await managed(store, support("hello")).resume("s", approve=True)


def responses_after(store, way):
    async def run():
        manager = managed(store, support([ASK]))
        await opened(manager)
        reply = await manager.send_message("s", "Delete it.")
        assert reply.status == "awaiting_approval"
        await way(store)
        later = support("later")
        await managed(store, later).send_message("s", "Are you there?", start="entry")
        return [item for item in later.model.last_call.input if item.get("type") == "mcp_approval_response"]

    return asyncio.run(run())


NOT_APPROVED = [agent_gone, tool_gone, tool_gone_and_approved, given_up, rejected]
APPROVED = [cancelled_behind_the_decision, killed_behind_the_decision, model_gone, approved]


@pytest.mark.parametrize("way", [*NOT_APPROVED, *APPROVED])
def test_a_request_gets_one_response_however_its_turn_ends(store, way):
    responses = responses_after(store, way)
    assert [response["approval_request_id"] for response in responses] == ["mcpr_1"]


@pytest.mark.parametrize("way", NOT_APPROVED)
def test_a_request_that_no_one_approved_is_refused(store, way):
    assert [response["approve"] for response in responses_after(store, way)] == [False]


@pytest.mark.parametrize(("way", "text"), [(given_up, NOT_RUN), (killed_behind_the_decision, MAY_HAVE_RUN)])
def test_the_response_says_what_is_known(store, way, text):
    assert [response["reason"] for response in responses_after(store, way)] == [text]


def test_a_request_that_waits_is_left_open(store):
    async def run():
        manager = managed(store, support([ASK]))
        await opened(manager)
        await manager.send_message("s", "Delete it.")
        return [item["type"] for item in await store.items(KEY) if "type" in item], await manager.pending_approvals("s")

    kinds, pending = asyncio.run(run())
    assert kinds == ["mcp_approval_request"]
    assert [approval.call_id for approval in pending] == ["mcpr_1"]
