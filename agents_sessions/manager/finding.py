"""Find, list and search sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack, overload

from agents_sessions.errors import SessionNotFoundError
from agents_sessions.features.finding import every, resolve
from agents_sessions.manager.checks import check_limit
from agents_sessions.model.conversation import Conversation
from agents_sessions.model.query import Page, SessionFilters, SessionQuery, Sort
from agents_sessions.model.search import SearchHit, SearchKind, SearchQuery

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore


class FindingFacade:
    """How a manager finds sessions.

    Where a method takes `filters`, these are keywords: agent_id, user_id, status, mode, session_type, tags (all of
    them), metadata (each of these keys with just this value), working_dir, parent_id, name, pinned, id_prefix,
    created_after, created_before, active_after and active_before. What is not given, or is None, does not filter; a
    keyword that is none of them is an `InvalidValueError`, before anything is read. Sessions that have expired are left
    out: `expired=True` asks for them alone, and None for all.
    """

    store: SessionStore
    _lookup: SessionLookup
    _current: SessionKey | None

    # --- one session ---

    @overload
    async def get_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo: ...

    @overload
    async def get_session(
        self, session_id: str, *, agent_id: str | None = None, include_messages: int
    ) -> Conversation: ...

    async def get_session(
        self, session_id: str, *, agent_id: str | None = None, include_messages: int | None = None
    ) -> SessionInfo:
        """Return a session's facts and totals. For the session itself, as the Runner takes it, see `session`.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            include_messages: So many of its newest messages come along, in `messages`.

        Raises:
            SessionNotFoundError: There is none.
            SessionAmbiguousError: Several agents have one of this id, and `agent_id` does not say which.
            SessionExpiredError: Nothing has happened in it for longer than its time to live.
        """
        check_limit(include_messages)
        key = await self._lookup.key(session_id, agent_id, whatever=True)
        [info] = await self.store.titled([await self.store.existing(key)])
        self._lookup.check_expiry(info)
        info = self._lookup.effective(info)
        if include_messages is None:
            return info
        messages = await self.store.messages(key, limit=include_messages) if include_messages else []
        whole = Conversation.model_construct(**dict(info), messages=tuple(messages))
        return whole.with_title(info.title)

    async def find_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo | None:
        """Return a session's facts and totals, or None where `get_session` raises that there is none."""
        try:
            return await self.get_session(session_id, agent_id=agent_id)
        except SessionNotFoundError:
            return None

    async def session_exists(self, session_id: str, *, agent_id: str | None = None) -> bool:
        """Tell whether there is a session of an id, of this agent or of any. One that cannot be read is there."""
        if agent_id is None:
            return bool(await self.store.find(session_id))
        return any(key.agent_id == agent_id for key in await self.store.find(session_id))

    async def resolve(self, typed: str) -> SessionInfo:
        """Return the session that a person means: by its id, the first 4 or more characters of it, or its whole name.

        All other methods take whole ids only.

        Raises:
            SessionNotFoundError: None fits.
            AmbiguousPrefixError: Several do; the error lists them.
            SessionAmbiguousError: It is the id of sessions of several agents.
        """
        return await resolve(self.store, typed)

    async def switch_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Make a session the current one of this manager object, and return it. Nothing is stored.

        Raises:
            SessionNotFoundError: There is none; the current one stays.
        """
        info = await self.get_session(session_id, agent_id=agent_id)
        self._current = info.key
        return info

    async def current_session(self) -> SessionInfo | None:
        """Return the session that `switch_session` was called with last; None if there is none, or it is gone."""
        info = None if self._current is None else await self.store.load(self._current)
        return None if info is None else (await self.store.titled([info]))[0]

    # --- many sessions ---

    async def list_sessions(
        self,
        *,
        sort: Sort = "last_active",
        limit: int = 100,
        cursor: str | None = None,
        **filters: Unpack[SessionFilters],
    ) -> Page[SessionInfo]:
        """Return a page of sessions, the last active first. `page.next_cursor` leads to the next one.

        Args:
            sort: By `last_active`, `created`, `updated`, the newest first; or by `name` or `id`, from A to Z.
            limit: How many at most, from 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same filters and sort. Sessions that came or became
                active in between do not move the others: none comes twice, and none is left out that stayed put.
            filters: Which sessions: agent_id, user_id, status, tags, metadata, working_dir and others; see
                `SessionFilters`.

        Raises:
            InvalidValueError: A filter is none, no session can have its value, or the cursor is of another question.
        """
        page = await self.store.query(self._query(filters, sort=sort, limit=limit, cursor=cursor))
        return Page(map(self._lookup.effective, page), page.next_cursor)

    def iter_sessions(self, *, sort: Sort = "id", **filters: Unpack[SessionFilters]) -> AsyncIterator[SessionInfo]:
        """Yield all sessions that the filters ask for, however many, a page at a time.

        By `id`, none is left out that is there all the time, whatever happens to it meanwhile. In another order, one
        that becomes active may move from where the iteration has yet to come to where it has been.

        Raises:
            InvalidValueError: See `list_sessions`.
        """
        return every(self.store, self._query(filters, sort=sort))

    async def get_sessions_by_agent(
        self, agent_id: str, *, sort: Sort = "last_active", limit: int = 100, cursor: str | None = None
    ) -> Page[SessionInfo]:
        """Return a page of the sessions of an agent; see `list_sessions`, which takes other filters too."""
        return await self.list_sessions(agent_id=agent_id, sort=sort, limit=limit, cursor=cursor)

    async def get_sessions_by_user(
        self, user_id: str, *, sort: Sort = "last_active", limit: int = 100, cursor: str | None = None
    ) -> Page[SessionInfo]:
        """Return a page of the sessions of a user; see `list_sessions`, which takes other filters too."""
        return await self.list_sessions(user_id=user_id, sort=sort, limit=limit, cursor=cursor)

    async def count_sessions(self, **filters: Unpack[SessionFilters]) -> int:
        """Return how many sessions the filters ask for.

        Raises:
            InvalidValueError: See `list_sessions`.
        """
        return await self.store.count(self._query(filters))

    async def get_active_session_count(self, user_id: str | None = None) -> int:
        """Return how many sessions take messages, of all users or of one."""
        return await self.count_sessions(user_id=user_id, status="active")

    async def latest_session(self, **filters: Unpack[SessionFilters]) -> SessionInfo | None:
        """Return the session that was active last, to go on with it, or None.

        With `working_dir=os.getcwd()` it is the last one of this folder, with `user_id` that of a user.

        Raises:
            InvalidValueError: See `list_sessions`.
        """
        page = await self.store.query(self._query(filters, limit=1))
        return page[0] if page else None

    async def search(
        self,
        text: str,
        *,
        kinds: Sequence[SearchKind] = ("name", "message"),
        limit: int = 20,
        cursor: str | None = None,
        **filters: Unpack[SessionFilters],
    ) -> Page[SearchHit]:
        """Return a page of the places where a text is found in names and messages, the best first.

        Words are found in any order, but in one message, whatever their case and accents; "words between quotes" side
        by side; and the last one may be the beginning of a word. Chinese, Japanese and Korean need no blanks, and one
        character is enough. Nothing else in the text has a meaning. Sessions with `indexed=False` are never found.

        Args:
            text: What to look for, as a person types it: at most 1,000 characters.
            kinds: Where: in a `name`, a `message`, a `tool_call` or a `tool_output`.
            limit: How many hits at most, from 1 to 1000.
            cursor: The `next_cursor` of the page before, with the same text, kinds and filters.
            filters: In which sessions; see `list_sessions`.

        Raises:
            InvalidValueError: See `list_sessions`.
        """
        sessions = self._query(filters)
        return await self.store.search(
            SearchQuery(text=text, kinds=tuple(kinds), sessions=sessions, limit=limit, cursor=cursor)
        )

    def _query(self, filters: SessionFilters, **order: Any) -> SessionQuery:
        """Return a question that leaves out what has expired, unless the filters say otherwise."""
        return SessionQuery.of({"expired": False, **filters, "default_ttl": self._lookup.ttl}, **order)
