import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import item_entry, record_entry
from agents_sessions.stores.file.store import FileStore
from tests.builders import info_of

PROGRAM = [sys.executable, "-m", "agents_sessions.cli.main"]


def environment(root, **more):
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "PAGER")}
    return {**kept, "AGENTS_SESSIONS_ROOT": str(root), "TZ": "UTC", "TERM": "xterm", **more}


@pytest.fixture
def run(root, capfd):
    """Run a command in this process; return its exit code, what it printed, and what it said beside."""
    from agents_sessions.cli.main import run as run_command

    def call(*words):
        capfd.readouterr()
        code = run_command([*words, "--root", str(root)])
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def process(root):
    """Run a command as a process."""

    def call(*words, **more):
        options = {"capture_output": True, "text": True, "timeout": 60, "env": environment(root), **more}
        return subprocess.run([*PROGRAM, *words], **options)

    return call


async def _filled(root):
    store = FileStore(root, durability="process")
    for number, name in enumerate(("The late refund", None, "第二の注文 🎉")):
        key = SessionKey("triage", f"order-{number}")
        await store.create(info_of(key, name=name, user_id="ann" if number else "bob"))
        await store.append(key, _turn(number))
        await asyncio.sleep(0.002)  # so that no two were active in the same millisecond
    await store.aclose()


def _turn(number):
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": _ANSWER}]}
    call = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"order": 42}'}
    return [
        item_entry({"role": "user", "content": f"Where is my refund {number}? \x1b[31m\u202ered\x07"}, turn="t1"),
        item_entry(call, agent="triage", turn="t1"),
        item_entry({"type": "function_call_output", "call_id": "c1", "output": "shipped " * 40}, turn="t1"),
        record_entry({"type": "handoff", "from": "triage", "to": "billing"}, turn="t1"),
        item_entry(said, agent="billing", turn="t1"),
        record_entry({"type": "turn", "status": "completed", "usage": _USAGE, "duration_ms": 1200}, turn="t1"),
    ]


_ANSWER = "It is on its way:\n```python\nprint(42)\n```"
_USAGE = {"requests": 2, "input_tokens": 700, "output_tokens": 112, "total_tokens": 812}


@pytest.fixture
def root(tmp_path) -> Path:
    """Three sessions with a turn each: one with a name, one without, and one with wide characters."""
    folder = tmp_path / "sessions"
    asyncio.run(_filled(folder))
    return folder
