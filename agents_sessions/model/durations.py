"""Lengths of time as a person writes them: `"30d"`, `"12h"`, `"1h30m"`."""

import math
import re
from datetime import timedelta
from typing import TypeAlias

from agents_sessions.errors import InvalidValueError

Duration: TypeAlias = "str | timedelta | float"
"""A text such as `"30d"`, with w, d, h, m and s; a `timedelta`; or seconds."""

LONGEST = 100 * 366 * 86400.0
"""Seconds of a hundred years: no duration is longer."""

_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SHOWN = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_TEXT = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([wdhms])")


def seconds_of(value: Duration, what: str) -> float:
    """Return a duration in seconds; `what` names it in the error.

    Raises:
        InvalidValueError: It is none, is not above zero, or is longer than a hundred years.
    """
    seconds = _seconds(value)
    if seconds is None:
        shown = f"{value!r:.80}"
        raise InvalidValueError({what: f"must be a duration such as '30d', '12h' or timedelta(days=30), not {shown}"})
    if not 0 < seconds <= LONGEST:
        raise InvalidValueError({what: f"must be above zero and no more than a hundred years, not {value!r:.80}"})
    return seconds


def duration_of(value: Duration, what: str) -> timedelta:
    """Return a duration as a `timedelta`; see `seconds_of`."""
    return timedelta(seconds=seconds_of(value, what))


def _seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and _TEXT.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def shown(seconds: float) -> str:
    """Return a duration as a short text: its largest unit, of days at most, and the one below it."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in _SHOWN:
        count, left = divmod(left, size)
        if parts or count:
            parts.append(f"{count}{unit}")
        if len(parts) == 2:
            break
    return "".join(part for part in parts if part[0] != "0") or "0s"
