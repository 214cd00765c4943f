"""A store as one user may see it: what is another's is not there."""

import contextlib
from collections.abc import AsyncIterator, Collection, Hashable, Mapping, Sequence
from dataclasses import replace

from agents_sessions.errors import InvalidValueError, SessionExistsError, SessionNotFoundError, SessionStorageError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item
from agents_sessions.model.history import CONVERSATION, Message, Role
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.query import Page, SessionQuery
from agents_sessions.model.redaction import FoundText, Redaction
from agents_sessions.model.search import SearchHit, SearchQuery
from agents_sessions.model.spend import SessionSpend, Spend
from agents_sessions.stores.base import (
    NO_SIDECARS,
    Appended,
    Behind,
    Change,
    Entries,
    History,
    SessionStore,
    SetAside,
    TurnLock,
)


class OneUsersStore(SessionStore):
    """The sessions of one user in a store. Every operation asks whose a session is before it touches it.

    A session of another user is missing, whatever is asked; only its id is taken. What the contract adds in the base
    class goes through the operations here, so it is bound to the user as well.

    Args:
        store: The store.
        user_id: The user. A new session is his, and stays his.
    """

    is_whole = False

    def __init__(self, store: SessionStore, user_id: str) -> None:
        self._store = store
        self._user_id = user_id
        self.lock_grace = store.lock_grace

    def __repr__(self) -> str:
        return f"OneUsersStore({self._store!r}, {self._user_id!r})"

    @property
    def encrypted(self) -> bool:
        return self._store.encrypted

    # --- whose it is ---

    def _is_own(self, info: SessionInfo | None) -> bool:
        return info is not None and info.user_id == self._user_id

    async def _check(self, key: SessionKey) -> None:
        if not self._is_own(await self._store.load(key)):
            raise SessionNotFoundError(key)

    async def _new(self, info: SessionInfo) -> SessionInfo:
        """Return a new session as this user's, if no one has its id: none of another agent's may become ambiguous."""
        if info.user_id is None:
            info = info.model_copy(update={"user_id": self._user_id})
        self._check_stays(info)
        if await self._store.find(info.id):
            raise SessionExistsError(info.key)
        return info

    def _check_stays(self, info: SessionInfo) -> None:
        if info.user_id != self._user_id:
            raise InvalidValueError({"user_id": f"must be {self._user_id!r}, to whom this view is bound"})

    # --- the contract ---

    async def create(
        self, info: SessionInfo, entries: Entries = (), *, sidecars: Mapping[str, bytes] = NO_SIDECARS
    ) -> SessionInfo:
        return await self._store.create(await self._new(info), entries, sidecars=sidecars)

    async def copy(
        self, source: SessionKey, info: SessionInfo, *, before: int | None = None, behind: Behind | None = None
    ) -> SessionInfo:
        await self._check(source)
        return await self._store.copy(source, await self._new(info), before=before, behind=behind)

    async def load(self, key: SessionKey) -> SessionInfo | None:
        info = await self._store.load(key)
        return info if self._is_own(info) else None

    async def entries(
        self, key: SessionKey, *, after: int | None = None, before: int | None = None, limit: int | None = None
    ) -> list[Entry]:
        await self._check(key)
        return await self._store.entries(key, after=after, before=before, limit=limit)

    async def items(self, key: SessionKey, *, limit: int | None = None) -> list[Item]:
        await self._check(key)
        return await self._store.items(key, limit=limit)

    async def messages(self, key: SessionKey, *, limit: int, roles: Collection[Role] = CONVERSATION) -> list[Message]:
        await self._check(key)
        return await self._store.messages(key, limit=limit, roles=roles)

    async def append(
        self,
        key: SessionKey,
        entries: Sequence[Entry],
        *,
        expected_seq: int | None = None,
        turn: TurnLock | None = None,
    ) -> Appended:
        await self._check(key)
        return await self._store.append(key, entries, expected_seq=expected_seq, turn=turn)

    async def rewrite(self, key: SessionKey, change: Change, *, turn: TurnLock | None = None) -> SessionInfo:
        def of_own(history: History) -> History:
            if not self._is_own(history.info):
                raise SessionNotFoundError(key)
            after = change(history)
            self._check_stays(after.info)
            return after

        return await self._store.rewrite(key, of_own, turn=turn)

    async def redact(
        self, key: SessionKey, redaction: Redaction, *, dry_run: bool = False, turn: TurnLock | None = None
    ) -> list[FoundText]:
        await self._check(key)
        return await self._store.redact(key, redaction, dry_run=dry_run, turn=turn)

    async def start_over(self, key: SessionKey, *, turn: TurnLock | None = None) -> None:
        await self._check(key)  # of a damaged session no one can say whose it is: this raises what is wrong with it
        await self._store.start_over(key, turn=turn)

    async def move(self, key: SessionKey, agent_id: str, *, turn: TurnLock | None = None) -> SessionInfo:
        await self._check(key)
        return await self._store.move(key, agent_id, turn=turn)

    async def delete(self, key: SessionKey) -> None:
        await self._check(key)
        await self._store.delete(key)

    async def set_aside(self, key: SessionKey, note: str = "") -> SetAside:
        await self._check(key)
        return await self._store.set_aside(key, note)

    async def load_aside(self, token: str) -> SessionInfo:
        info = await self._store.load_aside(token)
        if not self._is_own(info):
            raise LookupError(f"no session was set aside as {token!r:.300}")
        return info

    async def bring_back(self, token: str) -> SessionInfo:
        await self.load_aside(token)
        return await self._store.bring_back(token)

    async def discard(self, token: str) -> None:
        await self.load_aside(token)
        await self._store.discard(token)

    async def list_aside(self) -> list[SetAside]:
        return [aside for aside in await self._store.list_aside() if await self._is_own_aside(aside.token)]

    async def _is_own_aside(self, token: str) -> bool:
        try:
            return self._is_own(await self._store.load_aside(token))
        except (LookupError, SessionStorageError):  # of one that cannot be read, no one can say whose it is
            return False

    async def sizes(self, places: Sequence[SessionKey | str]) -> list[int | None]:
        found = await self._store.sizes(places)
        return [size if await self._is_own_place(place) else None for place, size in zip(places, found, strict=True)]

    async def _is_own_place(self, place: SessionKey | str) -> bool:
        return await self._is_own_aside(place) if isinstance(place, str) else await self.load(place) is not None

    async def renew_key(self, place: SessionKey | str) -> bool:
        if not await self._is_own_place(place):
            raise SessionNotFoundError(place)
        return await self._store.renew_key(place)

    async def clear_copies(self, key: SessionKey) -> int:
        await self._check(key)
        return await self._store.clear_copies(key)

    async def read_sidecar(self, key: SessionKey, name: str) -> bytes | None:
        return await self._store.read_sidecar(key, name) if await self.load(key) is not None else None

    async def write_sidecar(self, key: SessionKey, name: str, data: bytes, *, turn: TurnLock | None = None) -> None:
        await self._check(key)
        await self._store.write_sidecar(key, name, data, turn=turn)

    async def list_sidecars(self, key: SessionKey) -> list[str]:
        return await self._store.list_sidecars(key) if await self.load(key) is not None else []

    async def delete_sidecar(self, key: SessionKey, name: str, *, turn: TurnLock | None = None) -> bool:
        return await self.load(key) is not None and await self._store.delete_sidecar(key, name, turn=turn)

    @contextlib.asynccontextmanager
    async def turn_lock(self, key: SessionKey, timeout: float | None = None) -> AsyncIterator[TurnLock]:
        await self._check(key)
        async with self._store.turn_lock(key, timeout) as lock:
            yield lock

    async def is_running(self, key: SessionKey) -> bool:
        return await self.load(key) is not None and await self._store.is_running(key)

    @contextlib.asynccontextmanager
    async def reserve(self, session_id: str) -> AsyncIterator[None]:
        async with self._store.reserve(session_id):
            yield

    def place(self, key: SessionKey) -> Hashable:
        return self._store.place(key)

    # --- many sessions ---

    async def scan(self, agent_id: str | None = None) -> AsyncIterator[SessionInfo]:
        async for info in self._store.scan(agent_id):
            if self._is_own(info):
                yield info

    async def find(self, session_id: str) -> list[SessionKey]:
        return [key for key in await self._store.find(session_id) if await self.load(key) is not None]

    async def query(self, query: SessionQuery) -> Page[SessionInfo]:
        if query.user_id not in (None, self._user_id):
            return Page(())
        page = await self._store.query(own := self._own(query))
        return Page(page, _translated(page.next_cursor, own, query))

    async def every(self, query: SessionQuery) -> AsyncIterator[SessionInfo]:
        if query.user_id in (None, self._user_id):
            async for info in self._store.every(self._own(query)):
                yield info

    async def count(self, query: SessionQuery) -> int:
        return await self._store.count(self._own(query)) if query.user_id in (None, self._user_id) else 0

    async def spend_of(self, info: SessionInfo) -> Spend:
        await self._check(info.key)
        return await self._store.spend_of(info)

    async def spend(self, query: SessionQuery) -> AsyncIterator[SessionSpend]:
        if query.user_id in (None, self._user_id):
            async for session in self._store.spend(self._own(query)):
                yield session

    async def search(self, query: SearchQuery) -> Page[SearchHit]:
        if query.sessions.user_id not in (None, self._user_id):
            return Page(())
        window, place = query.position()
        own = replace(query, sessions=self._own(query.sessions), cursor=None)
        if query.cursor is not None:
            own = replace(own, cursor=own.cursor_at(window, place))
        page = await self._store.search(own)
        if page.next_cursor is None:
            return page
        return Page(page, query.cursor_at(*replace(own, cursor=page.next_cursor).position()))

    async def purge(self) -> None:
        await self._store.purge()

    def _own(self, query: SessionQuery) -> SessionQuery:
        """Return a question about the sessions of this user, from the same place on."""
        place = query.position()
        own = replace(query, user_id=self._user_id, cursor=None)
        return own if place is None else replace(own, cursor=own.cursor_at(place))


def _translated(cursor: str | None, own: SessionQuery, query: SessionQuery) -> str | None:
    """Return a cursor of one question as the same place in the answer to another."""
    place = None if cursor is None else replace(own, cursor=cursor).position()
    return None if place is None else query.cursor_at(place)
