"""Commands that go back and forth in a conversation, and along its branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from agents_sessions.cli.settings import Settings
from agents_sessions.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents_sessions.model.turn_list import TurnInfo

_EVERYWHERE = Settings()
_NO = Annotated[bool, Parameter(negative=())]


async def undo(session: str, *, turns: int = 1, settings: Settings = _EVERYWHERE) -> None:
    """Take the newest turns back. They stay in the history, out of sight.

    Example: `agents-sessions undo order-42 --turns 2`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        turns: How many.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        gone = await desk.undo(found.id, turns=turns, agent_id=found.agent_id)
    _show_turns(settings, gone, "taken back")
    settings.note(f"Undo: {settings.command('redo', found.id)}")


async def redo(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Bring back what was taken back last.

    Example: `agents-sessions redo order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        back = await desk.redo(found.id, agent_id=found.agent_id)
    _show_turns(settings, back, "back")
    if back:
        settings.note(f"Undo: {settings.command('undo', found.id, '--turns', str(len(back)))}")


def _show_turns(settings: Settings, turns: Sequence[TurnInfo], what: str) -> None:
    from agents_sessions.cli.screen import moment, on_one_line

    if settings.json:
        settings.screen.json([turn.model_dump(mode="json") for turn in turns])
        return
    for turn in turns:
        settings.note(f"{what}: {on_one_line(turn.text)} ({moment(turn.at)})")


async def fork(
    session: str,
    *,
    at: Annotated[int | None, Parameter(name="--seq")] = None,
    checkpoint: str | None = None,
    name: str | None = None,
    new_id: str | None = None,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Make a new session that begins as the copy of this one, up to a point, and print its id.

    Example: `agents-sessions fork order-42 --name "What if"`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        at: The number of an entry: the copy ends with its turn.
        checkpoint: The id of a checkpoint instead.
        name: A name for the new one.
        new_id: Its id; by default a new UUID.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        child = await desk.branches.fork(
            found.id, seq=at, checkpoint=checkpoint, name=name, new_id=new_id, agent_id=found.agent_id
        )
    if settings.json:
        settings.screen.json(child.model_dump(mode="json"))
    else:
        settings.screen.line(child.id)
    settings.note(f"Undo: {settings.command('delete', child.id)}")


async def tree(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Draw the whole family of a session: what it was forked from, and what was forked from it.

    Example: `agents-sessions tree order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        family = await desk.branches.tree(found.id, agent_id=found.agent_id)
    if settings.json:
        settings.screen.json(family.model_dump(mode="json"))
    else:
        settings.screen.line(family.drawn())


async def diff(a: str, b: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Show what two sessions have in common, and the turns that each has beyond that.

    Example: `agents-sessions diff order-42 what-if`

    Args:
        a: One session: its id, the first 4 or more characters of it, or its name.
        b: The other one.
    """
    from agents_sessions.cli.screen import on_one_line

    async with settings.desk() as desk:
        one, other = await desk.meant(a), await desk.meant(b)
        found = await desk.branches.diff(one.id, other.id)
    if settings.json:
        settings.screen.json(found.model_dump(mode="json"))
        return
    screen = settings.screen
    screen.line(f"{found.common_turns} turns in common, until entry {found.common_until} of {one.id}")
    for sign, style, turns in (("-", "red", found.only_in_a), ("+", "green", found.only_in_b)):
        for turn in turns:
            screen.line((f"{sign} {on_one_line(turn.text)}", style))


async def merge(
    source: str,
    target: str,
    *,
    strategy: Literal["summary", "select", "append"] = "summary",
    select: Annotated[tuple[int, ...], Parameter(negative=())] = (),
    close: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Bring what a branch has said home: one marked message at the end of the target.

    Example: `agents-sessions merge what-if order-42 --strategy append`

    Args:
        source: The branch: its id, the first 4 or more characters of it, or its name.
        target: Where it goes.
        strategy: A summary of it, chosen entries, or all that it has said.
        select: The number of an entry of the source, for `select`. Give it again for each.
        close: Close the source afterwards.
    """
    async with settings.desk() as desk:
        here, there = await desk.meant(source), await desk.meant(target)
        done = await desk.branches.merge(
            here.id, there.id, strategy=strategy, select=select, after="close" if close else "keep"
        )
    if settings.json:
        settings.screen.json(done.model_dump(mode="json"))
    settings.note(f"{done.items} items of {here.id} are in {there.id} now, before entry {done.seq + 1}.")


async def checkpoint_save(session: str, *, label: str | None = None, settings: Settings = _EVERYWHERE) -> None:
    """Mark this point of a history, and print the id of the checkpoint.

    Example: `agents-sessions checkpoint save order-42 --label "before the refund"`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        label: A name for people.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        done = await desk.checkpoints.save(found.id, label=label, agent_id=found.agent_id)
    if settings.json:
        settings.screen.json({"id": done})
    else:
        settings.screen.line(done)
    settings.note(f"Back to it: {settings.command('checkpoint', 'restore', found.id, done)}")


async def checkpoint_list(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """List the checkpoints of a session, the oldest first.

    Example: `agents-sessions checkpoint list order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    from agents_sessions.cli.screen import moment

    async with settings.desk() as desk:
        found = await desk.meant(session)
        all_of_them = await desk.checkpoints.list(found.id, agent_id=found.agent_id)
    if settings.json:
        settings.screen.json([each.model_dump(mode="json") for each in all_of_them])
    elif all_of_them:
        rows = [
            (each.id, each.label or "", str(each.position), moment(each.at), "taken back" if each.taken_back else "")
            for each in all_of_them
        ]
        settings.screen.rows(("ID", "Label", "Entry", "Saved", ""), rows, wide=1)
    else:
        settings.note("No checkpoints.")


async def checkpoint_restore(session: str, checkpoint: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Take back all turns behind a checkpoint, and print its data.

    Example: `agents-sessions checkpoint restore order-42 before`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        checkpoint: The id of the checkpoint.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        data = await desk.checkpoints.restore(found.id, checkpoint, agent_id=found.agent_id)
    settings.screen.json(data)
    settings.note(f"Undo: {settings.command('redo', found.id)}")


async def compact(session: str, *, keep_turns: int = 4, settings: Settings = _EVERYWHERE) -> None:
    """Let the model see a summary, made without a model, in the place of all but the newest turns.

    The originals stay in the history.

    Example: `agents-sessions compact order-42 --keep-turns 6`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        keep_turns: How many of the newest turns the model goes on seeing word for word.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        done = await desk.summaries.compact(found.id, keep_turns=keep_turns, agent_id=found.agent_id)
    if settings.json:
        settings.screen.json(None if done is None else done._asdict())
    settings.note("Nothing to sum up." if done is None else f"The model no longer sees {done.items} items.")


async def redact(
    session: str,
    *,
    text: str | None = None,
    seq: int | None = None,
    replacement: str = "[removed]",
    forks: _NO = False,
    dry_run: _NO = False,
    yes: _NO = False,
    settings: Settings = _EVERYWHERE,
) -> int:
    """Take a text, or all that one entry says, out of a session for good. This cannot be undone.

    Example: `agents-sessions redact order-42 --text "4111 1111" --dry-run`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        text: The text. It goes wherever it stands.
        seq: The number of an entry instead.
        replacement: What stands there instead.
        forks: Also out of all sessions of its family.
        dry_run: Only list the places.
        yes: Do not ask.
    """
    given: Any = {"text": text, "seq": seq, "replacement": replacement, "forks": forks}
    async with settings.desk() as desk:
        found = await desk.meant(session)
        places = await desk.redact(found.id, agent_id=found.agent_id, dry_run=True, **given)
        if not dry_run and places:
            if not settings.confirm(f"Remove it from {len(places)} places for good?", yes=yes):
                raise InvalidValueError({"--yes": "or an answer of y is needed; nothing was changed"})
            places = await desk.redact(found.id, agent_id=found.agent_id, **given)
    if settings.json:
        settings.screen.json([place.model_dump(mode="json") for place in places])
    elif places:
        rows = [
            (place.session_id, place.name, place.kind, str(place.count), "removed" if place.removed else "stands")
            for place in places
        ]
        settings.screen.rows(("Session", "Place", "Kind", "Count", ""), rows, wide=1)
    else:
        settings.note("It stands nowhere.")
    return 0
