"""Replace the newest items of a session by their summary, if they are still there.

The SDK's compaction wrapper (openai-agents 0.24) reads a session, asks a model for a summary, which takes seconds, and
replaces what it has read. Whatever was stored, cleared or edited in these seconds must win over the summary. So the SDK
asks a session for `_get_compaction_snapshot`, which is private: `tests/test_compaction.py` fails if it goes.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agents_sessions.keys import SessionKey
from agents_sessions.model.entries import Entry, Item, item_entry, record_entry
from agents_sessions.model.view import View, shown, view_of
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
    """Return the newest `count` entries with an item that the model sees, and whether they are all.

    Raises:
        SessionNotFoundError: There is no such session.
    """
    asked = count + 1
    while True:
        entries = await store.entries(key, limit=asked)
        found = shown(entries)
        if len(found) > count or len(entries) < asked:
            return found[max(0, len(found) - count) :], len(found) <= count
        asked *= 4


def with_suffix(history: History, read: Sequence[Entry], output: Sequence[Item], is_stale: IsStale | None) -> History:
    """Return a history with `output` in the place of the items that were read, or the same one if they have changed.

    Records stay where they are: what was spent is not undone by a summary. So does all that the model does not see.
    """
    seen = shown(history.entries)
    first = len(seen) - len(read)
    suffix = seen[max(0, first) :]
    if not read or [_identity(entry) for entry in suffix] != [_identity(entry) for entry in read]:
        return history
    stale = _count_stale(seen[:first], is_stale)
    return history.with_entries([*without(history.entries, [*seen[:stale], *suffix]), *map(item_entry, output)])


def without(entries: Sequence[Entry], gone: Sequence[Entry]) -> list[Entry]:
    """Return a history without some of the entries that the model sees.

    If a summary goes, the model sees neither it nor what it stands for; people go on seeing that.
    """
    numbers = {entry["seq"] for entry in gone}
    view = view_of(entries)
    rest = [entry for entry in entries if "record" in entry or entry["seq"] not in numbers]
    if not view.summary or view.summary not in numbers:
        return rest
    return [*rest, record_entry(View(view.hidden, view.compacted).record("edit"))]


def _identity(entry: Entry) -> tuple[int, Item]:
    return entry["seq"], entry["item"]


def _count_stale(entries: Sequence[Entry], is_stale: IsStale | None) -> int:
    """Return how many of the oldest items may go, up to the first that may not."""
    if is_stale is None:
        return 0
    return next((n for n, entry in enumerate(entries) if not is_stale(entry["item"])), len(entries))
