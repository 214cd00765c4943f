from datetime import timedelta

import pytest

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.durations import seconds_of, shown


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30d", 2592000),
        ("2w", 1209600),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("90s", 90),
        (timedelta(minutes=1), 60),
        (7, 7),
    ],
)
def test_a_duration_is_a_text_a_timedelta_or_seconds(value, seconds):
    assert seconds_of(value, "ttl") == seconds


@pytest.mark.parametrize("value", ["", "30", "d30", "30 d", "-1d", "0s", 0, -1, True, None, float("inf"), "9999w"])
def test_what_is_no_duration_is_refused_by_its_name(value):
    with pytest.raises(InvalidValueError, match="max_age"):
        seconds_of(value, "max_age")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.6, "1m"), (90, "1m30s"), (86400, "1d"), (30 * 86400, "30d"), (90061, "1d1h"), (86401, "1d")],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds, text):
    assert shown(seconds) == text
