"""Commands that look: list, show, search, info, stats, report, approvals. Nothing is changed by any of them."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from agents_sessions.cli.settings import Settings
from agents_sessions.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agents_sessions.cli.conversation import Conversation
    from agents_sessions.cli.desk import Desk
    from agents_sessions.cli.screen import Screen
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo

_PAGE = 500
_POLL = 0.5
_EVERYWHERE = Settings()

Statuses = Literal["active", "paused", "closed", "archived"]
Kind = Literal["user", "assistant", "system", "developer", "tool", "handoff", "turn", "reasoning", "other"]
SearchIn = Literal["name", "message", "tool_call", "tool_output"]
Tags = Annotated[tuple[str, ...], Parameter(name="--tag", negative=())]


async def list_(
    *,
    agent: str | None = None,
    user: str | None = None,
    status: Statuses | None = None,
    tag: Tags = (),
    since: datetime | None = None,
    sort: Literal["last_active", "created", "updated", "name", "id"] = "last_active",
    limit: int = 50,
    all: Annotated[bool, Parameter(negative=())] = False,  # noqa: A002 -- the name of the option
    settings: Settings = _EVERYWHERE,
) -> None:
    """List sessions, the last active first.

    Example: `agents-sessions list --user ann --tag billing`

    Args:
        agent: Only those of this agent.
        user: Only those of this user.
        status: Only those with this status.
        tag: Only those with this tag. Give it again for each that they must have.
        since: Only those that were active since this day or time.
        sort: The order.
        limit: How many at most.
        all: All there are.
    """
    filters: Any = {
        "agent_id": agent,
        "user_id": user,
        "status": status,
        "tags": tag,
        "active_after": _with_zone(since),
    }
    async with settings.desk() as desk:
        if all:
            await _all(desk, settings, filters, sort)
            return
        page = await desk.list_sessions(sort=sort, limit=limit, **filters)
        infos = await desk.store.titled(page)
        if settings.json:
            settings.screen.json([_json_of(info) for info in infos])
            return
        _show_list(settings.screen, infos)
        if page.next_cursor is not None:
            settings.note("There are more: --limit N or --all shows them.")
        elif not infos:
            settings.note("No sessions.")


async def _all(desk: Desk, settings: Settings, filters: Any, sort: Any) -> None:
    """Show all sessions a page at a time, so that memory does not grow with them."""
    page: list[SessionInfo] = []

    async def show() -> None:
        infos = await desk.store.titled(page)
        for info in infos if settings.json else ():
            settings.screen.json_line(_json_of(info))
        if not settings.json:
            _show_list(settings.screen, infos)
        page.clear()

    async for info in desk.iter_sessions(sort=sort, **filters):
        page.append(info)
        if len(page) == _PAGE:
            await show()
    await show()


def _show_list(screen: Screen, infos: Sequence[SessionInfo]) -> None:
    from agents_sessions.cli.screen import moment

    short = short_ids([info.id for info in infos]) if screen.is_terminal else [info.id for info in infos]
    rows = [
        (
            each,
            info.title or "",
            info.agent_id,
            str(info.context.turns),
            moment(info.last_active_at),
            ("pinned " if info.pinned else "") + ("" if info.status == "active" else info.status),
        )
        for each, info in zip(short, infos, strict=True)
    ]
    if rows:
        screen.rows(("ID", "Title", "Agent", "Turns", "Last active", ""), rows, wide=1)


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return how ids are shown in a list: the beginning where that tells them apart, else whole."""
    beginnings = [each[:8] for each in ids]
    return [
        each if len(each) <= 16 or beginnings.count(begin) > 1 else begin
        for each, begin in zip(ids, beginnings, strict=True)
    ]


