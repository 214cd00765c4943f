"""What the examples share: the service if there is a key, else a few rules behind the same real client."""

import os
from collections.abc import Callable
from typing import Any

from agents import RunConfig

from agents_sessions.testing import LocalResponses

Json = dict[str, Any]


def run_config(rules: Callable[[Json], Json], *, pause: float = 0.0) -> RunConfig:
    """Return a run config for the service or, without `OPENAI_API_KEY`, for rules that play the model.

    Args:
        rules: From the JSON of a request to the answer; they see what a model sees, and remember nothing.
        pause: Seconds between two events of a stream, so that it can be seen.
    """
    if os.environ.get("OPENAI_API_KEY"):
        return RunConfig()
    return LocalResponses(rules, pause=pause).run_config()


def users_texts(request: Json) -> list[str]:
    """Return what the user has said so far."""
    return [item["content"] for item in request["input"] if item.get("role") == "user"]


def tools(request: Json) -> set[str]:
    """Return the names of the tools that the model may call."""
    return {tool["name"] for tool in request.get("tools", [])}


def last_output(request: Json) -> str | None:
    """Return the output of a tool if the model is to speak about it now."""
    output = request["input"][-1].get("output")
    return output if isinstance(output, str) else None
