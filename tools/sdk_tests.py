"""Run the session tests of the Agents SDK with `FileSession` in the place of `SQLiteSession`: `make sdk-tests`.

The SDK's wheel has no tests; its source distribution has them, at exactly the installed version. It is downloaded into
`.sdk-tests`, with an environment for it. Nothing of it is kept in the repository.

The tests run twice, with the SDK's own sessions and with ours. What counts are the tests that make a session and pass
with the SDK's own. Each that is lost is printed, under its reason; without a known one, the command fails.
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

MISSING = {"outcome": "missing", "reason": "it did not run"}
UNKNOWN = "not known: look at it"
OF_A_LIST = "is about the plain list of the SDK's tests: SQLiteSession in its place is lost too"
REASONS = {
    "looks into SQLite's inside": (
        "has no attribute '_",
        "has no attribute 'db_path'",
        "sqlite3.",
        "OperationalError",
        "::test_initialization_",
        "_initialization_",
        "wal_retry",
        "cancelled_connect",
        "wal_lock",
    ),
    "wants the words of SQLiteSession's errors": ("is closed",),
    "a negative limit gives nothing, as with Redis": ("negative_limit", "test_session_limit"),
    "EncryptedSession asks for SQLiteSession, to keep what a wrong key cannot read": ("test_encrypted_pop",),
}
"""Why tests are lost, by what stands in their name or their error."""


def main() -> int:
    """Run both, print the counts, and return 1 if the reason of a loss is not known."""
    installed = version("openai-agents")
    python, source = environment(installed), source_of(installed)
    with ThreadPoolExecutor() as pool:
        own, ours = pool.map(partial(run, python, source, files_in(source)), ("none", "file"))
    counted = [name for name, test in own.items() if test["made"] and test["outcome"] == "passed"]
    lost = {name: ours.get(name, MISSING) for name in counted}
    lost = {name: test for name, test in lost.items() if test["outcome"] != "passed"}
    control = run(python, source, list(lost), "sqlite") if lost else {}
    print(f"openai-agents {installed}: {len(own)} tests, of which {len(counted)} make a session that can be swapped")
    print(f"with FileSession {len(counted) - len(lost)} pass, {len(lost)} are lost")
    unknown = show(lost, control)
    others = [name for name, test in own.items() if not test["made"] and differs(test, ours.get(name))]
    print(f"of the tests that make none, {len(others)} end otherwise: {', '.join(others) or 'none'}")
    return int(unknown > 0)


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


def files_in(source: Path) -> list[str]:
    """Return the files whose tests make sessions."""
    return [
        str(path.relative_to(source))
        for path in sorted((source / "tests").rglob("test_*.py"))
        if path.name not in LEFT_OUT and any(name in path.read_text() for name in SESSIONS)
    ]


def run(python: Path, source: Path, tests: list[str], swap: str) -> dict[str, dict[str, Any]]:
    """Run some tests, and return what became of each."""
    report = source.parent / f"report-{swap}.json"
    report.unlink(missing_ok=True)
    variables = {"SDK_TESTS_SWAP": swap, "SDK_TESTS_REPORT": str(report), "OPENAI_API_KEY": "none"}
    path = os.pathsep.join([str(ROOT / "tools"), str(source / "src")])
    options = ["-q", "--tb=line", "-p", "sdk_sessions", "-p", "no:cacheprovider", "--timeout=30"]
    subprocess.run(
        [python, "-m", "pytest", *options, "--continue-on-collection-errors", *tests],
        cwd=source,
        env={**os.environ, **variables, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    found: dict[str, dict[str, Any]] = json.loads(report.read_text())
    return found


def differs(one: dict[str, Any], other: dict[str, Any] | None) -> bool:
    """Tell whether a test ended otherwise."""
    return other is None or one["outcome"] != other["outcome"]


def show(lost: dict[str, dict[str, Any]], control: dict[str, dict[str, Any]]) -> int:
    """Print the lost tests by their reasons, and return of how many the reason is not known."""
    classes: dict[str, list[str]] = defaultdict(list)
    for name, test in lost.items():
        reason = reason_of(f"{name} {test['reason']}")
        if reason is None and control.get(name, MISSING)["outcome"] != "passed":
            reason = OF_A_LIST
        classes[reason or UNKNOWN].append(f"{name}: {test['reason']}")
    for reason, tests in sorted(classes.items(), key=lambda each: -len(each[1])):
        print(f"\n{len(tests)} tests: {reason}")
        print(*(f"  {test}" for test in tests), sep="\n")
    return len(classes[UNKNOWN])


def reason_of(text: str) -> str | None:
    """Return the known reason why a test is lost."""
    return next((reason for reason, signs in REASONS.items() if any(sign in text for sign in signs)), None)


if __name__ == "__main__":
    sys.exit(main())
