"""Make, find, change and remove sessions."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import uuid4

from agents_sessions.errors import InvalidValueError, SessionExistsError
from agents_sessions.keys import SessionKey
from agents_sessions.manager.checks import check_given, check_name, facts_checked, path_of, tags_of
from agents_sessions.manager.facts import FactFacade
from agents_sessions.model.durations import seconds_of
from agents_sessions.model.entries import now
from agents_sessions.model.ids import check_id
from agents_sessions.model.info import GivenStatus, SessionInfo, SessionType
from agents_sessions.model.query import SessionQuery
from agents_sessions.not_given import NOT_GIVEN, NotGiven, given
from agents_sessions.session import ManagedSession

if TYPE_CHECKING:
    from datetime import timedelta

    from agents.memory import SessionSettings

    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.features.erasure import DeletionReport, Erasure
    from agents_sessions.features.trash import Trash
    from agents_sessions.model.durations import Duration
    from agents_sessions.model.info import Compaction
    from agents_sessions.turns.agents import AgentRegistry
    from agents_sessions.turns.turn import Turns


class NewSessionFacts(TypedDict, total=False):
    """What a new session may be given: see `SessionManager.create_session`."""

    user_id: str | None
    name: str | None
    session_type: SessionType
    mode: str | None
    max_turns: int | None
    history_limit: int | None
    metadata: dict[str, Any] | None
    tags: Iterable[str]
    pinned: bool
    working_dir: str | os.PathLike[str] | None
    parent_id: str | None
    indexed: bool
    ttl: Duration | None
    compaction: Compaction | None


class SessionFacade(FactFacade):
    """What a manager does with sessions as wholes."""

    _registry: AgentRegistry
    _turns: Turns
    _lock_timeout: float | None
    _trash_keeps: timedelta | None
    trash: Trash
    archive: Archive
    _erasure: Erasure
    _user_id: str | None = None

    async def create_session(
        self,
        agent_id: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        name: str | None = None,
        session_type: SessionType = "user",
        mode: str | None = None,
        max_turns: int | None = None,
        history_limit: int | None = None,
        metadata: dict[str, Any] | None = None,
        tags: Iterable[str] = (),
        pinned: bool = False,
        working_dir: str | os.PathLike[str] | None = None,
        parent_id: str | None = None,
        indexed: bool = True,
        ttl: Duration | None = None,
        compaction: Compaction | None = None,
    ) -> SessionInfo:
        """Make a new session of an agent, and return its facts: its id is `info.id`.

        Args:
            agent_id: The name of the agent that its first turn starts with.
            session_id: Its id; by default a new UUID.
            user_id: Whose conversation it is.
            name: A title for people, of 1 to 100 characters. Without one, `info.title` is the beginning of its first
                message.
            session_type: Who drives it.
            mode: Free text such as `plan` or `build`, for an agent factory.
            max_turns: The Runner's `max_turns` where neither the call nor the manager gives one.
            history_limit: About how many items of the history the model sees, where no run config says it. The cut
                is made at a user message.
            metadata: Anything else to keep, as JSON data.
            tags: Labels to find it by, of 1 to 100 characters each. One that comes twice is kept once.
            pinned: Keep it whatever a rule of retention says.
            working_dir: The folder that it is about.
            parent_id: The session that it comes from.
            indexed: False keeps its text out of every search index, for ever.
            ttl: How long it lives after its last activity, such as `"7d"`; by default the manager's.
            compaction: When and how the model's input is shortened, if not as the manager says. Its summariser is a
                name.

        Raises:
            UnknownAgentError: Agents were given, and this is none of them.
            SessionExistsError: The id is taken.
            TooManySessionsError: As many as are allowed are not closed.
            InvalidValueError: A value does not fit, or the metadata is not JSON.
        """
        check_id(agent_id, what="agent_id")
        self._registry.check_entry(agent_id)
        user_id = self._user_id if user_id is None else user_id
        check_name(name)
        with facts_checked():
            info = SessionInfo(
                id=str(uuid4()) if session_id is None else session_id,
                agent_id=agent_id,
                user_id=user_id,
                name=name,
                session_type=session_type,
                mode=mode,
                max_turns=max_turns,
                history_limit=history_limit,
                metadata=metadata or {},
                tags=tags_of(tags),
                pinned=pinned,
                working_dir=path_of(working_dir),
                parent_id=parent_id,
                indexed=indexed,
                ttl=None if ttl is None else seconds_of(ttl, "ttl"),
                compaction=compaction,
            )
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._quota.room(user_id))
            if session_id is not None:
                await stack.enter_async_context(self.store.reserve(session_id))
                if await self.store.find(session_id):
                    raise SessionExistsError(session_id)
            created = await self.store.create(info)
        self._lookup.remember(created.key)
        return self._lookup.effective(created)

    async def get_or_create_session(
        self, agent_id: str, *, session_id: str, **facts: Unpack[NewSessionFacts]
    ) -> SessionInfo:
        """Return a session of an agent; make it, with these facts, if no agent has one of this id.

        Any number of requests and processes may ask at once: one makes it, and all get it.

        Args:
            agent_id: The agent that its first turn starts with.
            session_id: Its id.
            facts: As for `create_session`. They are for a new session; one that is there keeps its own.

        Raises:
            SessionExistsError: The session of this id is another agent's.
            SessionExpiredError: It is there, and expired.
            UnknownAgentError, InvalidItemError: See `create_session`.
        """
        self._registry.check_entry(agent_id)
        key = SessionKey(agent_id, session_id)
        found = await self.store.load(key)
        if found is None:
            try:
                return await self.create_session(agent_id, session_id=session_id, **facts)
            except SessionExistsError:  # of another agent, or made in just this moment
                found = await self.store.load(key)
                if found is None:
                    raise
        self._lookup.remember(key)
        self._lookup.check_expiry(found)
        return self._lookup.effective(found)

    async def update_session(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        name: str | NotGiven | None = NOT_GIVEN,
        user_id: str | NotGiven | None = NOT_GIVEN,
        status: GivenStatus | NotGiven = NOT_GIVEN,
        mode: str | NotGiven | None = NOT_GIVEN,
        max_turns: int | NotGiven | None = NOT_GIVEN,
        history_limit: int | NotGiven | None = NOT_GIVEN,
        metadata: dict[str, Any] | NotGiven = NOT_GIVEN,
        tags: Iterable[str] | NotGiven = NOT_GIVEN,
        pinned: bool | NotGiven = NOT_GIVEN,
        working_dir: str | os.PathLike[str] | NotGiven | None = NOT_GIVEN,
        parent_id: str | NotGiven | None = NOT_GIVEN,
        ttl: Duration | NotGiven | None = NOT_GIVEN,
        compaction: Compaction | NotGiven | None = NOT_GIVEN,
    ) -> SessionInfo:
        """Change facts of a session; what is not given stays. `metadata` and `tags` replace all of them.

        That goes for one that has expired or is archived too. To change some tags or keys, see
        `update_session_metadata` and `tag_session`.

        Raises:
            SessionNotFoundError: There is none.
            SessionArchivedError: It is archived, and its status is to be changed.
            TooManySessionsError: It was closed or another user's, and as many as are allowed are not closed.
            InvalidValueError: A value does not fit, or the metadata is not JSON; nothing was changed.
        """
        facts = given(
            name=name,
            user_id=user_id,
            status=status,
            mode=mode,
            max_turns=max_turns,
            history_limit=history_limit,
            metadata=metadata,
            pinned=pinned,
            parent_id=parent_id,
            ttl=ttl,
            compaction=compaction,
        )
        if status == "archived":
            raise InvalidValueError({"status": "becomes 'archived' by manager.archive.archive(…)"})
        if ttl is not NOT_GIVEN and ttl is not None:
            facts["ttl"] = seconds_of(ttl, "ttl")
        if tags is not NOT_GIVEN:
            facts["tags"] = tags_of(tags)
        if working_dir is not NOT_GIVEN:
            facts["working_dir"] = path_of(working_dir)
        if name is not NOT_GIVEN:
            check_name(name)
        return await self._change_facts(session_id, agent_id, lambda _: facts, touched=facts)

    async def move_session(self, session_id: str, *, agent_id: str, from_agent_id: str | None = None) -> SessionInfo:
        """Give a session to another agent, with its history and all that belongs to it, and return it.

        So can a bare `FileSession` of agent `default` become a managed one. Waits for a turn that runs on it. Who has
        the session open as a bare one of the old agent must open it anew.

        Args:
            session_id: The session.
            agent_id: Whose it will be: the agent that its turns start with.
            from_agent_id: Whose it is, if several agents have one of this id.

        Raises:
            UnknownAgentError: Agents were given, and this is none of them.
            SessionNotFoundError: There is no such session.
            SessionExistsError: The agent has a session of this id; neither was touched.
            SessionBusyError: A turn runs on it and did not end in time.
        """
        check_id(agent_id, what="agent_id")
        self._registry.check_entry(agent_id)
        key = await self._lookup.key(session_id, from_agent_id)
        if key.agent_id == agent_id:
            return await self.store.existing(key)
        info = await self._turns.move(key, agent_id, self._lock_timeout)
        self._lookup.remember(info.key)
        return info

    async def clear_session(self, session_id: str, *, agent_id: str | None = None) -> None:
        """Remove the whole history of a session, with its totals. Waits for a turn that runs on it.

        It is also the way out of damage: the damaged file is kept aside, with a warning in the log.

        Raises:
            SessionNotFoundError: There is none.
            SessionBusyError: A turn runs on it and did not end in time.
        """
        key = await self._lookup.key(session_id, agent_id)
        await self._turns.clear(key, self._lock_timeout)

    async def refresh_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Begin the time to live of a session anew, also if it has expired.

        Raises:
            SessionNotFoundError: There is none.
        """
        return await self._change_facts(session_id, agent_id, lambda _: {"refreshed_at": now()})

    async def delete_session(self, session_id: str, *, agent_id: str | None = None, permanently: bool = False) -> None:
        """Remove a session and all that belongs to it. Waits for a turn that runs on it.

        In a manager with a `trash` it can be had back for a while: see `manager.trash`. Without one, or `permanently`,
        it is gone for good at once. The history of an archived one goes too.

        Raises:
            SessionNotFoundError: There is none.
            SessionBusyError: A turn runs on it and did not end in time.
        """
        await self._delete(await self._lookup.key(session_id, agent_id, whatever=True), permanently=permanently)

    async def _delete(self, key: SessionKey, *, permanently: bool) -> None:
        if self._trash_keeps is not None and not permanently:
            await self.trash.put(key, lock_timeout=self._lock_timeout)
        elif await self._turns.is_archived(key):
            await self.archive.delete(key, self._lock_timeout)
        else:
            await self._turns.delete(key, self._lock_timeout)

    async def delete_user_sessions(self, user_id: str, *, erase: bool = False) -> DeletionReport:
        """Remove all sessions of a user, with an outcome each. Waits for turns that run on them.

        They go to the trash if the manager has one. With `erase` they go for good, and so does every trace: sidecars,
        what is in trash and archive, copies that repairs have kept, backups, the log of retention and the text in
        indexes. The report names every place that was visited.

        Raises:
            InvalidValueError: The user is no text.
        """
        return await self._erasure.delete(SessionQuery(user_id=check_given("user_id", user_id)), erase=erase)

    async def delete_agent_sessions(self, agent_id: str, *, erase: bool = False) -> DeletionReport:
        """Remove all sessions of an agent, as `delete_user_sessions` does those of a user."""
        return await self._erasure.delete(SessionQuery(agent_id=check_given("agent_id", agent_id)), erase=erase)

    def session(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> ManagedSession:
        """Return one session as the SDK's `Session`, for `Runner.run(session=…)`. For its facts, see `get_session`.

        A missing session shows when it is first used, or at once with ``await manager.session(…)``.
        """
        return ManagedSession(
            self._lookup, self.store, session_id, agent_id=agent_id, session_settings=session_settings
        )


def _check_one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, not {value!r:.80}")
