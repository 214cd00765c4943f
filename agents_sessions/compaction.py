"""Replace the newest items of a session by their summary, if they are still there.

The SDK's compaction wrapper (openai-agents 0.24) reads a session, asks a model for a summary, which takes seconds, and
replaces what it has read. Whatever was stored, cleared or edited in these seconds must win over the summary. So the SDK
asks a session for `_get_compaction_snapshot`, which is private: `tests/test_compaction.py` fails if it goes.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, item_entry
from agents_sessions.stores.base import History, SessionStore

IsStale = Callable[[Item], bool]
"""Tells whether an item that was not read may go too, as the oldest one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest items of a session, and the one way to replace them. The SDK asks for these three names."""

    items: list[Item]
    complete: bool
    """Whether the session has no older ones."""
    replace_suffix: Callable[[int, list[Item]], Awaitable[bool]]
    """Put other items in the place of those from an index on; tells whether they were still the newest."""


async def newest_items(store: SessionStore, key: SessionKey, count: int) -> tuple[list[Entry], bool]:
    """Return the newest `count` entries that hold an item, and whether they are all.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    asked = count + 1
    while True:
        entries = await store.entries(key, limit=asked)
        found = [entry for entry in entries if "item" in entry]
        if len(found) > count or len(entries) < asked:
            return found[max(0, len(found) - count) :], len(found) <= count
        asked *= 4


def with_suffix(history: History, read: Sequence[Entry], output: Sequence[Item], is_stale: IsStale | None) -> History:
    """Return a history with `output` in the place of the items that were read, or the same one if they have changed.

    Records stay where they are: what was spent is not undone by a summary.
    """
    places = [place for place, entry in enumerate(history.entries) if "item" in entry]
    first = len(places) - len(read)
    suffix = [history.entries[place] for place in places[max(0, first) :]]
    if not read or [_identity(entry) for entry in suffix] != [_identity(entry) for entry in read]:
        return history
    stale = _count_stale(history.entries, places[:first], is_stale)
    gone = {*places[:stale], *places[first:]}
    kept = [entry for place, entry in enumerate(history.entries) if place not in gone]
    return history.with_entries([*kept, *map(item_entry, output)])


def _identity(entry: Entry) -> tuple[int, Item]:
    return entry["seq"], entry["item"]


def _count_stale(entries: Sequence[Entry], places: Sequence[int], is_stale: IsStale | None) -> int:
    """Return how many of the oldest items may go, up to the first that may not."""
    if is_stale is None:
        return 0
    return next((n for n, place in enumerate(places) if not is_stale(entries[place]["item"])), len(places))
