"""The SDK's `Session` protocol over a store: what `Runner.run(session=…)` takes.

Rules that come from the SDK (openai-agents 0.24):

* `get_items(limit)` returns the newest items in order; no more than zero for a limit of zero or less; the
  argument wins over `session_settings`.
* The Runner passes its live `RunContextWrapper` to sessions whose four methods all accept a keyword named
  `wrapper`. From it a bare session learns what a run has spent.
* The Runner does not shield session calls from cancellation; the store does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakKeyDictionary

from agents.memory import SessionABC, SessionSettings
from agents.memory.session_settings import coerce_session_settings

from agents_sessions.compaction import IsStale, Snapshot, newest_items, with_suffix, without
from agents_sessions.concurrency.settle import Done, settle
from agents_sessions.errors import InvalidItemError, SessionCorruptedError, SessionExistsError, SessionNotFoundError
from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, item_entry, record_entry
from agents_sessions.model.ids import check_id, check_key
from agents_sessions.model.info import SessionInfo
from agents_sessions.model.lossless_json import check_json, decode_json, encode_json
from agents_sessions.model.undo import without_newest_item
from agents_sessions.model.view import shown
from agents_sessions.run_states import STATE, delete_run_states
from agents_sessions.shared_usage import Run, enter_run, outer_run, run_of
from agents_sessions.signatures import remember_signatures
from agents_sessions.stores.file.limits import MAX_ITEM_BYTES, MAX_SESSION_BYTES
from agents_sessions.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Sequence
    from pathlib import Path
    from types import TracebackType

    from agents.items import TResponseInputItem
    from agents.run_context import RunContextWrapper

    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.entries import Item
    from agents_sessions.stores.base import Change, Durability, History, SessionStore, TurnLock
    from agents_sessions.stores.encryption.keyring import KeyProvider

_SESSION_METHODS = ("get_items", "add_items", "pop_item", "clear_session")
"""The four methods of the SDK's protocol."""


