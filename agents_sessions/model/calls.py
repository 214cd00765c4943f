"""What an item says of a tool: which one it calls, which call it answers, and whether the tool failed. Pure."""

import re

from agents_sessions.model.lossless_json import JsonObject

NOT_RUN = "The tool was not run."
MAY_HAVE_RUN = "The output of this tool was lost. The tool may have run."
"""What unanswered calls get as their output when their turn ends. The SDK would hide such a call from the model, which
would then make it again."""

_CALL_IDS = {"mcp_approval_request": "id", "mcp_approval_response": "approval_request_id"}
_NAMED = {"function_call", "custom_tool_call", "mcp_call"}
"""Calls of tools that the application or a server has named."""
_KINDS = {
    "shell_call": "shell",
    "local_shell_call": "local_shell",
    "apply_patch_call": "apply_patch",
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "computer_call": "computer",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
    "tool_search_call": "tool_search",
}
_FAILURE = re.compile(
    "An error occurred while running the tool"
    "|An error occurred while parsing tool arguments"
    r"|Tool '[^']*' (timed out after|not found|is not a function tool)" + f"|{re.escape(MAY_HAVE_RUN)}"
)
"""How outputs begin that the SDK, or a turn that has ended, writes in the place of the tool's own."""


def call_id_of(item: JsonObject) -> str:
    """Return the id by which a call and its answer find each other. Hosted approval requests name it otherwise."""
    return str(item.get(_CALL_IDS.get(str(item.get("type")), "call_id")))


def tool_of(item: JsonObject) -> str | None:
    """Return the name of the tool that an item calls, or None if it is no call."""
    kind = str(item.get("type"))
    if kind in _NAMED:
        return str(item.get("name"))
    return _KINDS.get(kind)


def is_output(item: JsonObject) -> bool:
    """Tell whether an item answers a call."""
    return str(item.get("type")).endswith("_output")


def has_failed(item: JsonObject) -> bool:
    """Tell whether a call of a hosted tool, or an output, says that the tool has failed.

    A function that words its own failures looks like one that has answered: only what the SDK says of a failure can be
    told from an answer.
    """
    if item.get("status") == "failed" or item.get("error") is not None:
        return True
    output = item.get("output")
    if isinstance(output, str):
        return _FAILURE.match(output) is not None
    if isinstance(output, list):
        return any(isinstance(part, dict) and _part_has_failed(part) for part in output)
    return False


def _part_has_failed(part: JsonObject) -> bool:
    outcome = part.get("outcome")
    if isinstance(outcome, dict):  # of a command in a shell
        return outcome.get("type") == "timeout" or outcome.get("exit_code") not in (None, 0)
    text = part.get("text")
    return isinstance(text, str) and _FAILURE.match(text) is not None
