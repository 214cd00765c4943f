"""Histories with usage as real providers report it, and agents that spend."""

from agents import Agent, RunConfig
from agents.testing import ScriptedModel, assistant_message
from agents.usage import Usage
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails

from agents_sessions.keys import SessionKey
from agents_sessions.manager import SessionManager
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.usage import NOTHING

QUIET = RunConfig(tracing_disabled=True)


def row(model, tokens, *, cached=0, written=0, output=0, reasoning=0, **facts):
    """Return one model request."""
    counted = {
        "requests": 1,
        "input_tokens": tokens,
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "output_tokens": output,
        "reasoning_tokens": reasoning,
        "total_tokens": tokens + output,
    }
    return {**counted, **({} if model is None else {"model": model}), **facts}


def spent(*rows, day="2026-11-20"):
    """Return the usage record of some requests, stored at noon of a day."""
    return {**record_entry({"type": "usage", "requests": list(rows)}), "at": f"{day}T12:00:00.000Z"}


def ended(status="completed", **facts):
    return record_entry({"type": "turn", "status": status, "usage": NOTHING.row(), "duration_ms": 1500, **facts})


def called(tool, call_id, output="fine", agent="support"):
    call = {"type": "function_call", "call_id": call_id, "name": tool, "arguments": "{}"}
    answer = {"type": "function_call_output", "call_id": call_id, "output": output}
    return [item_entry(call, agent=agent), item_entry(answer, agent=agent)]


async def keep(store, session_id, *entries, agent_id="support", **facts):
    """Store a session with a history."""
    info = SessionInfo(id=session_id, agent_id=agent_id, **facts)
    return await store.create(info, entries)


def priced(name, *steps, model="gpt-4.1", usage=None, **settings):
    """Return an agent with a script, whose model has a name, and of which each request has this usage."""
    script = ScriptedModel([[assistant_message(step)] if isinstance(step, str) else step for step in steps])
    script.model = model  # where the SDK's own models have their name
    script.set_default_usage(usage or using(1000, cached=600, output=100))
    return Agent(name=name, model=script, **settings)


def using(tokens, *, cached=0, written=0, output=0, reasoning=0):
    return Usage(
        requests=1,
        input_tokens=tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=cached, cache_write_tokens=written),
        output_tokens=output,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=reasoning),
        total_tokens=tokens + output,
    )


def managing(store, *agents, **settings):
    return SessionManager(store, agents=list(agents), run_config=QUIET, **settings)


KEY = SessionKey("support", "s")
