"""Which tool an item calls, and whether it failed."""

import pytest

from agents_sessions.model.calls import MAY_HAVE_RUN, NOT_RUN, has_failed, is_output, tool_of


@pytest.mark.parametrize(
    ("item", "tool"),
    [
        ({"type": "function_call", "name": "look_up", "call_id": "c"}, "look_up"),
        ({"type": "custom_tool_call", "name": "sql", "call_id": "c"}, "sql"),
        ({"type": "mcp_call", "name": "search", "server_label": "docs"}, "search"),
        ({"type": "shell_call", "call_id": "c"}, "shell"),
        ({"type": "apply_patch_call", "call_id": "c"}, "apply_patch"),
        ({"type": "web_search_call", "status": "completed"}, "web_search"),
        ({"type": "function_call_output", "call_id": "c"}, None),
        ({"type": "reasoning"}, None),
        ({"role": "user", "content": "hello"}, None),
        ({"type": None, "role": "user"}, None),
    ],
)
def test_the_tool_that_an_item_calls(item, tool):
    assert tool_of(item) == tool


@pytest.mark.parametrize(
    "item",
    [
        {"output": "An error occurred while running the tool. Please try again."},
        {"output": "An error occurred while running the tool. Please try again. Error: down"},
        {"output": "Tool 'look_up' timed out after 3 seconds."},
        {"output": "Tool 'look_up' not found."},
        {"output": MAY_HAVE_RUN},
        {"output": [{"type": "input_text", "text": "Tool 'look_up' not found."}]},
        {"output": [{"stdout": "", "outcome": {"type": "exit", "exit_code": 2}}]},
        {"output": [{"stdout": "", "outcome": {"type": "timeout"}}]},
        {"status": "failed", "output": "no such file"},
        {"type": "mcp_call", "error": "refused"},
    ],
)
def test_an_output_that_says_so_has_failed(item):
    assert has_failed(item)


@pytest.mark.parametrize(
    "item",
    [
        {"output": "fine"},
        {"output": "The log says: An error occurred while running the tool"},
        {"output": NOT_RUN},
        {"output": [{"stdout": "x", "outcome": {"type": "exit", "exit_code": 0}}]},
        {"output": [{"type": "input_image", "image_url": "…"}, 7]},
        {"status": "completed", "error": None},
        {"output": {"error": "a word of the tool's own"}},
        {},
    ],
)
def test_any_other_output_has_not(item):
    assert not has_failed(item)


def test_an_output_is_what_answers_a_call():
    assert is_output({"type": "shell_call_output"})
    assert not is_output({"type": "shell_call"})