async def show(
    session: str,
    *,
    last: Annotated[int | None, Parameter(alias="-n")] = None,
    only: Annotated[tuple[Kind, ...], Parameter(negative=())] = (),
    tools: Annotated[bool, Parameter(negative=())] = False,
    raw: Annotated[bool, Parameter(negative=())] = False,
    code: Annotated[bool, Parameter(negative=())] = False,
    taken_back: Annotated[bool, Parameter(negative=())] = False,
    follow: Annotated[bool, Parameter(alias="-f", negative=())] = False,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Show a conversation: who said what, tools folded to a line, handoffs, and what each turn has cost.

    Example: `agents-sessions show order-42 --last 20 --follow`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
        last: Only so many of the newest entries.
        only: Only entries of this kind. Give it again for each kind.
        tools: Show what tools were called with and have returned whole.
        raw: The text of the newest answer alone, without any layout.
        code: The newest block of code alone.
        taken_back: Also what was taken back.
        follow: Go on with what comes, until Ctrl-C.
    """
    async with settings.desk() as desk:
        info = await desk.meant(session)
        if raw or code:
            await _newest_answer(desk, info, settings, code=code)
            return
        if follow:
            await _show(desk, info, settings, settings.screen, only, last, tools=tools, all_of_it=taken_back)
            await _follow(desk, info, settings, only, tools=tools)
            return
        with settings.screen.paged() as screen:
            await _show(desk, info, settings, screen, only, last, tools=tools, all_of_it=taken_back)


async def _newest_answer(desk: Desk, info: SessionInfo, settings: Settings, *, code: bool) -> None:
    from agents_sessions.cli.conversation import code_blocks

    for message in reversed(await desk.store.messages(info.key, limit=100 if code else 1, roles=["assistant"])):
        for text in [*code_blocks(message.text)][-1:] if code else [message.text]:
            if settings.json:
                settings.screen.json({"seq": message.seq, "text": text})
            else:
                settings.screen.raw(text)
            return
    raise InvalidValueError({"--code" if code else "--raw": "finds nothing: the session has no such answer"})


async def _show(
    desk: Desk,
    info: SessionInfo,
    settings: Settings,
    screen: Screen,
    only: Sequence[str],
    last: int | None,
    *,
    tools: bool,
    all_of_it: bool,
) -> None:
    from agents_sessions.cli.conversation import Conversation

    conversation = Conversation(screen, only, unfolded=tools)
    if not settings.json and last is None:
        _heading(screen, info)
    async for entry in _entries(desk, info, conversation, last, all_of_it=all_of_it):
        if settings.json:
            screen.json_line(entry)
        else:
            conversation.show(entry)


def _heading(screen: Screen, info: SessionInfo) -> None:
    from agents_sessions.cli.screen import moment

    name = info.name or info.id
    screen.line((name, "bold"), (f"  {info.id}" if info.name else "", "dim"))
    status = "" if info.status == "active" else f" · {info.status}"
    tokens = f" · {info.context.total_tokens:,} tokens" if info.context.total_tokens else ""
    turns = f"{info.context.turns} turn{'s' * (info.context.turns != 1)}"
    screen.line((f"{info.agent_id} · {moment(info.created_at)} · {turns}{tokens}{status}", "dim"), "\n")


async def _entries(
    desk: Desk, info: SessionInfo, conversation: Conversation, last: int | None, *, all_of_it: bool
) -> AsyncIterator[Entry]:
    """Yield the entries that are shown, in order. Memory does not grow with a history that is shown whole."""
    view = info.context.view

    def is_shown(entry: Entry) -> bool:
        taken = not all_of_it and view is not None and view.is_taken_back(entry["seq"])
        return not taken and conversation.shows(entry)

    if last is None:
        async for entry in desk.store.walk(info.key):
            if is_shown(entry):
                yield entry
        return
    for entry in await _newest(desk, info, last, is_shown):
        yield entry


async def _newest(desk: Desk, info: SessionInfo, count: int, is_shown: Callable[[Entry], bool]) -> Sequence[Entry]:
    """Return the newest entries that are shown, in order. The cost grows with them, and not with the history."""
    newest: deque[Entry] = deque()
    before: int | None = None
    while len(newest) < count and (page := await desk.store.entries(info.key, before=before, limit=_PAGE)):
        for entry in reversed(page):
            if len(newest) < count and is_shown(entry):
                newest.appendleft(entry)
        before = page[0]["seq"]
    return newest


async def _follow(desk: Desk, info: SessionInfo, settings: Settings, only: Sequence[str], *, tools: bool) -> None:
    from agents_sessions.cli.conversation import Conversation

    conversation, seq = Conversation(settings.screen, only, unfolded=tools), info.seq
    while True:
        for entry in await desk.store.entries(info.key, after=seq, limit=_PAGE):
            seq = entry["seq"]
            if not conversation.shows(entry):
                continue
            if settings.json:
                settings.screen.json_line(entry)
            else:
                conversation.show(entry)
        settings.screen.console.file.flush()
        await asyncio.sleep(_POLL)


async def search(
    text: str,
    *,
    in_: Annotated[tuple[SearchIn, ...], Parameter(name="--in", negative=())] = ("name", "message"),
    agent: str | None = None,
    user: str | None = None,
    limit: int = 20,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Find the places where words stand in names and messages, the best first.

    Example: `agents-sessions search "refund late" --in message --in tool_output`

    Args:
        text: Words in any order; "words between quotes" side by side.
        in_: Where to look. Give it again for each place.
        agent: Only in sessions of this agent.
        user: Only in sessions of this user.
        limit: How many places at most.
    """
    async with settings.desk() as desk:
        filters: Any = {"agent_id": agent, "user_id": user}
        page = await desk.search(text, kinds=in_, limit=limit, **filters)
        if settings.json:
            settings.screen.json([hit.model_dump(mode="json") for hit in page])
            return
        for hit in page:
            _show_hit(settings.screen, hit)
        if page.next_cursor is not None:
            settings.note("There are more: --limit N shows them.")
        elif not page:
            settings.note("Found nowhere.")


def _show_hit(screen: Screen, hit: Any) -> None:
    from agents_sessions.cli.screen import moment

    where = "name" if hit.seq is None else f"#{hit.seq} {hit.agent or hit.role or hit.kind}"
    name = f"  {hit.session.name}" if hit.session.name else ""
    screen.line((hit.session.id, "cyan"), name, (f"  {where}  {moment(hit.at)}", "dim"))
    parts: list[str | tuple[str, str]] = ["  "]
    end = 0
    for mark in hit.marks:
        parts += [hit.snippet[end : mark.start], (hit.snippet[mark.start : mark.end], "bold yellow")]
        end = mark.end
    screen.line(*parts, hit.snippet[end:])


async def info(session: str | None = None, *, settings: Settings = _EVERYWHERE) -> None:
    """Show the facts of a session or, without one, of the root: path, sizes, counts and versions.

    Example: `agents-sessions info order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        facts = await (_facts_of_root(desk, settings) if session is None else _facts_of(desk, session))
    if settings.json:
        settings.screen.json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            settings.screen.line((f"{name:<{width}}  ", "dim"), str(value))


async def _facts_of(desk: Desk, typed: str) -> dict[str, Any]:
    found = await desk.meant(typed)
    (size,) = await desk.store.sizes([found.key])
    return {**_json_of(found), "bytes": size}


async def _facts_of_root(desk: Desk, settings: Settings) -> dict[str, Any]:
    from importlib.metadata import version

    keys, statuses = [], {"active": 0, "paused": 0, "closed": 0, "archived": 0}
    async for each in desk.iter_sessions(expired=None):
        keys.append(each.key)
        statuses[each.status] += 1
    sizes = await desk.store.sizes(keys)
    return {
        "root": settings.root if desk.store.folder is None else str(desk.store.folder),
        "store": type(desk.store).__name__,
        "sessions": len(keys),
        **statuses,
        "trash": len(await desk.trash.list()),
        "bytes": sum(size or 0 for size in sizes),
        "agents-sessions": version("agents-sessions"),
        "openai-agents": version("openai-agents"),
    }


async def stats(session: str, *, settings: Settings = _EVERYWHERE) -> None:
    """Show what a session has done and spent: turns, tools, tokens by model, and money where prices are known.

    Example: `agents-sessions stats order-42`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    async with settings.desk() as desk:
        found = await desk.meant(session)
        figures = await desk.statistics.of(found.id, agent_id=found.agent_id)
    _figures(settings, figures)


async def report(
    *,
    agent: str | None = None,
    user: str | None = None,
    since: datetime | None = None,
    top: int = 10,
    settings: Settings = _EVERYWHERE,
) -> None:
    """Show what many sessions have done and spent together, by agent, user, day and model.

    Example: `agents-sessions report --since 2026-01-01`

    Args:
        agent: Only those of this agent.
        user: Only those of this user.
        since: Only those that were active since this day or time.
        top: How many of the largest and dearest sessions to name.
    """
    async with settings.desk() as desk:
        filters: Any = {"agent_id": agent, "user_id": user, "active_after": _with_zone(since)}
        figures = await desk.statistics.report(top=top, **filters)
    _figures(settings, figures)


def _figures(settings: Settings, figures: Any) -> None:
    if settings.json:
        settings.screen.json(figures.model_dump(mode="json"))
    else:
        settings.screen.markdown(figures.to_markdown())


async def approvals(session: str | None = None, *, settings: Settings = _EVERYWHERE) -> None:
    """List the tool calls that wait for a decision, of one session or of all.

    Example: `agents-sessions approvals list --json`

    Args:
        session: Its id, the first 4 or more characters of it, or its name.
    """
    rows: list[dict[str, Any]] = []
    async with settings.desk() as desk:
        waiting = [await desk.meant(session)] if session else [each async for each in desk.iter_sessions()]
        for each in waiting:
            if session or each.context.last_status == "awaiting_approval":
                found = await desk.approvals(each.key)
                rows += [{"session_id": each.id, **call.model_dump(mode="json")} for call in found]
    if settings.json:
        settings.screen.json(rows)
    elif rows:
        head = ("Session", "Agent", "Tool", "Arguments", "Call")
        names = ("session_id", "agent", "tool", "arguments", "call_id")
        settings.screen.rows(head, [tuple(row[name] for name in names) for row in rows], wide=3)
    else:
        settings.note("Nothing waits for approval.")


def _json_of(found: SessionInfo) -> dict[str, Any]:
    return found.model_dump(mode="json")


def _with_zone(day: datetime | None) -> datetime | None:
    """Return a moment that was typed, in the zone of this machine if it names none."""
    return None if day is None else day.astimezone(UTC)
