"""Nothing that a session holds is ever logged, and nothing that a log file cannot take: every test is one of that."""

import logging
import traceback
from collections.abc import Iterator

import pytest

MARKERS = ("hello", "Zaunkönig", "Wo ist es?", "4929-1234-5678-9012", "my-secret")
"""Texts that the builders of the tests put into messages, outputs and metadata, and that no id, path or name has."""


class Listening(logging.Handler):
    """Hears all that the package logs, at any level, and keeps what gives a message away."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard = 0
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard += 1
        told = [record.getMessage(), repr(record.args), record.stack_info or ""]
        if record.exc_info is not None:
            told += traceback.format_exception(record.exc_info[1])
        text = "\n".join(told)
        self.found += [f"{marker!r} in {text[:300]!r}" for marker in MARKERS if marker in text]
        if text.encode(errors="replace") != text.encode(errors="ignore"):
            self.found.append(f"what no log file can take in {text[:300]!r}")

    def taken(self) -> list[str]:
        """Return what was found since the last time."""
        found, self.found = self.found, []
        return found


listening = Listening()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(listening, "listening")
    if config.option.log_level is None:
        config.option.log_level = "WARNING"  # of what pytest itself keeps, which would be every record
    logger = logging.getLogger("agents_sessions")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(listening)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    yield
    _assert_nothing_told()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    yield
    _assert_nothing_told()


def _assert_nothing_told() -> None:
    found = listening.taken()
    if found:
        pytest.fail("a log tells what it should not: " + "; ".join(found), pytrace=False)
