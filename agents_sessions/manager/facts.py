"""Change what is known of a session beside its history: its state, its labels, and data of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from agents_sessions.errors import InvalidValueError, SessionArchivedError, SessionClosedError
from agents_sessions.manager.checks import check_name, facts_checked, metadata_changes, tags_of
from agents_sessions.manager.extensions import check_extension, json_of, value_of
from agents_sessions.turns.activity import Activity, activity_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.quota import SessionQuota
    from agents_sessions.stores.base import History, SessionStore

_T = TypeVar("_T")
_Change = Callable[["SessionInfo"], Mapping[str, object]]
"""What facts become, from what they are. Pure: it may be called more than once."""


class FactFacade:
    """What a manager does with the facts of a session. Each change is atomic: two at once lose nothing."""

    store: SessionStore
    _lookup: SessionLookup
    _quota: SessionQuota

    # --- its state ---

    async def pause_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Let a session take no messages until `unpause_session`. A turn that runs goes on.

        Raises:
            SessionNotFoundError: There is none.
            SessionClosedError: It is closed.
        """
        return await self._change_facts(session_id, agent_id, lambda info: _unless_closed(info, "paused"))

    async def unpause_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Let a paused session take messages again.

        Raises:
            SessionNotFoundError: There is none.
            SessionClosedError: It is closed: see `reopen_session`.
        """
        return await self._change_facts(session_id, agent_id, lambda info: _unless_closed(info, "active"))

    async def close_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """End a session, active or paused: it takes no messages until `reopen_session`. A turn that runs goes on.

        Raises:
            SessionNotFoundError: There is none.
        """
        return await self._change_facts(session_id, agent_id, lambda info: _status(info, "closed"))

    async def reopen_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Let a closed session take messages again. Another one stays as it is.

        Raises:
            SessionNotFoundError: There is none.
            TooManySessionsError: As many as are allowed are not closed.
        """

        def change(info: SessionInfo) -> Mapping[str, object]:
            return {"status": "active"} if info.status == "closed" else {}

        return await self._change_facts(session_id, agent_id, change, touched={"status": "active"})

    async def get_activity(self, session_id: str, *, agent_id: str | None = None) -> Activity:
        """Return what a session does at this moment; see `Activity`. It is found out anew, and never stored.

        Raises:
            SessionNotFoundError: There is none.
        """
        return await activity_of(self.store, await self._lookup.key(session_id, agent_id, whatever=True))

    async def is_running(self, session_id: str, *, agent_id: str | None = None) -> bool:
        """Tell whether a turn, or a change that must not meet one, holds the session at this moment.

        That may be in any process. One that was killed holds nothing.
        """
        return await self.store.is_running(await self._lookup.key(session_id, agent_id, whatever=True))

    # --- its labels ---

    async def rename_session(self, session_id: str, name: str | None, *, agent_id: str | None = None) -> SessionInfo:
        """Give a session a name of 1 to 100 characters, or none.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The name is empty, too long, or no text.
        """
        check_name(name)
        return await self._change_facts(session_id, agent_id, lambda info: _new(info, name=name))

    async def tag_session(
        self, session_id: str, *, add: Iterable[str] = (), remove: Iterable[str] = (), agent_id: str | None = None
    ) -> SessionInfo:
        """Add tags to a session and remove others. What it has or has not already makes no difference.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: A tag is no text of 1 to 100 characters, is added and removed, or is one too many.
        """
        added, removed = tags_of(add), tags_of(remove)
        if both := [tag for tag in added if tag in removed]:
            raise InvalidValueError({"tags": f"to add and to remove are both {both[0]!r:.80}"})

        def change(info: SessionInfo) -> Mapping[str, object]:
            return _new(info, tags=tuple(tag for tag in tags_of([*info.tags, *added]) if tag not in removed))

        return await self._change_facts(session_id, agent_id, change)

    async def pin_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Keep a session whatever a rule of retention says.

        Raises:
            SessionNotFoundError: There is none.
        """
        return await self._change_facts(session_id, agent_id, lambda info: _new(info, pinned=True))

    async def unpin_session(self, session_id: str, *, agent_id: str | None = None) -> SessionInfo:
        """Allow rules of retention to take a session again.

        Raises:
            SessionNotFoundError: There is none.
        """
        return await self._change_facts(session_id, agent_id, lambda info: _new(info, pinned=False))

    async def update_session_metadata(
        self, session_id: str, changes: Mapping[str, Any], *, agent_id: str | None = None
    ) -> SessionInfo:
        """Set some keys of a session's metadata, and remove those whose value is None. The others stay.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: A key is no text, or a value is not JSON; nothing was changed.
        """
        changes = metadata_changes(changes)

        def change(info: SessionInfo) -> Mapping[str, object]:
            merged = {**info.metadata, **changes}
            return _new(info, metadata={key: value for key, value in merged.items() if changes.get(key, 0) is not None})

        return await self._change_facts(session_id, agent_id, change)

    # --- data of other packages ---

    @overload
    async def get_extension(self, session_id: str, name: str, *, agent_id: str | None = None) -> JsonValue: ...

    @overload
    async def get_extension(
        self, session_id: str, name: str, kind: type[_T], *, agent_id: str | None = None
    ) -> _T | None: ...

    async def get_extension(
        self, session_id: str, name: str, kind: type[Any] | None = None, *, agent_id: str | None = None
    ) -> Any:
        """Return data that was set under a name, as plain JSON or as a value of a kind; None if there is none.

        Args:
            session_id: The session.
            name: Whose data it is, by convention the name of a package or a feature.
            kind: A pydantic model, a dataclass, or any other type that pydantic can read from JSON.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: What is there does not fit the kind.
        """
        check_extension(name)
        info = await self.store.existing(await self._lookup.key(session_id, agent_id))
        return value_of(name, info.extensions.get(name), kind)

    async def set_extension(
        self, session_id: str, name: str, value: object, *, agent_id: str | None = None
    ) -> SessionInfo:
        """Keep data with a session, under a name of its own: a pydantic model, a dataclass or plain JSON.

        It is kept as JSON in the session's file, as long as the session, whether or not anyone still knows the name.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The name is empty, or the value is not JSON; nothing was changed.
        """
        check_extension(name)
        data = json_of(name, value)
        return await self._change_facts(session_id, agent_id, lambda info: _extended(info, name, data))

    async def update_extension(
        self,
        session_id: str,
        name: str,
        change: Callable[[Any], object],
        kind: type[Any] | None = None,
        *,
        agent_id: str | None = None,
    ) -> SessionInfo:
        """Replace data by what a function makes of it, so that two at once lose nothing.

        Args:
            session_id: The session.
            name: As for `get_extension`.
            change: Called with what `get_extension` returns. It returns the new value, and None removes the data. It
                may be called more than once and in another thread, so it should do nothing else.
            kind: As for `get_extension`.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: What is there does not fit the kind, or the new value is not JSON.
        """
        check_extension(name)

        def changed(info: SessionInfo) -> Mapping[str, object]:
            return _extended(info, name, json_of(name, change(value_of(name, info.extensions.get(name), kind))))

        return await self._change_facts(session_id, agent_id, changed)

    async def remove_extension(self, session_id: str, name: str, *, agent_id: str | None = None) -> SessionInfo:
        """Remove the data under a name, if there is any.

        Raises:
            SessionNotFoundError: There is none.
        """
        return await self.set_extension(session_id, name, None, agent_id=agent_id)

    async def _change_facts(
        self,
        session_id: str,
        agent_id: str | None,
        change: _Change,
        *,
        touched: Mapping[str, object] | None = None,
    ) -> SessionInfo:
        """Change facts of a session; `touched` are those that may open it again or give it to another user."""

        def rewritten(history: History) -> History:
            facts = change(history.info)
            if "status" in facts and history.info.status == "archived":
                raise SessionArchivedError(history.info.key)
            with facts_checked():
                return history.with_facts(**facts) if facts else history

        key = await self._lookup.key(session_id, agent_id, whatever=True)
        async with self._quota.room_after(self.store, key, touched or {}):
            return self._lookup.effective(await self.store.rewrite(key, rewritten))


def _new(info: SessionInfo, **facts: object) -> Mapping[str, object]:
    """Return facts, or none if they are what the session has."""
    return facts if any(getattr(info, name) != value for name, value in facts.items()) else {}


def _status(info: SessionInfo, status: str) -> Mapping[str, object]:
    return _new(info, status=status)


def _unless_closed(info: SessionInfo, status: str) -> Mapping[str, object]:
    if info.status == "closed":
        raise SessionClosedError(info.key)
    return _status(info, status)


def _extended(info: SessionInfo, name: str, data: object) -> Mapping[str, object]:
    others = {other: value for other, value in info.extensions.items() if other != name}
    return _new(info, extensions=others if data is None else {**others, name: cast("JsonValue", data)})
