"""Refuse arguments where they are given, and say what is allowed."""

from collections.abc import Sequence

from agents_sessions.errors import InvalidValueError


def check_limit(limit: int | None) -> None:
    """Refuse a limit below zero: for the SDK's sessions alone it means "nothing"."""
    if limit is not None and limit < 0:
        raise InvalidValueError({"limit": f"must be 0 or more, or None for no limit, not {limit}"})


def check_choice(name: str, value: str | None, allowed: Sequence[str]) -> None:
    """Refuse a value that is none of the allowed ones. None is always allowed."""
    if value is not None and value not in allowed:
        raise InvalidValueError({name: f"must be one of {', '.join(map(repr, allowed))}, not {value!r:.80}"})
