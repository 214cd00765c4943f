"""Commands that take sessions away and bring them back: delete, trash, archive, retention.

Each says what goes, has `--dry-run`, asks before it acts, and prints what undoes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from agents_sessions.cli.settings import Settings
from agents_sessions.errors import InvalidValueError

if TYPE_CHECKING:
    from agents_sessions.cli.desk import Desk
    from agents_sessions.features.removal import RemovalReport
    from agents_sessions.model.info import SessionInfo

_EVERYWHERE = Settings()
_NO = Annotated[bool, Parameter(negative=())]
Destination = Literal["trash", "archive", "deleted"]


async def delete(
    sessions: tuple[str, ...] = (),
    /,
    *,
    user: str | None = None,
    erase: _NO = False,
    permanently: _NO = False,
    dry_run: _NO = False,
    yes: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> int:
    """Put sessions into the trash, or remove them for good.

    Example: `agents-sessions delete order-42 --dry-run`

    Args:
        sessions: Ids, the first 4 or more characters of them, or names.
        user: All sessions of this user instead.
        erase: With --user: every trace of them, for good.
        permanently: For good at once, and not into the trash.
        dry_run: Only say what would go.
        yes: Do not ask.
    """
    if bool(sessions) == (user is not None) or (erase and user is None):
        raise InvalidValueError({"sessions": "or --user must be given, one of the two; --erase goes with --user"})
    async with settings.desk() as desk:
        found = [await desk.meant(each) for each in sessions]
        if user is not None:
            found = [each async for each in desk.iter_sessions(user_id=user, expired=None)]
        await _say_what_goes(desk, settings, found)
        how = "Remove them for good, with every trace" if erase else "Remove them for good" if permanently else "Delete"
        if dry_run or not _agreed(settings, f"{how}? {_counted(len(found))}", yes=yes):
            return 0
        if user is not None and (erase or not permanently):
            return await _delete_user(desk, settings, user, found, erase=erase)
        for each in found:
            await (desk.delete_for_good(each.key) if permanently else desk.trash_session(each.key))
    _deleted(settings, found, undoable=not permanently)
    return 0


async def _delete_user(desk: Desk, settings: Settings, user: str, found: list[SessionInfo], *, erase: bool) -> int:
    from agents_sessions.model.query import SessionQuery

    report = await desk.erasure.delete(SessionQuery(user_id=user), erase=erase)
    for outcome in report.outcomes:
        if outcome.error is not None:
            settings.note(f"{outcome.key.session_id}: {outcome.error}")
    for place, count in report.erased.items():
        settings.note(f"{place}: {count:,} removed")
    for place in report.unread:
        settings.note(f"cannot be read, so it may be theirs: {place}")
    gone = {outcome.key for outcome in report.outcomes if outcome.error is None}
    _deleted(settings, [each for each in found if each.key in gone], undoable=not erase)
    return 0 if report.is_complete else 1


def _deleted(settings: Settings, gone: list[SessionInfo], *, undoable: bool) -> None:
    settings.note(f"Gone: {_counted(len(gone))}.")
    if settings.json:
        settings.screen.json([{"session_id": each.id, "agent_id": each.agent_id} for each in gone])
    for each in gone if undoable else ():
        settings.note(f"Undo: {settings.command('trash', 'restore', each.id, '--agent', each.agent_id)}")


async def _say_what_goes(desk: Desk, settings: Settings, found: list[SessionInfo]) -> None:
    from agents_sessions.cli.screen import moment, size_of

    sizes = await desk.store.sizes([each.key for each in found])
    for each, size in zip(found, sizes, strict=True):
        name = f" {each.name!r}" if each.name else ""
        facts = f"{each.context.turns} turns, {size_of(size or 0)}, last active {moment(each.last_active_at)}"
        settings.note(f"{each.id}{name} of {each.agent_id}: {facts}")


def _counted(count: int) -> str:
    return f"{count:,} session{'s' * (count != 1)}"


def _agreed(settings: Settings, question: str, *, yes: bool) -> bool:
    if settings.confirm(question, yes=yes):
        return True
    settings.note("Nothing was changed.")
    return False


# --- trash ---


async def trash_list(*, settings: Settings = _EVERYWHERE) -> None:
    """List the sessions in the trash, the oldest deletion first.

    Example: `agents-sessions trash list`
    """
    from agents_sessions.cli.screen import moment

    async with settings.desk() as desk:
        found = await desk.trash.list()
    if settings.json:
        keys = ("session_id", "agent_id", "deleted_at", "rule", "purge_after")
        settings.screen.json([{key: _plain(getattr(each, key)) for key in keys} for each in found])
        return
    rows = [(each.session_id, each.rule, each.agent_id, moment(each.deleted_at)) for each in found]
    if rows:
        settings.screen.rows(("ID", "Why", "Agent", "Deleted"), rows, wide=1)
    else:
        settings.note("The trash is empty.")


async def trash_restore(session: str, *, agent: str | None = None, settings: Settings = _EVERYWHERE) -> None:
    """Put a session back, whole: of several with this id, the one that was deleted last.

    Example: `agents-sessions trash restore order-42`

    Args:
        session: Its whole id.
        agent: Needed only if several agents had a session of this id.
    """
    async with settings.desk() as desk:
        info = await desk.trash.restore(session, agent_id=agent)
    settings.note(f"{info.id}: it is back.")
    settings.note(f"Undo: {settings.command('delete', info.id)}")


async def trash_purge(
    session: str | None = None,
    *,
    everything: _NO = False,
    dry_run: _NO = False,
    yes: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> int:
    """Remove for good what has been in the trash for 30 days, one session, or everything.

    Example: `agents-sessions trash purge --dry-run`

    Args:
        session: The whole id of one.
        everything: All there is.
        dry_run: Only say what would go.
        yes: Do not ask.
    """
    from agents_sessions.model.entries import now

    async with settings.desk() as desk:
        for each in await desk.trash.list():
            is_over = each.purge_after is not None and each.purge_after <= now()
            if everything or each.session_id == session or (session is None and is_over):
                settings.note(f"{each.session_id} of {each.agent_id}, deleted {each.deleted_at:%Y-%m-%d}")
        if dry_run or not _agreed(settings, "Remove this for good?", yes=yes):
            return 0
        _removed(settings, await desk.trash.purge(session, everything=everything))
    return 0


# --- archive ---


async def archive_add(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Put the history of a session away, compressed. Its facts stay in lists.

    Example: `agents-sessions archive add order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    from agents_sessions.cli.screen import size_of

    async with settings.desk() as desk:
        found = await desk.meant(session)
        done = await desk.archive.archive(found.id, agent_id=found.agent_id)
    settings.note(f"{found.id}: archived, {size_of(done.size)} at {done.path}")
    settings.note(f"Undo: {settings.command('archive', 'restore', found.id)}")


async def archive_list(*, settings: Settings = _EVERYWHERE) -> None:
    """List the archived sessions, the one that was archived last first.

    Example: `agents-sessions archive list --json`
    """
    from agents_sessions.cli.screen import moment, size_of

    async with settings.desk() as desk:
        found = await desk.archive.list()
    if settings.json:
        settings.screen.json(
            [
                {
                    "session_id": each.session_id,
                    "agent_id": each.info.agent_id,
                    "path": str(each.path),
                    "bytes": each.size,
                }
                for each in found
            ]
        )
        return
    rows = [
        (
            each.session_id,
            each.info.name or "",
            each.info.agent_id,
            size_of(each.size),
            moment(each.archived_at or each.info.created_at),
        )
        for each in found
    ]
    if rows:
        settings.screen.rows(("ID", "Name", "Agent", "Size", "Archived"), rows, wide=1)
    else:
        settings.note("The archive is empty.")


async def archive_restore(session: str, *, agent: str | None = None, settings: Settings = _EVERYWHERE) -> None:
    """Bring the history of an archived session back, whole.

    Example: `agents-sessions archive restore order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        agent: Needed only if several agents have a session of this id.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session) if agent is None else None
        names = (session, agent) if found is None else (found.id, found.agent_id)
        info = await desk.archive.restore(names[0], agent_id=names[1])
    settings.note(f"{info.id}: its history is back.")
    settings.note(f"Undo: {settings.command('archive', 'add', info.id)}")


# --- retention ---


async def retention_preview(
    *,
    keep_last: int | None = None,
    keep_within: str | None = None,
    keep_tag: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    max_age: str | None = None,
    max_idle: str | None = None,
    max_bytes: int | None = None,
    per: Literal["agent", "user"] | None = None,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Show exactly what rules would remove, with the reason and the size of each.

    Example: `agents-sessions retention preview --max-idle 90d --keep-last 100`

    Args:
        keep_last: Keep so many sessions of each group that were active last.
        keep_within: Keep those that were active within this time, such as 30d.
        keep_tag: Keep those with this tag. Give it again for each tag.
        max_age: Of the others, those go that were made longer ago than this ...
        max_idle: ... or were active longer ago ...
        max_bytes: ... or, the longest idle first, until no more bytes are taken.
        per: What makes a group; by default all sessions are one.
    """
    async with settings.desk() as desk:
        plan = await desk.retention.preview(
            _policy(keep_last, keep_within, keep_tag, max_age, max_idle, max_bytes, per)
        )
    _show_plan(settings, plan)


async def retention_apply(
    *,
    keep_last: int | None = None,
    keep_within: str | None = None,
    keep_tag: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    max_age: str | None = None,
    max_idle: str | None = None,
    max_bytes: int | None = None,
    per: Literal["agent", "user"] | None = None,
    to: Destination = "trash",
    dry_run: _NO = False,
    yes: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> int:
    """Remove what rules say, after it was shown. See `retention preview` for the rules.

    Example: `agents-sessions retention apply --max-idle 90d --to archive --yes`

    Args:
        keep_last: Keep so many sessions of each group that were active last.
        keep_within: Keep those that were active within this time, such as 30d.
        keep_tag: Keep those with this tag. Give it again for each tag.
        max_age: Of the others, those go that were made longer ago than this ...
        max_idle: ... or were active longer ago ...
        max_bytes: ... or, the longest idle first, until no more bytes are taken.
        per: What makes a group; by default all sessions are one.
        to: Where they go.
        dry_run: Only say what would go.
        yes: Do not ask.
    """
    async with settings.desk() as desk:
        plan = await desk.retention.preview(
            _policy(keep_last, keep_within, keep_tag, max_age, max_idle, max_bytes, per)
        )
        _show_plan(settings, plan)
        if dry_run or not plan.removals or not _agreed(settings, f"Move to: {to}?", yes=yes):
            return 0
        report = await desk.retention.apply(plan, to=to)
    _removed(settings, report)
    undo = {"trash": ("trash", "restore"), "archive": ("archive", "restore")}.get(to)
    for removed in report.removed if undo else ():
        settings.note(f"Undo: {settings.command(*(undo or ()), removed.key.session_id)}")
    return 0


def _policy(
    keep_last: int | None,
    keep_within: str | None,
    keep_tag: tuple[str, ...],
    max_age: str | None,
    max_idle: str | None,
    max_bytes: int | None,
    per: Literal["agent", "user"] | None,
) -> Any:
    from agents_sessions.features.retention.policy import Policy

    return Policy(
        keep_last=keep_last,
        keep_within=keep_within,
        keep_tags=keep_tag,
        max_age=max_age,
        max_idle=max_idle,
        max_bytes=max_bytes,
        per=per,
    )


def _show_plan(settings: Settings, plan: Any) -> None:
    from agents_sessions.cli.screen import size_of

    if settings.json:
        removals = [
            {
                "session_id": each.key.session_id,
                "agent_id": each.key.agent_id,
                "rule": each.rule,
                "reason": each.reason,
                "bytes": each.size,
            }
            for each in plan.removals
        ]
        protected = [{"session_id": each.key.session_id, "reason": each.reason} for each in plan.protected]
        settings.screen.json({"removals": removals, "protected": protected, "kept": plan.kept, "bytes": plan.size})
        return
    rows = [(each.key.session_id, each.reason, each.key.agent_id, size_of(each.size)) for each in plan.removals]
    if rows:
        settings.screen.rows(("ID", "Why", "Agent", "Size"), rows, wide=1)
    for each in plan.protected:
        settings.note(f"{each.key.session_id} stays: {each.reason}")
    settings.note(f"{_counted(len(rows))} to go, {size_of(plan.size)}; {plan.kept + len(plan.protected):,} stay.")


def _removed(settings: Settings, report: RemovalReport) -> None:
    from agents_sessions.cli.screen import size_of

    for each in report.skipped:
        settings.note(f"{each.key.session_id} stays: {each.reason}")
    settings.note(f"Gone: {_counted(report.sessions)}, {size_of(report.bytes_freed)} freed.")


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
