"""The tree that forks make."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from agents_sessions.keys import SessionKey
from agents_sessions.model.info import ForkPoint, SessionStatus  # noqa: TC001 -- fields of a pydantic model
from agents_sessions.model.query import SessionQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore


class Branch(BaseModel):
    """One session of a family, with all that were forked from it."""

    model_config = ConfigDict(frozen=True)

    id: str
    agent_id: str
    name: str | None
    status: SessionStatus
    turns: int
    last_active_at: datetime
    parent_id: str | None
    forked_at: ForkPoint | None
    parent_is_gone: bool = False
    """Whether it was forked from a session that is not there any more."""
    is_asked_for: bool = False
    """Whether the tree was asked for by this session."""
    children: tuple[Branch, ...] = ()
    """Its forks, in the order in which they leave it."""

    def __iter__(self) -> Iterator[Branch]:  # type: ignore[override]
        """Yield this session and all below it, each before its forks."""
        yield self
        for child in self.children:
            yield from child

    def drawn(self) -> str:
        """Return the tree as text, one session a line."""
        return "\n".join(_lines(self))

    def __str__(self) -> str:
        return self.drawn()


async def family(store: SessionStore, info: SessionInfo) -> Branch:
    """Return the whole family of a session, from its eldest member on."""
    root, seen = info, {info.id}
    while (parent := await parent_of(store, root)) is not None and parent.id not in seen:
        root = parent
        seen.add(parent.id)
    return await _branch(store, root, info.id, set(), is_root=True)


async def parent_of(store: SessionStore, info: SessionInfo) -> SessionInfo | None:
    """Return the session that another one was forked from, if it is there."""
    if info.forked_at is None or info.parent_id is None:
        return None
    own = SessionKey(info.agent_id, info.parent_id)
    keys = [own, *(key for key in await store.find(info.parent_id) if key != own)]  # one of the two may have moved
    for key in keys:
        if (parent := await store.load(key)) is not None:
            return parent
    return None


async def _branch(store: SessionStore, info: SessionInfo, asked: str, seen: set[str], *, is_root: bool) -> Branch:
    seen.add(info.id)
    forks = [fork async for fork in _forks_of(store, info) if fork.id not in seen]
    forks.sort(key=lambda fork: (0 if fork.forked_at is None else fork.forked_at.seq, fork.created_at, fork.id))
    return Branch(
        id=info.id,
        agent_id=info.agent_id,
        name=info.name,
        status=info.status,
        turns=info.context.turns,
        last_active_at=info.last_active_at,
        parent_id=info.parent_id if info.forked_at is not None else None,
        forked_at=info.forked_at,
        parent_is_gone=is_root and info.forked_at is not None,
        is_asked_for=info.id == asked,
        children=tuple([await _branch(store, fork, asked, seen, is_root=False) for fork in forks]),
    )


async def _forks_of(store: SessionStore, info: SessionInfo) -> AsyncIterator[SessionInfo]:
    query = SessionQuery(parent_id=info.id, sort="id")
    while True:
        page = await store.query(query)
        for found in page:
            parent = info if found.agent_id == info.agent_id else await parent_of(store, found)
            if found.forked_at is not None and parent is not None and parent.key == info.key:
                yield found
        if page.next_cursor is None:
            return
        query = replace(query, cursor=page.next_cursor)


def _lines(branch: Branch, lead: str = "", below: str = "") -> Iterator[str]:
    yield f"{lead}{_label(branch)}"
    for place, child in enumerate(branch.children, 1):
        is_last = place == len(branch.children)
        yield from _lines(child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  "))


def _label(branch: Branch) -> str:
    name = branch.id if branch.name is None else f"{branch.name} ({branch.id})"
    turns = f"{branch.turns} turn{'s' * (branch.turns != 1)}"
    point = "" if branch.forked_at is None else f", forked at entry {branch.forked_at.seq}"
    gone = f" of {branch.parent_id}, which is gone" if branch.parent_is_gone else ""
    status = "" if branch.status == "active" else f", {branch.status}"
    return f"{name}: {turns}{point}{gone}{status}{'  <' if branch.is_asked_for else ''}"
