"""All commands by group, each with the module that has it: what it does and takes stands in its docstring."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from cyclopts import App, Group

from agents_sessions.cli.settings import Settings

_HELP = """Look at conversations, go on with them, clean up and repair, from a terminal.

Without a command it lists sessions. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 busy, 5 damage found.

Example: `agents-sessions list --root sessions`
"""

_TALK = Group("Talk", sort_key=0)
_LOOK = Group("Look", sort_key=1)
_CHANGE = Group("Change", sort_key=2)
_BRANCH = Group("Go back, and branch", sort_key=3)
_KEEP = Group("Keep, carry and repair", sort_key=4)
GROUPS: dict[Group, tuple[tuple[str, str], ...]] = {
    _TALK: (("chat", "chatting:chat"),),
    _LOOK: (
        ("list", "reading:list_"),
        ("show", "reading:show"),
        ("search", "reading:search"),
        ("info", "reading:info"),
        ("stats", "reading:stats"),
        ("report", "reading:report"),
        ("approvals list", "reading:approvals"),
    ),
    _CHANGE: (
        ("rename", "changing:rename"),
        ("tag", "changing:tag"),
        ("pin", "changing:pin"),
        ("unpin", "changing:unpin"),
        ("pause", "changing:pause"),
        ("unpause", "changing:unpause"),
        ("close", "changing:close"),
        ("reopen", "changing:reopen"),
        ("give-up", "changing:give_up"),
        ("compact", "branching:compact"),
        ("redact", "branching:redact"),
    ),
    _BRANCH: (
        ("undo", "branching:undo"),
        ("redo", "branching:redo"),
        ("fork", "branching:fork"),
        ("tree", "branching:tree"),
        ("diff", "branching:diff"),
        ("merge", "branching:merge"),
        ("checkpoint save", "branching:checkpoint_save"),
        ("checkpoint list", "branching:checkpoint_list"),
        ("checkpoint restore", "branching:checkpoint_restore"),
    ),
    _KEEP: (
        ("delete", "removing:delete"),
        ("trash list", "removing:trash_list"),
        ("trash restore", "removing:trash_restore"),
        ("trash purge", "removing:trash_purge"),
        ("archive add", "removing:archive_add"),
        ("archive list", "removing:archive_list"),
        ("archive restore", "removing:archive_restore"),
        ("retention preview", "removing:retention_preview"),
        ("retention apply", "removing:retention_apply"),
        ("export", "transferring:export"),
        ("import", "transferring:import_"),
        ("migrate", "transferring:migrate"),
        ("doctor", "health:doctor"),
        ("completion", "app:completion"),
    ),
}
_FAMILIES = {
    "approvals": ("What waits for a decision.", _LOOK),
    "checkpoint": ("Named points of a history.", _BRANCH),
    "trash": ("Deleted sessions, until they go for good.", _KEEP),
    "archive": ("Histories that are put away, compressed.", _KEEP),
    "retention": ("Rules of what is kept.", _KEEP),
}


def completion(shell: Literal["bash", "zsh", "fish"], *, settings: Settings = Settings()) -> None:  # noqa: B008
    """Print what makes a shell complete commands and options.

    Example: `agents-sessions completion bash`

    Args:
        shell: The shell. Its documentation says where such a script goes.
    """
    settings.screen.console.file.write(app(whole=True).generate_completion(shell=shell))


def _version() -> str:
    from importlib.metadata import version

    return version("agents-sessions")


def app(*, whole: bool) -> App:
    """Return the command line.

    Args:
        whole: Import all commands, as an overview of them needs; else the module of the one that runs.
    """
    made = App(name="agents-sessions", help=_HELP, version=_version, help_format="markdown")
    families = {name: App(name=name, help=text, group=group) for name, (text, group) in _FAMILIES.items()}
    for family in families.values():
        made.command(family)
    for group, commands in GROUPS.items():
        for command, place in commands:
            of, _, name = command.rpartition(" ")
            above = families[of] if of else made
            path = f"agents_sessions.cli.{place}"
            above.command(_imported(path) if whole else path, name=name, group=None if of else group)
    return made


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
