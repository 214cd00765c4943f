"""The page of the command line is its help, and each of its examples is a command that there is."""

import re
import subprocess
import sys
from pathlib import Path
from shlex import split

import pytest

from agents_sessions.cli.app import GROUPS, app

HERE = Path(__file__).parents[2]
PAGE = (HERE / "docs" / "cli.md").read_text()
EXAMPLES = sorted(set(re.findall(r"^Example: `agents-sessions (.*)`$", PAGE, re.MULTILINE)))


def test_the_page_is_as_the_help_says():
    done = subprocess.run(
        [sys.executable, "tools/cli_docs.py", "--check"], cwd=HERE, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def whole():
    return app(whole=True)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_can_be_called(whole, example):
    command, bound, _ = whole.parse_args(split(example), exit_on_error=False, print_error=False)
    assert callable(command)
    assert bound.signature.bind(*bound.args, **bound.kwargs)


@pytest.mark.parametrize("command", sorted(command for group in GROUPS.values() for command, _ in group))
def test_a_command_has_an_example(command):
    assert any(example.startswith(command) for example in EXAMPLES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(run, shell):
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "retention" in out
