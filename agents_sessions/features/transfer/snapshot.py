"""A session as it is read: its facts at one moment, and its history up to then, a page at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents_sessions.errors import SessionChangedError
from agents_sessions.run_states import RUN_STATE, STATE
from agents_sessions.stores.base import PAGE

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore

RUN_STATES = frozenset({RUN_STATE, STATE})
"""The sidecars that hold the state of a run: of a manager's turn, and of a bare session."""


def without_run_state(name: str) -> bool:
    """Tell whether a sidecar is no saved run."""
    return name not in RUN_STATES


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One session at one moment. Entries that are appended later do not belong to it."""

    store: SessionStore
    info: SessionInfo
    sidecars: Mapping[str, bytes]

    async def pages(self) -> AsyncIterator[list[Entry]]:
        """Yield the history, some entries at a time, without what only a session file needs of them.

        Raises:
            SessionChangedError: The session was rewritten meanwhile.
        """
        after, items, key = 0, 0, self.info.key
        while page := await self.store.entries(key, after=after, before=self.info.seq + 1, limit=PAGE):
            after = page[-1]["seq"]
            for entry in page:
                entry.pop("crc", None)
                entry.pop("k", None)
                entry.pop("n", None)
            items += sum("item" in entry for entry in page)
            yield page
        if items != self.info.context.items:  # a rewrite between two pages would mix two histories
            raise SessionChangedError(key, self.info.seq, (await self.store.existing(key)).seq)


async def take_snapshot(
    store: SessionStore, key: SessionKey, wanted: Callable[[str], bool] = without_run_state
) -> Snapshot:
    """Return a session as it is now, with the sidecars that are wanted.

    Raises:
        SessionNotFoundError: There is none.
    """
    info = await store.existing(key)
    sidecars = {}
    for name in filter(wanted, await store.list_sidecars(key)):
        data = await store.read_sidecar(key, name)
        if data is not None:  # else it was removed in just this moment
            sidecars[name] = data
    return Snapshot(store, info, sidecars)
