"""Bring home what a branch has said: one marked block at the end of the target, and a note in both sessions.

What the branch has cost stays its own: its usage, its handoffs and the ends of its turns do not come along, so nothing
is counted twice. Numbers are given anew, and ids of calls and items that the target has already are made unique.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from agents_sessions.errors import InvalidValueError, NothingToMergeError, PositionNotFoundError
from agents_sessions.features.branches.comparing import sides
from agents_sessions.keys import SessionKey
from agents_sessions.model.calls import call_id_of
from agents_sessions.model.entries import item_entry, record_entry, timestamp
from agents_sessions.model.pairs import OUTPUTS, with_partners
from agents_sessions.turns.summarising import marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agents_sessions.model.entries import Entry, Item, MergeRecord
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.summarising import Summarised

MergeStrategy = Literal["summary", "select", "append"]


class Merged(BaseModel):
    """What a merge has done."""

    model_config = ConfigDict(frozen=True)

    id: str
    """The merge, as both sessions have it on record."""
    seq: int
    """The number of its block in the target."""
    range: tuple[int, int]
    """First and last number, in the source, of what was merged."""
    items: int
    """How many items the target has gained, the block included."""


class MergePlan(NamedTuple):
    """What is to be merged."""

    record: MergeRecord
    source: list[Entry]
    """What the source has said, of which the record has the range."""
    is_noted: bool
    """Whether the target has it already, and only the note in the source is missing: who merged died in between."""


async def plan(
    store: SessionStore,
    source: SessionInfo,
    target: SessionInfo,
    strategy: MergeStrategy,
    select: Sequence[int],
) -> MergePlan:
    """Return what is to be merged: what the source has beyond the target, and beyond what was merged before.

    Raises:
        NothingToMergeError: There is nothing.
        PositionNotFoundError: A chosen entry is not there, or was taken back.
        InvalidValueError: A chosen entry is no item.
    """
    found = await sides(store, source.key, target.key)
    before = [each for each in await _merges(store, target) if tuple(each["source"]) == source.key]
    if (lost := await _unnoted(store, source, before)) is not None:
        return MergePlan(lost, [], is_noted=True)
    if strategy == "select":
        chosen = _selected(source, [entry for span in found.a for entry in span.entries], select)
    else:
        done = max([found.until, *(each["range"][1] for each in before if each["strategy"] != "select")])
        chosen = [entry for span in found.a[found.common :] for entry in span.entries if entry["seq"] > done]
        if not any("item" in entry for entry in chosen):
            raise NothingToMergeError(source.key, f"it has said nothing that {target.id!r} does not have")
    record: MergeRecord = {
        "type": "merge",
        "id": uuid4().hex[:12],
        "source": list(source.key),
        "target": list(target.key),
        "strategy": strategy,
        "items": 0,
        "range": [min(entry["seq"] for entry in chosen), max(entry["seq"] for entry in chosen)],
    }
    if strategy == "select":
        record["select"] = sorted(entry["seq"] for entry in chosen)
    return MergePlan(record, chosen, is_noted=False)


async def block(store: SessionStore, source: SessionInfo, planned: MergePlan, made: Summarised | None) -> list[Entry]:
    """Return what the target gets: a message that says where it comes from, what was brought, and the record."""
    record = planned.record
    first, last = record["range"]
    name = f"{source.name!r} ({source.id})" if source.name else repr(source.id)
    heading = f"Merged from branch {name}, entries {first} to {last}, on {timestamp()[:10]}"
    if made is not None:
        record["items"] = 1
        spent = [record_entry({"type": "usage", "requests": made.requests})] if made.requests else []
        return [item_entry(marked(heading, made.text)), *spent, record_entry(record)]
    what = "What it has said follows." if record["strategy"] == "append" else "Chosen parts of it follow."
    target = await store.items(_key(record["target"]))
    brought = _made_unique([entry for entry in planned.source if "item" in entry], target, record["id"])
    record["items"] = 1 + len(brought)
    return [item_entry(marked(heading, what)), *brought, record_entry(record)]


async def _merges(store: SessionStore, info: SessionInfo) -> list[MergeRecord]:
    records = [entry["record"] for entry in await store.entries(info.key) if "record" in entry]
    return [record for record in records if record["type"] == "merge"]


async def _unnoted(store: SessionStore, source: SessionInfo, before: Iterable[MergeRecord]) -> MergeRecord | None:
    noted = {each["id"] for each in await _merges(store, source)}
    return next((each for each in before if each["id"] not in noted), None)


def _selected(source: SessionInfo, entries: Sequence[Entry], select: Sequence[int]) -> list[Entry]:
    by_number = {entry["seq"]: entry for entry in entries}
    for seq in select:
        if seq not in by_number:
            raise PositionNotFoundError(source.key, f"there is no entry {seq} in what is seen of it")
        if "item" not in by_number[seq]:
            raise InvalidValueError({"select": f"must be numbers of items, and entry {seq} is a record"})
    items = sorted((entry for entry in entries if "item" in entry), key=lambda entry: entry["seq"])
    places = [place for place, entry in enumerate(items) if entry["seq"] in set(select)]
    return [items[place] for place in sorted(with_partners([entry["item"] for entry in items], places))]


def _made_unique(entries: Sequence[Entry], target: Sequence[Item], merge: str) -> list[Entry]:
    """Return items as entries of the target, with new ids for calls and items whose ids it has."""
    calls = {call_id_of(item) for item in target if _has_call_id(item)}
    ids = {item["id"] for item in target if isinstance(item.get("id"), str)}
    return [_brought(entry, calls, ids, f"-{merge[:6]}") for entry in entries]


def _brought(entry: Entry, calls: set[str], ids: set[Any], suffix: str) -> Entry:
    item = dict(entry["item"])
    if _has_call_id(item) and call_id_of(item) in calls:
        name = next(name for name in ("call_id", "approval_request_id", "id") if item.get(name) == call_id_of(item))
        item[name] = call_id_of(item) + suffix
    elif item.get("id") in ids:
        del item["id"]
    return item_entry(item, agent=entry.get("agent"))


def _has_call_id(item: Item) -> bool:
    return item.get("type") in OUTPUTS or item.get("type") in OUTPUTS.values()


def _key(names: list[str]) -> SessionKey:
    return SessionKey(*names)
