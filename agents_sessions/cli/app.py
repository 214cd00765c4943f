"""All commands, each with the line that the overview shows. A command's module is imported when it runs."""

from __future__ import annotations

from typing import NamedTuple

from cyclopts import App, Group

from agents_sessions.cli.settings import Settings


class _Command(NamedTuple):
    name: str
    place: str
    help: str


_LOOK = Group("Look", sort_key=1)
_CHANGE = Group("Change", sort_key=2)
_BRANCH = Group("Go back, and branch", sort_key=3)
_KEEP = Group("Keep, carry and repair", sort_key=4)
_GROUPS: dict[Group, tuple[_Command, ...]] = {
    _LOOK: (
        _Command("list", "reading:list_", "List sessions, the last active first."),
        _Command("show", "reading:show", "Show a conversation."),
        _Command("search", "reading:search", "Find the places where words stand."),
        _Command("info", "reading:info", "Show the facts of a session, or of the root."),
        _Command("stats", "reading:stats", "Show what a session has done and spent."),
        _Command("report", "reading:report", "Show what many sessions have done and spent."),
        _Command("approvals list", "reading:approvals", "List the tool calls that wait for a decision."),
    ),
    _CHANGE: (
        _Command("rename", "changing:rename", "Give a session a name."),
        _Command("tag", "changing:tag", "Add tags to a session, or remove them."),
        _Command("pin", "changing:pin", "Keep a session whatever a rule says."),
        _Command("unpin", "changing:unpin", "Let rules have a session again."),
        _Command("pause", "changing:pause", "Let a session take no messages."),
        _Command("unpause", "changing:unpause", "Let a paused session take messages again."),
        _Command("close", "changing:close", "End a session."),
        _Command("reopen", "changing:reopen", "Let a closed session take messages again."),
        _Command("give-up", "changing:give_up", "End a turn that awaits approval, or whose process died."),
        _Command("compact", "branching:compact", "Let the model see a summary of older turns."),
        _Command("redact", "branching:redact", "Take a text out of a session for good."),
    ),
    _BRANCH: (
        _Command("undo", "branching:undo", "Take the newest turns back."),
        _Command("redo", "branching:redo", "Bring back what was taken back last."),
        _Command("fork", "branching:fork", "Make a copy that goes its own way."),
        _Command("tree", "branching:tree", "Draw the family of a session."),
        _Command("diff", "branching:diff", "Show where two sessions part."),
        _Command("merge", "branching:merge", "Bring what a branch has said home."),
        _Command("checkpoint save", "branching:checkpoint_save", "Mark this point of a history."),
        _Command("checkpoint list", "branching:checkpoint_list", "List the checkpoints of a session."),
        _Command("checkpoint restore", "branching:checkpoint_restore", "Take back all behind a checkpoint."),
    ),
    _KEEP: (
        _Command("delete", "removing:delete", "Put sessions into the trash, or remove them for good."),
        _Command("trash list", "removing:trash_list", "List the sessions in the trash."),
        _Command("trash restore", "removing:trash_restore", "Put a session back, whole."),
        _Command("trash purge", "removing:trash_purge", "Remove sessions in the trash for good."),
        _Command("archive add", "removing:archive_add", "Put the history of a session away."),
        _Command("archive list", "removing:archive_list", "List the archived sessions."),
        _Command("archive restore", "removing:archive_restore", "Bring a history back, whole."),
        _Command("retention preview", "removing:retention_preview", "Show what rules would remove."),
        _Command("retention apply", "removing:retention_apply", "Remove what rules say."),
        _Command("export", "transferring:export", "Write sessions as text, or to a file."),
        _Command("import", "transferring:import_", "Bring sessions in from a file."),
        _Command("migrate", "transferring:migrate", "Copy every session to another root."),
        _Command("doctor", "health:doctor", "Look for damage, and repair it."),
    ),
}
_FAMILIES = {
    "approvals": ("What waits for a decision.", _LOOK),
    "checkpoint": ("Named points of a history.", _BRANCH),
    "trash": ("Deleted sessions, until they go for good.", _KEEP),
    "archive": ("Histories that are put away, compressed.", _KEEP),
    "retention": ("Rules of what is kept.", _KEEP),
}


def _version() -> str:
    from importlib.metadata import version

    return version("agents-sessions")


async def _bare(*, settings: Settings = Settings()) -> None:  # noqa: B008 -- a frozen value
    from agents_sessions.cli.reading import list_

    await list_(settings=settings)


def _made() -> App:
    made = App(
        name="agents-sessions",
        help="Look at conversations, go on with them, clean up and repair, from a terminal.",
        help_epilogue="Example: `agents-sessions list --root sessions`",
        version=_version,
        help_format="markdown",
    )
    made.default(_bare)
    families = {name: App(name=name, help=text, group=group) for name, (text, group) in _FAMILIES.items()}
    for family in families.values():
        made.command(family)
    for group, commands in _GROUPS.items():
        for command in commands:
            of, _, name = command.name.rpartition(" ")
            above = families[of] if of else made
            above.command(
                f"agents_sessions.cli.{command.place}", name=name, help=command.help, group=None if of else group
            )
    return made


app = _made()
"""The command line."""
