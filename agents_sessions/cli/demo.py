"""An agent that answers by rules, so that `chat --demo` needs neither a key nor a network."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from agents import Agent, function_tool

from agents_sessions.testing.responses import LocalResponses, assistant_message, function_call

if TYPE_CHECKING:
    from agents import RunConfig

_HELLO = "I answer by rules, without a model. Ask me for the time: then I need a tool, and you are asked first."


@function_tool(needs_approval=True)
def look_at_the_clock() -> str:
    """Return the time of this machine."""
    return f"{datetime.now().astimezone():%H:%M}"


def demo_agent() -> Agent[Any]:
    """Return the agent."""
    return Agent(name="guide", instructions="Show how a chat works.", tools=[look_at_the_clock])


def demo_config() -> RunConfig:
    """Return the run config whose model is the rules."""
    return LocalResponses(_answer, pause=0.02).run_config()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    newest = request["input"][-1]
    if isinstance(output := newest.get("output"), str):
        return assistant_message(f"It is {output}." if ":" in output[:3] else f"Then I do not know: {output}")
    said = str(newest.get("content", "")).lower()
    if "time" in said:
        return function_call("look_at_the_clock", {})
    return assistant_message(_HELLO)
