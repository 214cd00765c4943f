"""The options that every command has."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from agents_sessions.errors import InvalidValueError, SessionNotFoundError

if TYPE_CHECKING:
    from agents_sessions.cli.desk import Desk
    from agents_sessions.cli.screen import Screen
    from agents_sessions.stores.base import SessionStore

_EVERYWHERE = Group("Options of every command", sort_key=9)


@Parameter(name="*", group=_EVERYWHERE)
@dataclass(frozen=True)
class Settings:
    """Options of every command."""

    root: Annotated[str, Parameter(env_var="AGENTS_SESSIONS_ROOT")] = "sessions"
    """Where the sessions are: a folder, or a URL such as `sqlite:///sessions.db`."""
    json: Annotated[bool, Parameter(negative=())] = False
    """Print JSON: one document, or one object a line where a list has no end."""
    input: Annotated[bool, Parameter(name="--input", negative="--no-input")] = True
    """Whether questions may be asked. With --no-input, one that must be asked is an error that names its flag."""
    wait: float = 10.0
    """Seconds to wait for a turn that runs on a session."""
    debug: Annotated[bool, Parameter(negative=())] = False
    """Show the traceback of an error."""

    @cached_property
    def screen(self) -> Screen:
        """Where answers are shown."""
        from agents_sessions.cli.screen import Screen

        return Screen()

    def desk(self, *, new: bool = False) -> Desk:
        """Return what works on the sessions of the root; only `new` may make a folder that is not there."""
        from agents_sessions.cli.desk import Desk

        return Desk(store_at(self.root, new=new), self.wait)

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask before something goes, where there is a person to ask.

        Raises:
            InvalidValueError: Nobody can be asked, and `--yes` was not given.
        """
        if yes:
            return True
        if not self.input or not sys.stdin.isatty():
            raise InvalidValueError({"--yes": f"must be given where nobody can be asked: {question}"})
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def note(self, text: str) -> None:
        """Say something beside the data: what was done, and what undoes it."""
        from agents_sessions.cli.screen import visible

        sys.stderr.write(f"{visible(text)}\n")

    def command(self, *words: str) -> str:
        """Return a command that works on the same root, as a shell takes it."""
        import shlex

        root = [] if self.root == "sessions" else ["--root", self.root]
        return shlex.join(["agents-sessions", *words, *root])


def store_at(root: str, *, new: bool = False) -> SessionStore:
    """Return the store of a folder or a URL.

    Raises:
        SessionNotFoundError: There is no such folder.
        InvalidValueError: It is no URL of a store.
    """
    if "://" in root:
        return _store_of_url(root)
    if not new and not Path(root).expanduser().is_dir():
        raise _NoRootError(root)
    from agents_sessions.stores.file.store import FileStore

    return FileStore(root)


def _store_of_url(url: str) -> SessionStore:
    from agents_sessions.stores.urls import store_from_url

    try:
        return store_from_url(url)
    except ValueError as error:
        raise InvalidValueError({"--root": str(error)}) from None


class _NoRootError(SessionNotFoundError):
    def __str__(self) -> str:
        return f"there is no folder {self.args[0]!r:.200}; name one with --root or AGENTS_SESSIONS_ROOT"
