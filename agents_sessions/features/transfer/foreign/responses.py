"""Lists of Responses items, such as the JSON of `result.to_input_list()`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents_sessions.errors import ImportRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents_sessions.model.entries import Item

ROLES = frozenset({"user", "assistant", "system", "developer"})


def items_of(values: Sequence[Any], source: str) -> list[Item]:
    """Return the items of a list.

    Raises:
        ImportRefusedError: One is none.
    """
    for number, value in enumerate(values, 1):
        _check(value, number, source)
    return list(values)


def _check(value: Any, number: int, source: str) -> None:
    if not isinstance(value, dict):
        raise ImportRefusedError(source, f"item {number} is a {type(value).__name__!r}, not an object")
    kind, role = value.get("type"), value.get("role")
    if kind in (None, "message") and role not in ROLES:
        allowed = ", ".join(sorted(ROLES))
        raise ImportRefusedError(
            source, f"item {number} must have a `type`, or be a message of {allowed}", field="role"
        )
    if kind is not None and not isinstance(kind, str):
        raise ImportRefusedError(source, f"item {number} has a type that is no text", field="type")
    if kind in (None, "message") and not isinstance(value.get("content"), (str, list)):
        raise ImportRefusedError(source, f"message {number} has neither a text nor parts", field="content")
