"""A pytest plugin: the SDK's own session tests, with `FileSession` in the place of the sessions that they make.

`tools/sdk_tests.py` runs it. With `SDK_TESTS_SWAP=none` the SDK's sessions stay, and the tests are noted that make one;
with `file` all are `FileSession`; with `sqlite` the plain list of the SDK's tests is a `SQLiteSession`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

REPORT = Path(os.environ["SDK_TESTS_REPORT"])
SWAP = os.environ["SDK_TESTS_SWAP"]

_made = False
_now: str | None = None
_tests: dict[str, dict[str, Any]] = {}


def note() -> None:
    """Note that the test that runs has made a session."""
    global _made
    _made = True


def _counting(kind: type) -> type:
    """Let a class note each object that is made of it."""
    plain = kind.__init__

    def counted(self: Any, *args: Any, **settings: Any) -> None:
        note()
        plain(self, *args, **settings)

    kind.__init__ = counted  # type: ignore[misc]
    return kind


def _in_a_thread(awaitable: Any) -> Any:
    """Await something where no one can: in a constructor or a property."""
    found: list[Any] = []

    async def wait() -> None:
        found.append(await awaitable)

    worker = threading.Thread(target=lambda: asyncio.run(wait()))
    worker.start()
    worker.join()
    return found[0]


def _on_file() -> type:
    from agents_sessions import FileSession

    class OnFile(FileSession):
        """Made as `SQLiteSession` is. Its root is a folder beside the database, or one of its own for `:memory:`."""

        def __init__(
            self,
            session_id: str,
            db_path: str | Path = ":memory:",
            sessions_table: str = "agent_sessions",
            messages_table: str = "agent_messages",
            session_settings: Any = None,
        ) -> None:
            note()
            root = tempfile.mkdtemp() if str(db_path) == ":memory:" else f"{db_path}.sessions"
            agent = f"{sessions_table}.{messages_table}"
            super().__init__(session_id, agent_id=agent, root=root, session_settings=session_settings)

    return OnFile


def _of_a_list(kind: Any) -> type:
    class OfAList(kind):  # type: ignore[misc]
        """Made as the `SimpleListSession` of the SDK's tests is."""

        def __new__(cls, session_id: str = "test", history: list[Any] | None = None) -> Any:
            if SWAP == "file" or cls is not OfAList:
                return super().__new__(cls)
            plain = kind(session_id)  # the SDK lets no subclass of `SQLiteSession` compact a part of its history
            if history:
                _in_a_thread(plain.add_items(list(history)))
            return plain

        def __init__(self, session_id: str = "test", history: list[Any] | None = None) -> None:
            super().__init__(session_id)
            self._ignore_ids_for_matching = False
            if history:
                _in_a_thread(self.add_items(list(history)))

        @property
        def saved_items(self) -> list[Any]:
            return list(_in_a_thread(self.get_items(2**31 - 1)))

        _items = saved_items

    return OfAList


def pytest_configure() -> None:
    """Swap the classes before any test imports them."""
    sys.path.insert(0, str(Path.cwd()))
    import agents
    import agents.extensions.memory as extensions
    import agents.extensions.memory.async_sqlite_session as asynchronous
    import agents.memory as memory
    import agents.memory.sqlite_session as sqlite
    from tests.utils import simple_session

    in_place = _on_file() if SWAP == "file" else _counting(sqlite.SQLiteSession)
    of_a_list = _counting(simple_session.SimpleListSession) if SWAP == "none" else _of_a_list(in_place)
    other = _counting(asynchronous.AsyncSQLiteSession) if SWAP != "file" else in_place
    for name, kind, modules in (
        ("SQLiteSession", in_place, (agents, memory, sqlite)),
        ("AsyncSQLiteSession", other, (extensions, asynchronous)),
        ("SimpleListSession", of_a_list, (simple_session,)),
    ):
        for module in modules:
            setattr(module, name, kind)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    """Note for each test whether it has made a session."""
    global _made, _now
    _made, _now = False, item.nodeid
    _tests[item.nodeid] = {"outcome": "passed", "reason": ""}
    try:
        return (yield)
    finally:
        _tests[item.nodeid]["made"] = _made


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how a test ended."""
    if report.outcome != "passed" and report.nodeid in _tests:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = "" if crash is None else " ".join(crash.message.split())[:200]
        _tests[report.nodeid].update(outcome=report.outcome, reason=text)


def pytest_sessionfinish() -> None:
    """Write down what was noted."""
    REPORT.write_text(json.dumps(_tests))
