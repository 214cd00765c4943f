"""What the tests of turns talk to: agents with a script, and what is left in the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agents import Agent, RunConfig
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.usage import Usage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.history import DecisionEntry, ItemEntry, TurnEntry, UsageEntry
from agents_sessions.model.totals import ContextStats, fold
from agents_sessions.stores.base import SessionStore

QUIET = RunConfig(tracing_disabled=True)
USAGE = Usage(
    requests=1,
    input_tokens=10,
    input_tokens_details=InputTokensDetails(cached_tokens=4, cache_write_tokens=0),
    output_tokens=5,
    output_tokens_details=OutputTokensDetails(reasoning_tokens=2),
    total_tokens=15,
)


def says(text: str) -> list[Any]:
    return [assistant_message(text)]


def calls(tool: str, call_id: str = "c1", arguments: str = "{}") -> list[Any]:
    return [function_call(tool, arguments, call_id=call_id)]


def to(agent: str, call_id: str = "h1") -> list[Any]:
    return calls(f"transfer_to_{agent}", call_id)


def scripted(*steps: Any) -> ScriptedModel:
    model = ScriptedModel([says(step) if isinstance(step, str) else step for step in steps])
    model.set_default_usage(USAGE)
    return model


def agent(name: str, *steps: Any, **settings: Any) -> Agent[Any]:
    return Agent(name=name, model=scripted(*steps), **settings)


def echo(name: str = "support", pause: float = 0.0) -> Agent[Any]:
    """An agent that answers with the user messages that it saw, and takes its time."""

    async def answer(call: Any) -> Any:
        await asyncio.sleep(pause)
        seen = [item["content"] for item in call.input if item.get("role") == "user"]
        return says(" ".join(seen))

    return agent(name, *[ModelStep.respond(answer) for _ in range(200)])


def managed(store: SessionStore, *agents: Agent[Any], **settings: Any) -> SessionManager:
    return SessionManager(store, agents=list(agents), **{"run_config": QUIET, **settings})


async def opened(manager: SessionManager, agent_id: str = "support", session_id: str = "s") -> str:
    return (await manager.create_session(agent_id, session_id=session_id)).id


def turn(
    store: SessionStore, *agents: Agent[Any], act: Callable[[SessionManager, str], Any] | None = None, **settings: Any
) -> Any:
    """Open a session of the first agent, send one message to it (or do `act`), and return what came of it."""

    async def run() -> Any:
        async with managed(store, *agents, **settings) as manager:
            session_id = await opened(manager, agents[0].name)
            return await (manager.send_message(session_id, "hello") if act is None else act(manager, session_id))

    return asyncio.run(run())


async def history(store: SessionStore, agent_id: str = "support", session_id: str = "s") -> list[str]:
    """The history as one word per entry."""
    async with SessionManager(store) as manager:
        return [word(entry) for entry in await manager.get_history(session_id, agent_id=agent_id)]


def word(entry: Any) -> str:
    if isinstance(entry, ItemEntry):
        return entry.kind
    if isinstance(entry, UsageEntry):
        return f"usage:{sum(row.requests for row in entry.requests)}"
    if isinstance(entry, DecisionEntry):
        return "decision"
    return entry.status if isinstance(entry, TurnEntry) else f"{entry.from_agent}>{entry.to_agent}"


def stored(store: SessionStore, agent_id: str = "support", session_id: str = "s") -> list[str]:
    return asyncio.run(history(store, agent_id, session_id))


def check_totals(store: SessionStore, agent_id: str = "support", session_id: str = "s") -> ContextStats:
    """The totals are a fold over the entries, and the ends of turns repeat the sums of their requests."""

    async def run() -> ContextStats:
        key = SessionKey(agent_id, session_id)
        info = await store.load(key)
        assert info is not None
        entries = await store.entries(key)
        assert info.context == fold(ContextStats(), entries)
        records = [entry["record"] for entry in entries if "record" in entry]
        spent = sum(record["usage"]["total_tokens"] for record in records if record["type"] == "turn")
        if not any(record["type"] == "turn" and record["status"] == "interrupted" for record in records):
            assert spent == info.context.total_tokens
        return info.context

    return asyncio.run(run())
