"""Read what was said and done in sessions."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.time_travel import TimeTravel
from agents_sessions.manager.checks import check_choice, check_limit
from agents_sessions.model.entries import item_entry
from agents_sessions.model.history import CONVERSATION, HistoryEntry, Message, Role, messages, typed
from agents_sessions.turns.positions import Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.turn_list import TurnInfo
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.turn import Turns


class HistoryFacade:
    """What a manager shows of histories, what it adds to them, and how it goes back in them."""

    store: SessionStore
    _lookup: SessionLookup
    _turns: Turns
    _lock_timeout: float | None

    async def add_message(
        self,
        session_id: str,
        text: str,
        *,
        role: Literal["user", "assistant"] = "user",
        agent_id: str | None = None,
    ) -> Message:
        """Add a message to the history without asking any model, and return it. Waits for a turn that runs.

        The next turn shows it to the model: a note of a colleague, or an answer that a person wrote.

        Raises:
            SessionNotFoundError, SessionPausedError, SessionClosedError: The session takes no messages.
            SessionBusyError: A turn runs on it and did not end in time.
            ApprovalPendingError: Tool calls of the last turn wait for approval; a message must not come between.
            InvalidValueError: The text is empty or none, or the role is neither `user` nor `assistant`.
        """
        check_choice("role", role, ("user", "assistant"))
        if not isinstance(text, str) or not text.strip():
            raise InvalidValueError({"text": "must be a text that is not empty"})
        key = await self._lookup.key(session_id, agent_id)
        added = await self._turns.add(key, item_entry({"role": role, "content": text}), self._lock_timeout)
        return messages(added.entries)[0]

    async def get_history(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[HistoryEntry]:
        """Return the whole history in order: items, handoffs, usage, the ends of turns, and what was done to it.

        What was taken back and what a summary stands for is all there: `info.context.view` says which is which. With a
        `limit`, the oldest entries beyond `after`, so that a poller misses none; without `after`, the newest ones.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            after: Only entries with a `seq` above this one.
            before: Only entries with a `seq` below this one.
            limit: At most so many entries.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The limit is negative.
        """
        check_limit(limit)
        key = await self._lookup.key(session_id, agent_id)
        return [typed(entry) for entry in await self.store.entries(key, after=after, before=before, limit=limit)]

    async def follow(
        self, session_id: str, *, agent_id: str | None = None, after: int | None = None
    ) -> AsyncIterator[HistoryEntry]:
        """Yield entries as they are stored, whoever stores them, until you stop: for a second window, or a log.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            after: Begin behind the entry with this `seq`; without it, with what is new.

        Raises:
            SessionNotFoundError: There is none, or no longer.
        """
        key = await self._lookup.key(session_id, agent_id)
        async with contextlib.aclosing(self.store.follow(key, after=after)) as entries:
            async for entry in entries:
                yield typed(entry)

    async def get_recent_messages(
        self,
        session_id: str,
        *,
        agent_id: str | None = None,
        limit: int = 50,
        roles: Collection[Role] = CONVERSATION,
    ) -> list[Message]:
        """Return the newest messages, oldest first. The cost grows with `limit` alone.

        Where an agent stops at a tool (`tool_use_behavior`), what the turn answered is a message of the assistant.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            limit: At most so many messages.
            roles: Whose: by default of `user` and `assistant`; `system` and `developer` instruct the model.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The limit is negative, or no message has such a role.
        """
        check_limit(limit)
        for role in roles:
            check_choice("roles", role, get_args(Role))
        key = await self._lookup.key(session_id, agent_id)
        return await self.store.messages(key, limit=limit, roles=roles)

    async def get_turns(
        self, session_id: str, *, agent_id: str | None = None, limit: int | None = None, taken_back: bool = False
    ) -> list[TurnInfo]:
        """Return the turns of a history in order: id, first words, status, agent, usage and time of each.

        With a `limit` the newest ones; the cost grows with them alone. Where entries have no turn id, because a bare
        session wrote them, a turn begins at a user message.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            limit: At most so many turns.
            taken_back: Also those that an undo or a rewind has taken back.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: The limit is negative.
        """
        check_limit(limit)
        key = await self._lookup.key(session_id, agent_id)
        return await self._time_travel.turns(key, limit, taken_back=taken_back)

    async def undo(self, session_id: str, *, turns: int = 1, agent_id: str | None = None) -> list[TurnInfo]:
        """Take the newest turns back, with their handoffs, and return them. What they have cost stays spent.

        Neither the model nor `get_recent_messages` sees them any more; `get_history` does, and `redo` brings them back
        until the next turn. What awaits approval is ended. A failed turn can be taken back too.

        Raises:
            NothingToUndoError: There are fewer turns.
            SessionBusyError: A turn runs on it and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        return await self._time_travel.undo(await self._lookup.key(session_id, agent_id), turns)

    async def redo(self, session_id: str, *, agent_id: str | None = None) -> list[TurnInfo]:
        """Bring back what the newest undo, rewind or removal has taken back, and return the turns of it.

        Raises:
            NothingToRedoError: Nothing was taken back, or something was said since.
            SessionBusyError, SessionNotFoundError: See `undo`.
        """
        return await self._time_travel.redo(await self._lookup.key(session_id, agent_id))

    async def rewind(
        self,
        session_id: str,
        *,
        turn: str | None = None,
        seq: int | None = None,
        checkpoint: str | None = None,
        agent_id: str | None = None,
    ) -> list[TurnInfo]:
        """Take back all turns behind a position, as `undo` does, and return them; none if there are none.

        Args:
            session_id: The session.
            turn: The last turn that stays.
            seq: The number of an entry: the turn that it is part of stays, whole. 0 is the beginning.
            checkpoint: The id of a checkpoint.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            InvalidValueError: Not exactly one position is given.
            PositionNotFoundError, CheckpointNotFoundError: There is none.
            PositionTakenBackError: It was taken back itself: `branches.fork` makes a session of it.
            SessionBusyError, SessionNotFoundError: See `undo`.
        """
        key = await self._lookup.key(session_id, agent_id)
        return await self._time_travel.rewind(key, Position(turn, seq, checkpoint))

    async def remove(self, session_id: str, seq: int, *, agent_id: str | None = None) -> list[int]:
        """Take one item out of what is seen, such as a picture that the model refuses; return all that went.

        Its partner goes with it: a call with its output, a reasoning item with what it led to. `redo` brings them back.

        Raises:
            PositionNotFoundError: There is no entry of this number, or it was taken back.
            InvalidValueError: It is no item.
            TooManyError: A thousand items were taken out one by one.
            SessionBusyError, SessionNotFoundError: See `undo`.
        """
        return await self._time_travel.remove(await self._lookup.key(session_id, agent_id), seq)

    @cached_property
    def _time_travel(self) -> TimeTravel:
        return TimeTravel(self.store, self._lock_timeout)
