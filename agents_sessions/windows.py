"""What the model sees of a long history, chosen anew for each run: ready-made `session_input_callback`s.

::

    RunConfig(session_input_callback=last_turns(20))
    RunConfig(session_input_callback=in_order(prune_tool_outputs(keep_turns=2), last_tokens(50_000)))

They work with any session and with a bare `Runner.run`. The history itself is not touched, and no call is separated
from its output.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from agents_sessions.model.entries import Item, item_kind
from agents_sessions.model.pairs import OUTPUTS, cuts
from agents_sessions.model.tokens import estimated_tokens

if TYPE_CHECKING:
    from agents.items import TResponseInputItem

Items: TypeAlias = "list[TResponseInputItem]"
InputCallback: TypeAlias = "Callable[[Items, Items], Items | Awaitable[Items]]"
Window: TypeAlias = "Callable[[Items, Items], Items]"

PRUNED = "[The output of this tool is left out; it had {size:,} characters.]"
"""What stands in the place of an output that was pruned."""


def last_turns(count: int) -> Window:
    """Return a callback that shows the model the newest turns of the history. A turn begins at a user message.

    Raises:
        ValueError: The count is not a number from 0 on.
    """
    _check_number("count", count)

    def window(history: Items, new: Items) -> Items:
        starts = _starts(history)
        if count >= len(starts):
            return history + new
        begin = starts[-count] if count else len(history)
        return history[_next_cut(history, begin) :] + new

    return window


def last_tokens(limit: int) -> Window:
    """Return a callback that shows the model as much of the newest history as fits, about, with the new input.

    It begins at a user message or, if the newest turn alone is too long, inside that turn where no call is separated
    from its output. Tokens are counted as characters by four.

    Raises:
        ValueError: The limit is not a number from 0 on.
    """
    _check_number("limit", limit)

    def window(history: Items, new: Items) -> Items:
        room = limit - estimated_tokens(cast("list[Item]", new))
        sizes = [estimated_tokens([item]) for item in cast("list[Item]", history)]
        begin = len(history)
        while begin and sizes[begin - 1] <= room:
            begin -= 1
            room -= sizes[begin]
        allowed = [cut for cut in cuts(cast("list[Item]", history)) if cut >= begin]
        users = set(_starts(history))
        return history[next((cut for cut in allowed if cut in users), allowed[0]) :] + new

    return window


def prune_tool_outputs(*, keep_turns: int = 3, longer_than: int = 500) -> Window:
    """Return a callback that shows the model a note in the place of long outputs of tools in older turns.

    Args:
        keep_turns: The newest turns, whose outputs stay.
        longer_than: Outputs of up to so many characters stay too.

    Raises:
        ValueError: One is not a number from 0 on.
    """
    _check_number("keep_turns", keep_turns)
    _check_number("longer_than", longer_than)

    def window(history: Items, new: Items) -> Items:
        starts = _starts(history)
        end = len(history) if keep_turns == 0 else (starts[-keep_turns] if keep_turns <= len(starts) else 0)
        for item in cast("list[Any]", history[:end]):
            _prune(item, longer_than)
        return history + new

    return window


def in_order(*callbacks: InputCallback) -> InputCallback:
    """Return a callback that lets several choose, one after the other. Each sees what the one before it has left.

    Each must return the new input at the end, as all callbacks here do.
    """

    async def window(history: Items, new: Items) -> Items:
        for callback in callbacks:
            chosen = callback(history, new)
            combined = await chosen if inspect.isawaitable(chosen) else chosen
            history = combined[: len(combined) - len(new)]
        return history + new

    return window


def _prune(item: dict[str, Any], longer_than: int) -> None:
    """Shorten an output in place: the SDK would take a new object for new input, and store it."""
    output = item.get("output")
    if item.get("type") not in OUTPUTS.values() or not isinstance(output, str | list):
        return
    size = len(output) if isinstance(output, str) else estimated_tokens(output) * 4
    if size <= longer_than:
        return
    note = PRUNED.format(size=size)
    if isinstance(output, str):
        item["output"] = note
    elif item["type"] == "function_call_output":
        item["output"] = [{"type": "input_text", "text": note}]


def _starts(history: Items) -> list[int]:
    return [place for place, item in enumerate(cast("list[Item]", history)) if item_kind(item) == "user"]


def _next_cut(history: Items, place: int) -> int:
    """Return where the history can be cut, at a place or behind it."""
    return next(cut for cut in cuts(cast("list[Item]", history)) if cut >= place)


def _check_number(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} must be a number from 0 on, not {value!r:.80}")
