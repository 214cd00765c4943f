"""Shorten what the model sees of a history: a summary in the place of the older turns. The originals stay as they are.

It is one view record, stored under the lock of the session's turns together with what the summary has cost.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from agents_sessions.errors import SessionConflictError
from agents_sessions.model.entries import record_entry
from agents_sessions.model.pairs import boundary
from agents_sessions.model.tokens import estimated_tokens
from agents_sessions.model.turn_list import spans
from agents_sessions.model.view import NOTHING_HIDDEN, View, kept, summary_entry
from agents_sessions.turns.ends import awaits_approval
from agents_sessions.turns.events import Compacted, CompactionFailed
from agents_sessions.turns.summarising import marked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents_sessions.keys import SessionKey
    from agents_sessions.model.entries import Entry, Item
    from agents_sessions.model.info import Compaction, SessionInfo
    from agents_sessions.stores.base import SessionStore, TurnLock
    from agents_sessions.turns.events import Listeners
    from agents_sessions.turns.summarising import Summarised, Summarisers

logger = logging.getLogger("agents_sessions")


class Shortened(NamedTuple):
    """What a compaction has done."""

    until: int
    """The model sees the summary in the place of all items up to this number."""
    items: int
    """How many items it no longer sees."""
    summary: str


@dataclass(frozen=True, slots=True)
class Compactor:
    """Shortens one session, whose lock is held."""

    store: SessionStore
    lock: TurnLock
    summarisers: Summarisers

    async def compact_if_full(
        self, settings: Compaction, turn: str, message: Sequence[Item], listeners: Listeners
    ) -> None:
        """Shorten what the model sees if it has grown too long for a turn with this message.

        If that fails, the turn goes on with the history as it is. A warning in the log and an event say so.
        """
        key = self.lock.key
        try:
            info = await self.store.existing(key)
            if await self._tokens(info, message) < settings.at_tokens:
                return
            done = await self.compact(info, settings.keep_turns, settings.summariser)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it does not keep the message from its answer
            logger.warning("session %r of agent %r was not shortened: %s", key.session_id, key.agent_id, _told(error))
            await listeners.tell(CompactionFailed(key, turn, error))
            return
        if done is not None:
            logger.info("session %r of agent %r was shortened: %d items", key.session_id, key.agent_id, done.items)
            await listeners.tell(Compacted(key, turn, done.until, done.items))

    async def compact(self, info: SessionInfo, keep_turns: int, summariser: object) -> Shortened | None:
        """Put a summary in the place of all but the newest turns; return None if there is nothing to sum up.

        Raises:
            SummariserError: There is no summary.
            SessionConflictError: Someone has taken items away while it was written.
        """
        key = self.lock.key
        view = info.context.view or NOTHING_HIDDEN
        entries = await self.store.entries(key, after=view.compacted)
        old = _before_the_newest(kept(entries, view), max(keep_turns, awaits_approval(info)))
        count = sum("item" in entry for entry in old)
        if not count:
            return None
        made = await self.summarisers.ask(summariser, info, old, summary_entry(entries, view))
        until = old[-1]["seq"]
        heading = f"Summary of the conversation until {old[-1]['at'][:16]}, in the place of {count} items"
        await self._store(info, View(view.hidden, until), marked(heading, made.text), made)
        return Shortened(until, count, made.text)

    async def _store(self, info: SessionInfo, view: View, summary: Item, made: Summarised) -> None:
        now = await self.store.existing(info.key)
        if now.context.view != info.context.view or now.context.items < info.context.items:
            raise SessionConflictError(info.key, info.seq, now.seq)
        record = view.record("compaction")
        record["summary"] = summary
        spent = [record_entry({"type": "usage", "requests": made.requests})] if made.requests else []
        await self.store.append(info.key, [*spent, record_entry(record)], expected_seq=now.seq, turn=self.lock)

    async def _tokens(self, info: SessionInfo, message: Sequence[Item]) -> int:
        """Return about how many tokens the next request has."""
        known = info.context.context_tokens
        if not known:
            return estimated_tokens([*await self.store.items(info.key), *message])
        return round(known) + estimated_tokens([*await _items_since_request(self.store, info.key), *message])


async def _items_since_request(store: SessionStore, key: SessionKey) -> list[Item]:
    """Return the items behind the newest model request: it has counted its own answer."""
    count = 8
    while True:
        entries = await store.entries(key, limit=count)
        places = [place for place, entry in enumerate(entries) if _has_request(entry)]
        if places or len(entries) < count:
            since = entries[places[-1] + 1 :] if places else entries
            return [entry["item"] for entry in since if "item" in entry]
        count *= 4


def _has_request(entry: Entry) -> bool:
    record = entry.get("record")
    return record is not None and record["type"] == "usage" and any(not row.get("nested") for row in record["requests"])


def _before_the_newest(entries: list[Entry], turns: int) -> list[Entry]:
    """Return what stands before the newest turns, up to where a cut separates nothing that belongs together."""
    found = spans(entries)
    if len(found) <= turns:
        return []
    first = found[-turns].first if turns else found[-1].last + 1
    items = [entry for entry in entries if "item" in entry]
    place = sum(entry["seq"] < first for entry in items)
    cut = boundary([entry["item"] for entry in items], place)
    end = first if cut == place else items[cut]["seq"]
    return [entry for entry in entries if entry["seq"] < end]


def _told(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
