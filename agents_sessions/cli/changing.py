"""Commands that change what is known of a session: its labels and its state. Each prints what undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from agents_sessions.cli.settings import Settings
from agents_sessions.errors import InvalidValueError, NothingToResumeError

if TYPE_CHECKING:
    from agents_sessions.model.info import SessionInfo

_EVERYWHERE = Settings()
_NO = Annotated[bool, Parameter(negative=())]


async def rename(session: str, name: str | None = None, *, settings: Settings = _EVERYWHERE) -> None:
    """Give a session a name of 1 to 100 characters; without a name, take the one away that it has.

    Example: `agents-sessions rename 4f2a "The late refund"`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        name: The new name.
    """
    async with settings.desk() as desk:
        before = await desk.meant(session)
        after = await desk.rename_session(before.id, name, agent_id=before.agent_id)
    undo = [before.id] if before.name is None else [before.id, before.name]
    _done(settings, after, "renamed" if name else "without a name", "rename", *undo)


async def tag(
    session: str,
    tags: tuple[str, ...],
    /,
    *,
    remove: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Add tags to a session, or remove them.

    Example: `agents-sessions tag order-42 billing urgent`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        tags: The tags.
        remove: Remove them instead.
    """
    async with settings.desk() as desk:
        before = await desk.meant(session)
        add, gone = ((), tags) if remove else (tags, ())
        after = await desk.tag_session(before.id, add=add, remove=gone, agent_id=before.agent_id)
    changed = sorted(set(before.tags) ^ set(after.tags))
    undo = ("tag", before.id, *changed, *([] if remove else ["--remove"])) if changed else ()
    _done(settings, after, f"has {', '.join(after.tags) or 'no tags'}", *undo)


async def pin(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Keep a session whatever a rule of retention says.

    Example: `agents-sessions pin order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        after = await desk.pin_session(found.id, agent_id=found.agent_id)
    _done(settings, after, "pinned", "unpin", found.id)


async def unpin(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Allow rules of retention to take a session again.

    Example: `agents-sessions unpin order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        after = await desk.unpin_session(found.id, agent_id=found.agent_id)
    _done(settings, after, "no longer pinned", "pin", found.id)


async def pause(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Let a session take no messages until it is unpaused.

    Example: `agents-sessions pause order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        after = await desk.pause_session(found.id, agent_id=found.agent_id)
    _done(settings, after, "paused", "unpause", found.id)


async def unpause(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Let a paused session take messages again.

    Example: `agents-sessions unpause order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        after = await desk.unpause_session(found.id, agent_id=found.agent_id)
    _done(settings, after, "active", "pause", found.id)


async def close(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """End a session: it takes no messages until it is reopened.

    Example: `agents-sessions close order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        after = await desk.close_session(found.id, agent_id=found.agent_id)
    _done(settings, after, "closed", "reopen", found.id)


async def reopen(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Let a closed session take messages again.

    Example: `agents-sessions reopen order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        after = await desk.reopen_session(found.id, agent_id=found.agent_id)
    _done(settings, after, "open", "close", found.id)


async def give_up(session: str, *, yes: _NO = False, settings: Settings = _EVERYWHERE) -> None:
    """End the turn that awaits approval or whose process died. Its tool calls are rejected.

    Example: `agents-sessions give-up order-42 --yes`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        yes: Do not ask.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        if not settings.confirm(f"End the turn of {found.id} that waits?", yes=yes):
            raise InvalidValueError({"--yes": "or an answer of y is needed; nothing was changed"})
        if not await desk.give_up(found.key):
            raise NothingToResumeError(found.key, "no turn awaits approval; there is nothing to give up")
        after = await desk.store.existing(found.key)
    _done(settings, after, "its turn is given up")


def _done(settings: Settings, after: SessionInfo, what: str, *undo: str) -> None:
    if settings.json:
        settings.screen.json(after.model_dump(mode="json"))
    settings.note(f"{after.id}: {what}.")
    if undo:
        settings.note(f"Undo: {settings.command(*undo)}")
