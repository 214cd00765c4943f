"""Take text out of conversations for good: `manager.redact`.

A store knows its own places: history, facts, sidecars (saved run states and summaries are some), copies that were set
aside or kept by a repair. Checkpoints, summaries and what was taken back are parts of the history. Whatever keeps text
anywhere else registers a `TextPlace` here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from agents_sessions.errors import InvalidValueError, PositionNotFoundError
from agents_sessions.features.branches.family import family
from agents_sessions.keys import SessionKey
from agents_sessions.model.redaction import Redaction
from agents_sessions.turns.lock import exclusive_turn

if TYPE_CHECKING:
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.redaction import FoundText
    from agents_sessions.stores.base import SessionStore


class TextPlace(Protocol):
    """Something outside of the store that keeps text of sessions: an archive, an index, exported files."""

    async def redact(self, key: SessionKey, redaction: Redaction, *, dry_run: bool) -> list[FoundText]:
        """Take text of a session out, and return where it was found; a dry run only looks."""
        ...


class RedactedPlace(BaseModel):
    """Where a text was found, and what became of it."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    kind: str
    """`history`, `facts`, `sidecar`, `set aside`, `torn copy`, or what another place calls itself."""
    name: str
    """The entry, the fact, or the file."""
    count: int
    """How often it stands there."""
    removed: bool
    """Whether it was taken out; not in a dry run, nor in a fork that was not to be touched."""


class Redactions:
    """Takes text out of sessions."""

    def __init__(self, store: SessionStore, lookup: SessionLookup, lock_timeout: float | None) -> None:
        self._store = store
        self._lookup = lookup
        self._lock_timeout = lock_timeout
        self.places: list[TextPlace] = []
        """The places outside of the store. They come first, so that one who is killed can start again."""

    async def redact(
        self,
        session_id: str,
        *,
        seq: int | None = None,
        text: str | None = None,
        replacement: str = "[removed]",
        dry_run: bool = False,
        forks: bool = False,
        agent_id: str | None = None,
    ) -> list[RedactedPlace]:
        """Take a text, or all that one entry says, out of a session: see `SessionManager.redact`."""
        _check(seq, text, replacement)
        key = await self._lookup.key(session_id, agent_id, whatever=True)
        redaction = await self._redaction(key, seq, text, replacement)
        found: list[RedactedPlace] = []
        for relative in await self._relatives(key):
            # A relative has the same entries under the same numbers only as far as both go together.
            wanted = Redaction(redaction.replacement, redaction.inside, redaction.whole)
            found += await self._redact(relative, wanted, dry_run=dry_run or not forks)
        found += await self._redact(key, redaction, dry_run=dry_run)
        if not dry_run:
            await self._store.purge()  # what was derived, such as an index, has the text too
        return found

    async def _redaction(self, key: SessionKey, seq: int | None, text: str | None, replacement: str) -> Redaction:
        if text is not None:
            return Redaction.of_text(text, replacement)
        assert seq is not None  # noqa: S101 -- checked before
        entries = await self._store.entries(key, after=seq - 1, before=seq + 1)
        if not entries:
            raise PositionNotFoundError(key, f"there is no entry {seq}")
        return Redaction.of_entries(entries, replacement)

    async def _relatives(self, key: SessionKey) -> list[SessionKey]:
        branches = await family(self._store, await self._store.existing(key))
        keys = [SessionKey(branch.agent_id, branch.id) for branch in branches]
        return [each for each in keys if each != key]

    async def _redact(self, key: SessionKey, redaction: Redaction, *, dry_run: bool) -> list[RedactedPlace]:
        if dry_run:
            found = await self._outside(key, redaction, dry_run=True)
            return _places(key, [*found, *await self._store.redact(key, redaction, dry_run=True)], removed=False)
        async with exclusive_turn(self._store, key, self._lock_timeout) as lock:
            outside = await self._outside(key, redaction, dry_run=False)
            inside = await self._store.redact(key, redaction, turn=lock)
        return _places(key, [*outside, *inside], removed=True)

    async def _outside(self, key: SessionKey, redaction: Redaction, *, dry_run: bool) -> list[FoundText]:
        found: list[FoundText] = []
        for place in self.places:
            found += await place.redact(key, redaction, dry_run=dry_run)
        return found


def _places(key: SessionKey, found: list[FoundText], *, removed: bool) -> list[RedactedPlace]:
    return [
        RedactedPlace(session_id=key.session_id, kind=kind, name=name, count=count, removed=removed)
        for kind, name, count in found
    ]


def _check(seq: int | None, text: str | None, replacement: str) -> None:
    refused = {}
    if (seq is None) == (text is None):
        refused["what is redacted"] = "must be exactly one of seq= and text="
    if text is not None and (not isinstance(text, str) or not text.strip()):
        refused["text"] = "must be a text, and not empty"
    if not isinstance(replacement, str):
        refused["replacement"] = f"must be a text, not a {type(replacement).__name__!r}"
    elif text is not None and isinstance(text, str) and text in replacement:
        refused["replacement"] = "must not hold the text that is removed"
    if refused:
        raise InvalidValueError(refused)
