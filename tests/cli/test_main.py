"""What every command has in common: exit codes, errors, streams, and how light it starts."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from agents_sessions import errors
from agents_sessions.cli.main import code_of
from agents_sessions.cli.main import run as run_command
from agents_sessions.keys import SessionKey
from agents_sessions.stores.file.store import FileStore
from tests.cli.conftest import PROGRAM, environment

KEY = SessionKey("triage", "order-0")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SessionNotFoundError(KEY), 3),
        (errors.AmbiguousPrefixError("or", (KEY,)), 2),
        (errors.InvalidValueError({"limit": "is wrong"}), 2),
        (errors.SessionBusyError(KEY, 1.0), 4),
        (errors.SessionCorruptedError(KEY, "order-0.json", "is torn"), 5),
        (errors.NothingToUndoError(KEY, "no turn"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_has_its_exit_code(error, code):
    assert code_of(error) == code


def test_a_session_that_is_not_there_is_a_sentence_and_exit_code_3(run):
    code, out, err = run("show", "nowhere")
    assert (code, out) == (3, "")
    assert err.startswith("agents-sessions: there is no session 'nowhere'")


def test_without_a_command_it_lists(run):
    assert run()[1] == run("list")[1]


def test_debug_shows_the_error_itself(run):
    with pytest.raises(errors.SessionNotFoundError):
        run("show", "nowhere", "--debug")


def test_a_beginning_that_fits_several_lists_them(run):
    code, _, err = run("show", "order")
    assert code == 2
    assert all(f"order-{number}" in err for number in range(3))


def test_a_name_finds_its_session(run):
    assert json.loads(run("info", "The late refund", "--json")[1])["id"] == "order-0"


def test_an_agent_and_an_id_find_a_session(run):
    assert json.loads(run("info", "triage/order-1", "--json")[1])["id"] == "order-1"


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    assert run_command(["list", "--root", str(tmp_path / "new")]) == 3
    assert not (tmp_path / "new").exists()


def test_a_mistyped_command_is_told_what_was_meant(capfd):
    assert run_command(["lst"]) == 2
    assert 'Did you mean "list"' in capfd.readouterr()[1]


def test_a_busy_session_is_exit_code_4(root, run):
    async def held():
        store = FileStore(root)
        async with store.turn_lock(KEY):
            return await asyncio.to_thread(run, "undo", "order-0", "--wait", "0.05")

    assert asyncio.run(held())[0] == 4


def test_a_damaged_session_is_exit_code_5(root, run):
    (file,) = root.rglob("order-0.json")
    file.write_bytes(b"\0" * 500)
    assert run("show", "order-0")[0] == 5


def test_what_is_missing_is_said_with_its_extra():
    absent = "import sys; sys.modules['cyclopts'] = sys.modules['rich'] = None"
    script = f"{absent}; from agents_sessions.cli.main import main; main(['list'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'pip install "agents-sessions[cli]"' in done.stderr


def test_no_command_imports_the_sdk(root):
    script = """
import sys
from agents_sessions.cli.main import run
root = sys.argv[1]
for words in (["list"], ["show", "order-0"], ["search", "refund"], ["rename", "order-0", "New"], ["undo", "order-0"],
              ["redo", "order-0"], ["fork", "order-0"], ["compact", "order-0"], ["doctor", "--thorough"], ["report"],
              ["delete", "order-0", "--yes"], ["trash", "list"], ["archive", "add", "order-1"], ["export", "order-2"],
              ["retention", "preview", "--keep-last", "1"], ["approvals", "list"],
              ["migrate", root + "-2"], ["--help"]):
    assert run([*words, "--root", root] if words != ["--help"] else words) in (0, 5), words
sys.exit("agents" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_reader_of_a_pipe_may_go_away(root):
    first, second = os.pipe()
    os.close(first)
    done = subprocess.run([*PROGRAM, "list"], stdout=second, stderr=subprocess.PIPE, env=environment(root), timeout=60)
    os.close(second)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_ends_without_a_traceback(root):
    master, slave = pty.openpty()
    started = subprocess.Popen(
        [*PROGRAM, "show", "order-0", "--follow"],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        env=environment(root),
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    while b"completed" not in shown:
        shown += os.read(master, 4096)
    time.sleep(0.2)
    started.send_signal(signal.SIGINT)
    with started.stderr as said:
        assert (started.wait(30), said.read()) == (130, b"")
    os.close(master)


def test_a_terminal_gets_colours_unless_no_color_is_set(root):
    assert "\x1b[" in in_terminal(root, "list")
    assert "\x1b[" not in in_terminal(root, "list", NO_COLOR="1")


def test_a_question_in_a_terminal_is_answered_by_a_key(root):
    assert "Nothing was changed" in in_terminal(root, "delete", "order-0", keys=b"n\n")
    assert "Gone: 1 session" in in_terminal(root, "delete", "order-0", keys=b"y\n")


def in_terminal(root, *words, keys=b"", **more):
    """Run a command on a pseudo-terminal; return all that it has shown."""
    master, slave = pty.openpty()
    started = subprocess.Popen(
        [*PROGRAM, *words], stdin=slave, stdout=slave, stderr=slave, env=environment(root, PAGER="", **more)
    )
    os.close(slave)
    os.write(master, keys)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    started.wait(30)
    os.close(master)
    return shown.decode()
