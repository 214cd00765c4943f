"""Commands that carry conversations in and out, and from one root to another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from agents_sessions.cli.settings import Settings, store_at

if TYPE_CHECKING:
    from agents_sessions.features.transfer.values import OnProgress, Progress

_EVERYWHERE = Settings()
_NO = Annotated[bool, Parameter(negative=())]
ExportFormat = Literal["json", "jsonl", "markdown", "yaml", "html"]
ImportFormat = Literal["json", "jsonl", "archive", "session_file", "sdk_database", "chat_completions", "responses"]


async def export(
    sessions: tuple[str, ...],
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    format: Annotated[ExportFormat | None, Parameter(alias="-f")] = None,  # noqa: A002 -- the name of the option
    mask: Literal["secrets", "all"] | None = None,
    overwrite: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Write a session as text, to the standard output or a file; or several to a zip.

    Example: `agents-sessions export order-42 --format markdown --mask secrets`

    Args:
        sessions: Ids, the first 4 or more characters of them, or names. Several need --output.
        output: The file. Its suffix says the format.
        format: The format; json and jsonl lose nothing and can be imported again.
        mask: Hide what looks like a secret, or every text.
        overwrite: Take the place of a file that is there.
    """
    from agents_sessions.errors import InvalidValueError
    from agents_sessions.features.transfer.values import ExportOptions

    async with settings.desk() as desk:
        found = [await desk.meant(each) for each in sessions]
        if output is None:
            if len(found) != 1:
                raise InvalidValueError({"--output": "is needed for several sessions: the zip that they go to"})
            text = await desk.transfer.export(found[0].id, format or "json", agent_id=found[0].agent_id, mask=mask)
            # Into a terminal nothing goes that could steer it; a file or a pipe gets every byte.
            if settings.screen.is_terminal:
                settings.screen.raw(text)
            else:
                sys.stdout.write(text)
            return
        options = ExportOptions(mask=mask)
        if len(found) == 1:
            report = await desk.transfer.export_to_file(
                found[0].id,
                output,
                format,
                agent_id=found[0].agent_id,
                options=options,
                overwrite=overwrite,
                on_progress=_progress(),
            )
        else:
            report = await desk.transfer.export_many(
                [each.key for each in found],
                output,
                format or "jsonl",
                options=options,
                overwrite=overwrite,
                on_progress=_progress(),
            )
    settings.note(f"{report.path}: {len(report.sessions)} sessions, {report.entries:,} entries, {report.size:,} bytes")
    for kind, count in report.masked.items():
        settings.note(f"masked: {count} times {kind}")


async def import_(
    path: Path,
    /,
    *,
    format: Annotated[ImportFormat | None, Parameter(alias="-f")] = None,  # noqa: A002 -- the name of the option
    agent: str | None = None,
    session_id: str | None = None,
    on_conflict: Literal["error", "rename", "replace"] = "error",
    settings: Settings = _EVERYWHERE,
) -> None:
    """Bring sessions in from a file: an export, a zip of them, a database of the SDK, or a list of messages.

    Example: `agents-sessions import old.db --agent support`

    Args:
        path: The file.
        format: Its format, if it is not to be found by looking.
        agent: The agent that they belong to here.
        session_id: The id here, of one session.
        on_conflict: What happens where there is one of its id.
    """
    async with settings.desk(new=True) as desk:
        report = await desk.transfer.import_file(
            path,
            format=format,
            agent_id=agent,
            session_id=session_id,
            on_conflict=on_conflict,
            on_progress=_progress(),
        )
    if settings.json:
        settings.screen.json(
            [
                {"session_id": each.key.session_id, "agent_id": each.key.agent_id, "entries": each.entries}
                for each in report.sessions
            ]
        )
    else:
        for each in report.sessions:
            settings.screen.line((each.key.session_id, "cyan"), f"  {each.entries:,} entries")
    for left in report.dropped:
        settings.note(f"{left.session_id}: {left.count} times {left.what} did not come along")
    for each in report.sessions if not any(each.replaced for each in report.sessions) else ():
        settings.note(f"Undo: {settings.command('delete', each.key.session_id)}")


async def migrate(target: str, *, settings: Settings = _EVERYWHERE) -> int:
    """Copy every session of the root to another root, and compare each. The root itself is not changed.

    Example: `agents-sessions migrate new-folder --root old-folder`

    Args:
        target: The folder or URL to copy to. After an interruption, call it again: it goes on.
    """
    from agents_sessions.features.transfer.migrate import migrate_store

    async with settings.desk() as desk:
        there = store_at(target, new=True)
        try:
            report = await migrate_store(desk.store, there, on_progress=_progress(), lock_timeout=settings.wait)
        finally:
            await there.aclose()
    if settings.json:
        settings.screen.json(
            {
                "copied": [key.session_id for key in report.copied],
                "present": [key.session_id for key in report.present],
                "different": [key.session_id for key in report.different],
                "unreadable": [key.session_id for key in report.unreadable],
                "entries": report.entries,
            }
        )
    for key, reason in report.unreadable.items():
        settings.note(f"{key.session_id} cannot be read: {reason}")
    for key in report.different:
        settings.note(f"{key.session_id} is there already, and not equal: neither was touched")
    settings.note(f"{len(report.copied)} copied, {len(report.present)} were there; {report.entries:,} entries")
    return 1 if report.unreadable or report.different else 0


def _progress() -> OnProgress | None:
    """Return what shows how far long work is, on one line; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        return None

    def show(at: Progress) -> None:
        of = "" if at.of_sessions is None else f" of {at.of_sessions:,}"
        sys.stderr.write(f"\r{at.sessions:,}{of} sessions, {at.entries:,} entries \x1b[K\r")
        sys.stderr.flush()

    return show
