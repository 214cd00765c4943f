"""Deleted sessions, until their time is over: to be had back whole, or to be removed for good."""

from __future__ import annotations

import builtins
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agents_sessions.errors import (
    InvalidValueError,
    SessionAmbiguousError,
    SessionExistsError,
    SessionNotFoundError,
    SessionStorageError,
)
from agents_sessions.features.removal import RemovalReport, Tally
from agents_sessions.model.entries import now
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore, SetAside

_NOTE = "trash:"
"""What the note of a session begins with that was set aside by this feature. The rule follows it."""


@dataclass(frozen=True, slots=True)
class TrashedSession:
    """A session in the trash."""

    key: SessionKey
    deleted_at: datetime
    rule: str
    """Why it is here: `deleted` by someone, or the name of a rule of retention."""
    purge_after: datetime | None
    """When its time is over; None in a manager without a `trash`, which removes nothing by itself."""
    token: str
    """What tells it from others of its id."""

    @property
    def session_id(self) -> str:
        """Its id, which it gets back."""
        return self.key.session_id

    @property
    def agent_id(self) -> str:
        """The agent that it belongs to."""
        return self.key.agent_id


class Trash:
    """The trash of a store.

    Args:
        store: Where the sessions are.
        keeps: How long a session can be had back; None if this manager does not put any there.
        archive: Has the history of those that are archived.
    """

    def __init__(self, store: SessionStore, keeps: timedelta | None, archive: Archive | None = None) -> None:
        self._store = store
        self._archive = archive
        self.keeps = keeps

    async def put(self, key: SessionKey, *, lock_timeout: float | None) -> TrashedSession:
        """Put a session into the trash. Waits for a turn that runs on it.

        Raises:
            SessionNotFoundError: There is none.
            SessionBusyError: A turn runs on it and did not end in time.
            UnsupportedError: The store has no way to do it.
        """
        async with exclusive_turn(self._store, key, lock_timeout):
            return await self.put_held(key, "deleted")

    async def put_held(self, key: SessionKey, rule: str) -> TrashedSession:
        """Put a session into the trash whose turn lock the caller holds."""
        return self._trashed(await self._store.set_aside(key, _NOTE + rule))

    async def list(self, *, agent_id: str | None = None) -> builtins.list[TrashedSession]:
        """Return the sessions in the trash, the oldest deletion first."""
        aside = [each for each in await self._store.list_aside() if each.note.startswith(_NOTE)]
        return [self._trashed(each) for each in aside if agent_id in (None, each.key.agent_id)]

    async def restore(self, session: str | TrashedSession, *, agent_id: str | None = None) -> SessionInfo:
        """Put a session back, whole: by its id, the one of that id that was deleted last, or as `list` returned it.

        Its time to live begins anew, and for a while no rule of retention takes it.

        Raises:
            SessionNotFoundError: None of that id is in the trash; another process may have restored or purged it.
            SessionExistsError: A session has its id by now. Nothing was touched.
            SessionAmbiguousError: Sessions of several agents have this id; `agent_id` does not say which.
        """
        trashed = session if isinstance(session, TrashedSession) else await self._newest(session, agent_id)
        async with self._store.reserve(trashed.session_id):
            taken = await self._store.find(trashed.session_id)
            if taken:
                raise SessionExistsError(taken[0])
            try:
                restored = await self._store.bring_back(trashed.token)
            except LookupError:
                raise _not_in_trash(trashed.key) from None
        with contextlib.suppress(SessionStorageError):  # it is back, also on a disk that has no room for more
            return await self._store.rewrite(trashed.key, lambda history: history.with_facts(refreshed_at=now()))
        return restored

    async def purge(
        self, session: str | TrashedSession | None = None, *, agent_id: str | None = None, everything: bool = False
    ) -> RemovalReport:
        """Remove sessions for good: those whose time is over, all of one id, one as `list` returned it, or everything.

        A session that someone restores in just this moment is either restored, whole, or removed.

        Raises:
            SessionNotFoundError: None of that id is in the trash.
            InvalidValueError: A session and `everything` were given.
        """
        if session is not None and everything:
            raise InvalidValueError({"everything": "says more than a session: give one of the two"})
        tally = Tally()
        for trashed in await self._to_purge(session, agent_id, everything=everything):
            await self.purge_one(trashed, tally)
        return tally.report()

    async def purge_one(self, trashed: TrashedSession, tally: Tally) -> None:
        """Remove one session for good, if it is still there."""
        (size,) = await self._store.sizes([trashed.token])
        file = await self._file_of(trashed)
        if file is not None and (self._archive is None or self._archive.folder is None):
            tally.skip(trashed.key, "its history is in an archive that this manager does not know: archive=folder")
            return
        try:
            await self._store.discard(trashed.token)
        except LookupError:
            tally.skip(trashed.key, "it was restored or purged meanwhile")
            return
        if self._archive is not None and file is not None:
            await self._archive.discard(file)
        if not await self._is_used(trashed.key):
            await self._store.clear_copies(trashed.key)
        tally.remove(trashed.key, "purged", size or 0, freed=size or 0)

    async def _is_used(self, key: SessionKey) -> bool:
        """Tell whether there is another session of a key, here or in the store: copies that repairs kept may be its."""
        if any(aside.key == key for aside in await self._store.list_aside()):
            return True
        try:
            return await self._store.load(key) is not None
        except SessionStorageError:
            return True

    async def _file_of(self, trashed: TrashedSession) -> str | None:
        """Return the file of the archive that has the history of a session, if one has."""
        try:
            return (await self._store.load_aside(trashed.token)).archive
        except (LookupError, SessionStorageError):  # it is gone, or no one can tell
            return None

    async def _to_purge(
        self, session: str | TrashedSession | None, agent_id: str | None, *, everything: bool
    ) -> builtins.list[TrashedSession]:
        if isinstance(session, TrashedSession):
            return [session]
        listed = await self.list(agent_id=agent_id)
        if everything:
            return listed
        if session is None:
            return [each for each in listed if each.purge_after is not None and each.purge_after <= now()]
        found = [each for each in listed if each.session_id == session]
        if not found:
            raise _not_in_trash(session)
        return found

    async def _newest(self, session_id: str, agent_id: str | None) -> TrashedSession:
        found = [each for each in await self.list(agent_id=agent_id) if each.session_id == session_id]
        agents = sorted({each.agent_id for each in found})
        if not found:
            raise _not_in_trash(session_id)
        if len(agents) > 1:
            raise SessionAmbiguousError(session_id, tuple(agents))
        return found[-1]

    def _trashed(self, aside: SetAside) -> TrashedSession:
        over = None if self.keeps is None else aside.at + self.keeps
        return TrashedSession(aside.key, aside.at, aside.note.removeprefix(_NOTE), over, aside.token)


def _not_in_trash(session: SessionKey | str) -> SessionNotFoundError:
    return SessionNotFoundError(session, "it is not in the trash; look with manager.trash.list()")
