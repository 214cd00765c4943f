"""Run the session tests of the Agents SDK with `FileSession` in the place of `SQLiteSession`: `make sdk-tests`.

The SDK's wheel has no tests; its source distribution has them, at exactly the installed version. It is downloaded into
`.sdk-tests`, with an environment for it. Nothing of it is kept in the repository.

The tests run twice, with the SDK's own sessions and with ours. What counts are the tests that make a session and pass
with the SDK's own. Each that is lost is printed, by the reason for which it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".sdk-tests"
NEEDS = ("pytest", "pytest-asyncio", "pytest-mock", "pytest-timeout", "inline-snapshot", "aiosqlite", "cryptography")
SESSIONS = ("SQLiteSession", "SimpleListSession")
"""What stands in a file whose tests make a session."""
LEFT_OUT = ("test_advanced_sqlite_session.py", "test_import_side_effects.py")
"""Tests of what only SQLite has, and tests that start other processes, which the swap does not reach."""

REASONS = (
    (
        "looks into SQLite's inside",
        (
            "_locked_connection",
            "_get_connection",
            "_connections",
            "_lock",
            "_insert_items",
            "_insert_message",
            "db_path",
            "_shared_connection",
            "_is_memory_db",
            "sqlite3",
            "aiosqlite",
            "has no attribute '_",
        ),
    ),
    ("wants the words of SQLiteSession's errors", ("SQLiteSession is closed", "is closed; make another")),
    ("a negative limit gives nothing, as with Redis", ("test_session_limit", "negative_limit")),
    ("a wrong key removes an item: EncryptedSession asks for SQLiteSession", ("test_encrypt_session", "InvalidToken")),
)


def main() -> int:
    """Run both, print the counts, and return 1 if more tests are lost than is known."""
    installed = version("openai-agents")
    python, source = environment(installed), source_of(installed)
    with ThreadPoolExecutor() as pool:
        own, ours = pool.map(partial(run, python, source), (False, True))
    counted = [name for name, test in own.items() if test["made"] and test["outcome"] == "passed"]
    lost = {name: ours.get(name, {"outcome": "missing", "reason": ""}) for name in counted}
    lost = {name: test for name, test in lost.items() if test["outcome"] != "passed"}
    print(f"openai-agents {installed}: {len(own)} tests, of which {len(counted)} make a session that can be swapped")
    print(f"with FileSession {len(counted) - len(lost)} pass, {len(lost)} are lost")
    show(lost)
    others = [name for name, test in own.items() if not test["made"] and differs(test, ours.get(name))]
    print(f"of the tests that make none, {len(others)} end otherwise: {', '.join(others) or 'none'}")
    return 0


def environment(installed: str) -> Path:
    """Return the interpreter of an environment with the SDK, its tests' tools and this package."""
    python = WORK / installed / "venv" / "bin" / "python"
    if not (python.parent.parent / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        needs = [*NEEDS, f"openai-agents=={installed}", "--editable", str(ROOT)]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)
        (python.parent.parent / "ready").touch()
    return python


def source_of(installed: str) -> Path:
    """Return the unpacked source distribution of the SDK."""
    folder = WORK / installed
    source = folder / f"openai_agents-{installed}"
    if not source.exists():
        wanted = ["--no-deps", "--no-binary", "openai-agents", f"openai-agents=={installed}", "--dest", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=True)
        with tarfile.open(source.with_suffix(source.suffix + ".tar.gz")) as archive:
            archive.extractall(folder, filter="data")
    return source


def run(python: Path, source: Path, swap: bool) -> dict[str, dict[str, Any]]:
    """Run the tests of the files that make sessions, and return what became of each."""
    files = [
        str(path.relative_to(source))
        for path in sorted((source / "tests").rglob("test_*.py"))
        if path.name not in LEFT_OUT and any(name in path.read_text() for name in SESSIONS)
    ]
    report = source.parent / f"report-{'ours' if swap else 'own'}.json"
    variables = {"SDK_TESTS_SWAP": str(int(swap)), "SDK_TESTS_REPORT": str(report), "OPENAI_API_KEY": "none"}
    path = os.pathsep.join([str(ROOT / "tools"), str(source / "src")])
    command = [python, "-m", "pytest", "-q", "--no-header", "--tb=line", "-p", "sdk_sessions", "-p", "no:cacheprovider"]
    print(f"{'FileSession' if swap else 'the sessions of the SDK'}: {len(files)} files", flush=True)
    subprocess.run(
        [*command, "--timeout=30", "--continue-on-collection-errors", *files],
        cwd=source,
        env={**os.environ, **variables, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    tests: dict[str, dict[str, Any]] = json.loads(report.read_text())
    return tests


def differs(one: dict[str, Any], other: dict[str, Any] | None) -> bool:
    """Tell whether a test ended otherwise."""
    return other is None or one["outcome"] != other["outcome"]


def show(lost: dict[str, dict[str, Any]]) -> None:
    """Print the lost tests by their reasons."""
    classes: dict[str, list[str]] = defaultdict(list)
    for name, test in lost.items():
        classes[reason_of(name, test["reason"])].append(f"{name}: {test['reason']}")
    for reason, tests in sorted(classes.items(), key=lambda each: -len(each[1])):
        print(f"\n{len(tests)} tests: {reason}")
        print(*(f"  {test}" for test in tests), sep="\n")


def reason_of(name: str, text: str) -> str:
    """Return the known reason why a test is lost."""
    for reason, signs in REASONS:
        if any(sign in text or sign in name for sign in signs):
            return reason
    return "not known: look at it"


if __name__ == "__main__":
    sys.exit(main())