@remember_signatures
class StoredSession(SessionABC):
    """One session of a store, as the SDK's `Session`.

    Args:
        store: Where it is kept.
        key: Its agent and its id.
        session_settings: The SDK's settings: `SessionSettings(limit=…)` or a dict of the same.
        create: Whether the first item makes the session if there is none. Without it, a missing session is a
            `SessionNotFoundError`.

    Raises:
        SessionIdError: The id of the session or of its agent is invalid.
    """

    _turn: TurnLock | None = None
    """The lock of the turn that this session stores for, if it stores for one."""

    _closed = False

    def __init__(
        self,
        store: SessionStore,
        key: SessionKey,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        create: bool = True,
    ) -> None:
        check_key(key)
        self._key: SessionKey | None = key
        self._set_up(store, key.session_id, session_settings, create=create)

    def _set_up(
        self,
        store: SessionStore,
        session_id: str,
        session_settings: SessionSettings | dict[str, Any] | None,
        *,
        create: bool,
    ) -> None:
        self.store = store
        self.session_id = session_id
        self.session_settings: SessionSettings | None = (
            SessionSettings() if session_settings is None else coerce_session_settings(session_settings)
        )
        self._create = create
        self._counted: WeakKeyDictionary[RunContextWrapper[Any], Run] = WeakKeyDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> Awaitable[None]:
        """Take no more calls. Some sessions of the SDK are closed by a call, others by an await: both do here.

        It can be called again. What is stored stays, and what has begun comes to its end.
        """
        self._closed = True
        return Done()

    def __repr__(self) -> str:
        of_agent = "" if self._key is None else f", agent_id={self._key.agent_id!r}"
        return f"{type(self).__name__}({self.session_id!r}{of_agent})"

    @property
    def key(self) -> SessionKey:
        """The session's agent and id.

        Raises:
            RuntimeError: A manager has yet to look up the agent: ``await`` the session first.
        """
        if self._key is None:
            raise RuntimeError(
                f"the agent of session {self.session_id!r} is not looked up yet; await the session first"
            )
        return self._key

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> list[TResponseInputItem]:
        """Return the history, or its newest `limit` items, in order."""
        if wrapper is not None:
            self._enter_run(wrapper, await self._find_key())
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        try:
            items = await self.store.items(await self._find_key(), limit=None if limit is None else max(0, limit))
        except SessionNotFoundError:
            if not self._create:
                raise
            items = []
        return cast("list[TResponseInputItem]", items)

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Store items at the end of the history, all of them or none.

        What the run has spent since the call before is stored with them, unless it is inside a run on this very
        session: that one stores it. Items inside a managed turn belong to the turn.

        Raises:
            InvalidItemError: An item cannot be stored as JSON without loss.
        """
        self._check_open()
        entries = [item_entry(item) for item in cast("list[Item]", items)]
        if wrapper is not None and (outer := outer_run(wrapper, self.store.place(await self._find_key()))) is not None:
            agent = None if outer.turn is None else str(getattr(wrapper, "tool_name", "nested"))
            entries = [item_entry(entry["item"], agent=agent, turn=outer.turn) for entry in entries]
        elif wrapper is not None:
            # A run that the session sees here for the first time was resumed; its earlier usage is stored.
            run = self._enter_run(wrapper, await self._find_key())
            if run.spent:
                entries.append(record_entry({"type": "usage", "requests": list(run.spent)}))
                await settle(self._append_spent(entries, run, len(run.spent)))
                return
        if entries:
            await self._append(entries)

    async def pop_item(self, *, wrapper: RunContextWrapper[Any] | None = None) -> TResponseInputItem | None:
        """Remove the newest item that is seen and return it, or None if there is none.

        A handoff goes with what asked for it. What was taken back before stays as it is.
        """
        popped: Item | None = None

        def change(history: History) -> History:
            nonlocal popped
            popped = None  # the store may call this again
            seen = shown(history.entries)
            if not seen:
                return history
            popped = seen[-1]["item"]
            return history.with_entries(_without_newest(history.entries, seen[-1]))

        await self._rewrite(change)
        return cast("TResponseInputItem | None", popped)

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Remove the whole history, and what awaits approval. The session and its facts stay.

        It is also the way out of damage: the damaged file is kept aside, with a warning in the log.

        Raises:
            SessionStorageError: What is there is not damaged, but of a newer version or another codec, a link, or on a
                disk that fails. It was not touched.
        """
        key = await self._find_key()
        try:
            await self._rewrite(lambda history: history.with_entries([]) if history.entries else history)
        except SessionCorruptedError:
            await self.store.start_over(key, turn=self._turn)
        await delete_run_states(self.store, key, turn=self._turn)

    async def info(self) -> SessionInfo:
        """Return what the session is and its running totals.

        Raises:
            SessionNotFoundError: Nothing was stored in it yet.
        """
        key = await self._find_key()
        try:
            return await self.store.existing(key)
        except SessionNotFoundError:
            if not self._create:
                raise
            raise SessionNotFoundError(key, "nothing was stored in it yet: its first item makes it") from None

    async def load_state_json(self) -> dict[str, Any] | None:
        """Return the run state that was saved beside the session, or None.

        Raises:
            SessionCorruptedError: What is kept there is not a run state.
        """
        key = await self._find_key()
        data = await self.store.read_sidecar(key, STATE)
        if data is None:
            return None
        try:
            state = decode_json(data)
        except ValueError as error:
            reason = str(error)
        else:
            if isinstance(state, dict):
                return state
            reason = "not an object"
        raise SessionCorruptedError(key, STATE, f"the run state cannot be used: it is {reason}")

    async def save_state_json(self, state: dict[str, Any] | None) -> None:
        """Keep a run state (`RunState.to_json()`) beside the session, for another process; None removes it.

        Saved before the first item, it makes the session.

        Raises:
            InvalidItemError: It cannot be stored as JSON without loss.
            SessionNotFoundError: A session of a manager is gone.
        """
        if state is None:
            await self.store.delete_sidecar(await self._find_key(), STATE, turn=self._turn)
            return
        try:
            check_json(state)
        except ValueError as error:
            raise InvalidItemError("the run state", str(error)) from None
        key, data = await self._find_key(), encode_json(state)
        try:
            await self.store.write_sidecar(key, STATE, data, turn=self._turn)
        except SessionNotFoundError:
            if not self._create:
                raise
            await self._create_with([])
            await self.store.write_sidecar(key, STATE, data, turn=self._turn)

    async def _atomic_replace_items(self, items: list[TResponseInputItem]) -> bool:
        """Replace the history in one step, or return False. The SDK's compaction asks, so that no crash finds a gap.

        It asks so for what an application compacts by hand, and means all that is seen, whatever came meanwhile.
        """
        if self._has_methods_of_its_own():
            return False
        entries = [item_entry(item) for item in cast("list[Item]", items)]

        def change(history: History) -> History:
            return history.with_entries([*without(history.entries, shown(history.entries)), *entries])

        await self._rewrite(change)
        return True

    async def _get_compaction_snapshot(self, limit: int, *, prune_prefix: IsStale | None = None) -> Snapshot | None:
        """Return the newest `limit` items, to be replaced only while they are the newest. The SDK's compaction asks."""
        if self._has_methods_of_its_own():
            return None
        try:
            read, complete = await newest_items(self.store, await self._find_key(), max(0, limit))
        except SessionNotFoundError:
            if not self._create:
                raise
            read, complete = [], True

        async def replace_suffix(start: int, output: list[Item]) -> bool:
            replaced = False

            def change(history: History) -> History:
                nonlocal replaced
                after = with_suffix(history, read[start:], output, prune_prefix)
                replaced = after is not history
                return after

            await self._rewrite(change)
            return replaced

        return Snapshot([entry["item"] for entry in read], complete, replace_suffix)

    def _has_methods_of_its_own(self) -> bool:
        """Tell whether a subclass may change what is stored. Then nothing goes past its methods."""
        return any(getattr(type(self), name) is not getattr(StoredSession, name) for name in _SESSION_METHODS)

    def _enter_run(self, wrapper: RunContextWrapper[Any], key: SessionKey, turn: str | None = None) -> Run:
        """Return the account of a run, and note that the current task works for it."""
        run = self._counted.get(wrapper)
        if run is None or run.usage is not wrapper.usage:
            run = self._counted[wrapper] = run_of(wrapper, self.store.place(key), turn)
        enter_run(run)
        return run

    async def _find_key(self) -> SessionKey:
        """Return the session's key. Every operation begins here.

        Raises:
            RuntimeError: The session was closed.
        """
        self._check_open()
        return self.key

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"{self!r} is closed; make another one, what is stored is still there")

    async def _append_spent(self, entries: Sequence[Entry], run: Run, count: int) -> None:
        """Store entries with what a run has spent. A caller must settle this: cut in two, it counts the usage again."""
        await self._append(entries)
        del run.spent[:count]

    async def _append(self, entries: Sequence[Entry]) -> None:
        try:
            await self.store.append(await self._find_key(), entries, turn=self._turn)
        except SessionNotFoundError:
            if not self._create:
                raise
            await self._create_with(entries)

    async def _create_with(self, entries: Sequence[Entry]) -> None:
        info = SessionInfo(id=self.key.session_id, agent_id=self.key.agent_id)
        try:
            await self.store.create(info, entries)
        except SessionExistsError:  # someone else stored a first item in between
            await self.store.append(self.key, entries, turn=self._turn)

    async def _rewrite(self, change: Change) -> None:
        try:
            await self.store.rewrite(await self._find_key(), change, turn=self._turn)
        except SessionNotFoundError:
            if not self._create:
                raise


