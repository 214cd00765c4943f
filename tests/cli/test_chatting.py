"""Chats with the agent that answers by rules, through a pseudo-terminal and through pipes."""

import os
import pty
import signal
import subprocess
import sys

from tests.cli.conftest import PROGRAM, environment


class Terminal:
    """A chat on a pseudo-terminal."""

    def __init__(self, root, *words):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*PROGRAM, "chat", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(root),
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(slave)
        self.shown = ""

    def until(self, text):
        """Wait for a text, and return all that came before it."""
        while text not in self.shown:
            self.shown += os.read(self.master, 4096).decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        self.type("\x04")
        self.until("Go on: agents-sessions chat --demo --session ")
        code = self.process.wait(30)
        os.close(self.master)
        return code


def _own_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_chat_asks_before_a_tool_runs_and_ctrl_c_ends_a_turn_only(root):
    chat = Terminal(root, "--demo")
    chat.until("> ")
    chat.type("What time is it?\n")
    chat.until("[y]es")
    chat.type("y\n")
    chat.until("It is ")
    chat.until("completed")
    chat.until("> ")
    chat.type("hello\n")
    chat.until("I answer by")
    chat.process.send_signal(signal.SIGINT)
    chat.until("cancelled")
    chat.until("> ")
    chat.type("/undo\n")
    chat.until("Taken back: hello")
    assert chat.end() == 0


def test_a_call_may_be_refused_with_a_reason(root):
    chat = Terminal(root, "--demo")
    chat.until("> ")
    chat.type("the time?\n")
    chat.until("[y]es")
    chat.type("n\n")
    chat.until("Why not?")
    chat.type("it is a secret\n")
    chat.until("Then I do not know: it is a secret")
    assert chat.end() == 0


def test_lines_may_come_from_a_pipe_and_a_chat_goes_on_later(process, tmp_path):
    first = process("chat", "--demo", input="hello\n", cwd=tmp_path)
    second = process("chat", "--demo", "--continue", input=f"/save {tmp_path / 'chat.md'}\n", cwd=tmp_path)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "I answer by rules" in first.stdout
    assert "I answer by rules" in (tmp_path / "chat.md").read_text()


def test_an_agent_that_cannot_be_loaded_is_wrong_usage(run, tmp_path, monkeypatch):
    (tmp_path / "no_agent_of_mine.py").write_text("agent = 42\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    code, _, err = run("chat", "--agent", "no_agent_of_mine:agent")
    assert (code, "must be an Agent" in err) == (2, True)
