"""Which items of a history belong together, so that no cut separates them. Pure.

A model service refuses a call without its output, an output without its call, and a reasoning item without the item
that it led to. Whoever takes items out, or cuts a history somewhere, asks here.
"""

from collections.abc import Collection, Iterator, Sequence

from agents_sessions.model.calls import call_id_of
from agents_sessions.model.entries import Item

OUTPUTS = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "computer_call": "computer_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "tool_search_call": "tool_search_output",
    "program": "program_output",
    "mcp_approval_request": "mcp_approval_response",
}
"""The calls that come with an output of their own, and its type."""

_CALLS = {output: call for call, output in OUTPUTS.items()}


def links(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Return the places of items that belong together, two at a time, the earlier one first."""
    return [*_calls_with_outputs(items), *_reasoning_with_sequels(items)]


def with_partners(items: Sequence[Item], chosen: Collection[int]) -> set[int]:
    """Return some places, and those of all items that cannot be there without them."""
    neighbours: dict[int, set[int]] = {}
    for one, other in links(items):
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    found, waiting = set(chosen), list(chosen)
    while waiting:
        new = neighbours.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def cuts(items: Sequence[Item]) -> list[int]:
    """Return all places, from 0 to the end, where a history can be cut without separating what belongs together.

    A cut at a place keeps the item at that place behind it.
    """
    opened, closed = [0] * (len(items) + 1), [0] * (len(items) + 1)
    for first, second in links(items):
        opened[first + 1] += 1
        closed[second] += 1
    allowed, crossing = [], 0
    for place in range(len(items) + 1):
        crossing += opened[place]
        if crossing == 0:
            allowed.append(place)
        crossing -= closed[place]
    return allowed


def boundary(items: Sequence[Item], place: int) -> int:
    """Return the last place, up to the given one, where a history can be cut: see `cuts`."""
    return max(cut for cut in cuts(items) if cut <= place)


def _calls_with_outputs(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    open_calls: dict[tuple[str, str], int] = {}
    for place, item in enumerate(items):
        kind = str(item.get("type"))
        if kind in OUTPUTS:
            open_calls[kind, call_id_of(item)] = place
        elif kind in _CALLS and (call := open_calls.pop((_CALLS[kind], call_id_of(item)), None)) is not None:
            yield call, place


def _reasoning_with_sequels(items: Sequence[Item]) -> Iterator[tuple[int, int]]:
    for place, item in enumerate(items[:-1]):
        if item.get("type") == "reasoning":
            yield place, place + 1