class FileSession(StoredSession):
    """A session in a readable, crash-safe file: `<root>/<agent_id>/<session_id>.json`.

    Args:
        session_id: Any non-empty text; it becomes the name of the file.
        agent_id: The folder of the file: the agent, team or application that the session belongs to.
        root: The folder of all sessions, by default `sessions` in the working directory.
        session_settings: The SDK's settings: `SessionSettings(limit=…)` or a dict of the same.
        durability: `full` survives a power cut, `process` the death of the process only.
        max_item_bytes: The largest item, as JSON; None for no limit. See `FileStore`.
        max_session_bytes: The largest file that items are added to; None for no limit.
        encryption: The keys that it is encrypted under: a `KeyRing`. A plain session is refused then.

    Raises:
        SessionIdError: An id is empty or holds NUL.
    """

    def __init__(
        self,
        session_id: str,
        *,
        agent_id: str = "default",
        root: str | os.PathLike[str] = "sessions",
        session_settings: SessionSettings | dict[str, Any] | None = None,
        durability: Durability = "full",
        max_item_bytes: int | None = MAX_ITEM_BYTES,
        max_session_bytes: int | None = MAX_SESSION_BYTES,
        encryption: KeyProvider | None = None,
    ) -> None:
        from agents_sessions.stores.file.store import FileStore  # here: it needs POSIX, and other sessions do not

        store = FileStore(
            root,
            durability=durability,
            max_item_bytes=max_item_bytes,
            max_session_bytes=max_session_bytes,
            encryption=encryption,
        )
        super().__init__(store, SessionKey(agent_id, session_id), session_settings=session_settings)
        self.path: Path = store.path(self.key)
        """The session's file, which its first item makes."""


class MemorySession(StoredSession):
    """A session in the memory of this object, forgotten with it. Two of one id share nothing.

    Args:
        session_id: Any non-empty text.
        session_settings: The SDK's settings: `SessionSettings(limit=…)` or a dict of the same.

    Raises:
        SessionIdError: The id is empty or holds NUL.
    """

    def __init__(self, session_id: str, *, session_settings: SessionSettings | dict[str, Any] | None = None) -> None:
        super().__init__(MemoryStore(), SessionKey("default", session_id), session_settings=session_settings)


class ManagedSession(StoredSession):
    """A session of a manager, known by its id. ``await`` it to learn at once whether it exists.

    Args:
        lookup: What finds its agent, when that is first needed.
        store: Where it is kept.
        session_id: Its id.
        agent_id: Its agent, if known.
        session_settings: The SDK's settings.

    Raises:
        SessionIdError: An id is invalid.
    """

    def __init__(
        self,
        lookup: SessionLookup,
        store: SessionStore,
        session_id: str,
        *,
        agent_id: str | None = None,
        session_settings: SessionSettings | dict[str, Any] | None = None,
    ) -> None:
        check_id(session_id)
        if agent_id is not None:
            check_id(agent_id, what="agent_id")
        self._key = None if agent_id is None else SessionKey(agent_id, session_id)
        self._lookup = lookup
        self._set_up(store, session_id, session_settings, create=False)

    def __await__(self) -> Generator[Any, None, ManagedSession]:
        yield from self.info().__await__()
        return self

    async def _find_key(self) -> SessionKey:
        self._check_open()
        if self._key is None:
            self._key = await self._lookup.key(self.session_id)
        return self._key


def _without_newest(entries: list[Entry], newest: Entry) -> list[Entry]:
    """Return a history without the newest item that is seen, which may be a summary."""
    place = next(place for place, entry in enumerate(entries) if entry["seq"] == newest["seq"])
    return without_newest_item(entries, place) if "item" in entries[place] else without(entries, [newest])
