"""Fork a conversation, see the family of forks, compare two, and bring one home: `manager.branches`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

from agents_sessions.errors import ApprovalPendingError, InvalidValueError, SessionConflictError, SessionExistsError
from agents_sessions.features.branches import merging
from agents_sessions.features.branches.comparing import BranchDiff, diff_of, sides
from agents_sessions.features.branches.family import Branch, family
from agents_sessions.features.branches.forking import fork
from agents_sessions.features.branches.merging import Merged, MergePlan, MergeStrategy
from agents_sessions.model.entries import record_entry
from agents_sessions.turns.approvals import load_awaiting
from agents_sessions.turns.ends import end_interrupted
from agents_sessions.turns.lock import exclusive_turn
from agents_sessions.turns.positions import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.model.info import SessionInfo
    from agents_sessions.quota import SessionQuota
    from agents_sessions.stores.base import History, SessionStore
    from agents_sessions.turns.summarising import Summarisers

ForkMetadata = Literal["copy", "fresh"]
AfterMerge = Literal["keep", "close", "archive"]


class Branches:
    """Branches of conversations. Both sessions of a family belong to one agent."""

    def __init__(
        self,
        store: SessionStore,
        lookup: SessionLookup,
        archive: Archive,
        lock_timeout: float | None,
        summarisers: Summarisers,
        quota: SessionQuota,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._archive = archive
        self._lock_timeout = lock_timeout
        self._summarisers = summarisers
        self._quota = quota

    async def fork(
        self,
        session_id: str,
        *,
        turn: str | None = None,
        seq: int | None = None,
        checkpoint: str | None = None,
        name: str | None = None,
        metadata: ForkMetadata | dict[str, Any] = "copy",
        new_id: str | None = None,
        agent_id: str | None = None,
    ) -> SessionInfo:
        """Make a new session that begins as the copy of this one, up to a position, and return its facts.

        The fork goes its own way from there: neither sees what is said in the other. `info.parent_id` and
        `info.forked_at` say where it comes from. A turn may be running on the parent; its entries are not taken along.
        What was taken back can be forked too. Checkpoints before the position come along, saved summaries do not.

        Args:
            session_id: The session.
            turn: The last turn that the fork has. Without any position, the last one that has ended.
            seq: The number of an entry: the fork ends with the turn that this is part of, and `forked_at.moved` says
                so if that turn goes on behind it. 0 is the beginning.
            checkpoint: The id of a checkpoint.
            name: A title for people; by default that of the parent.
            metadata: `copy` that of the parent, begin `fresh` without any, or give some.
            new_id: The id of the fork; by default a new UUID.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            InvalidValueError: More than one position is given, or the metadata is none.
            PositionNotFoundError, CheckpointNotFoundError: There is no such position, or its turn still runs.
            SessionExistsError: The new id is taken.
            TooManySessionsError: As many as are allowed are not closed.
            SessionNotFoundError: There is no such session.
        """
        position = Position(turn, seq, checkpoint)
        position.check(needed=False)
        facts = {**_metadata(metadata), **({} if name is None else {"name": name})}
        info = await self._store.existing(await self._lookup.key(session_id, agent_id))
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._quota.room(info.user_id))
            if new_id is not None:
                await stack.enter_async_context(self._store.reserve(new_id))
                if await self._store.find(new_id):
                    raise SessionExistsError(new_id)
            child = await fork(self._store, info, position, facts, str(uuid4()) if new_id is None else new_id)
        self._lookup.remember(child.key)
        return child

    async def tree(self, session_id: str, *, agent_id: str | None = None) -> Branch:
        """Return the whole family of a session, from any of its members: data, and with `str()` a drawing.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        return await family(self._store, await self._store.existing(await self._lookup.key(session_id, agent_id)))

    async def diff(self, a: str, b: str, *, agent_id: str | None = None) -> BranchDiff:
        """Return what two sessions have in common, and the turns that each has beyond that.

        What was taken back in one of them counts as not said.

        Raises:
            SessionNotFoundError: One is not there.
        """
        one, other = await self._lookup.key(a, agent_id), await self._lookup.key(b, agent_id)
        return diff_of(await sides(self._store, one, other))

    async def merge(
        self,
        source: str,
        target: str,
        *,
        strategy: MergeStrategy = "summary",
        select: Sequence[int] = (),
        summariser: object = None,
        after: AfterMerge = "keep",
        expected_seq: int | None = None,
        agent_id: str | None = None,
    ) -> Merged:
        """Bring what a branch has said home: one marked message at the end of the target says where it comes from.

        Merged a second time, only what came since is brought. What it has cost stays with the source.

        Args:
            source: The branch.
            target: Where it goes.
            strategy: One `summary` of it; chosen entries (`select`); or all that it has said (`append`).
            select: The numbers of items of the source, for `select`. What belongs to them comes along.
            summariser: Who writes the summary: an agent, its name, or a function; None composes one without a model.
            after: `keep` the source as it is, `close` it, so that it takes no more messages, or `archive` it.
            expected_seq: The `seq` of the target's info that the caller has seen.
            agent_id: Needed only if several agents have sessions of these ids.

        Raises:
            NothingToMergeError: The target has all of it.
            SessionConflictError: The target has changed since the call, or the caller, looked. Nothing was stored.
            ApprovalPendingError: A tool call of the target waits for approval.
            PositionNotFoundError: A chosen entry is not there, or was taken back.
            InvalidValueError: An argument is none of its values.
            SummariserError: There is no summary.
            SessionBusyError: A turn runs on the target and did not end in time.
            SessionNotFoundError: One of the two is not there.
        """
        self._check(source, target, strategy, select, summariser, after)
        there = await self._store.existing(await self._lookup.key(target, agent_id))
        if expected_seq is not None and expected_seq != there.seq:
            raise SessionConflictError(there.key, expected_seq, there.seq)
        here = await self._store.existing(await self._lookup.key(source, agent_id))
        planned = await merging.plan(self._store, here, there, strategy, select)
        seq, items = await self._bring(here, there, planned, summariser)
        await self._store.append(here.key, [record_entry(planned.record)])
        if after == "close":
            await self._store.rewrite(here.key, _closed)
        elif after == "archive":
            await self._archive.archive(here.id, agent_id=here.agent_id)
        first, last = planned.record["range"]
        return Merged(id=planned.record["id"], seq=seq, range=(first, last), items=items)

    async def _bring(
        self, here: SessionInfo, there: SessionInfo, planned: MergePlan, summariser: object
    ) -> tuple[int, int]:
        """Store the block in the target; return its number, and how many items it has."""
        if planned.is_noted:
            return await self._find_block(there, planned)
        wanted = planned.record["strategy"] == "summary"
        made = await self._summarisers.ask(summariser, here, planned.source) if wanted else None
        batch = await merging.block(self._store, here, planned, made)
        async with exclusive_turn(self._store, there.key, self._lock_timeout) as lock:
            info = await self._store.existing(there.key)
            if info.seq != there.seq:
                raise SessionConflictError(there.key, there.seq, info.seq)
            if (awaiting := await load_awaiting(self._store, info)) is not None:
                raise ApprovalPendingError(there.key, awaiting.call_ids)
            if (turn := info.context.open_turn) is not None:
                info = await end_interrupted(self._store, lock, info, turn)
            stored = await self._store.append(there.key, batch, expected_seq=info.seq, turn=lock)
        return stored.entries[0]["seq"], planned.record["items"]

    async def _find_block(self, there: SessionInfo, planned: MergePlan) -> tuple[int, int]:
        count = planned.record["items"]
        entries = await self._store.entries(there.key)
        end = next(place for place, entry in enumerate(entries) if entry.get("record") == planned.record)
        return [entry["seq"] for entry in entries[:end] if "item" in entry][-count], count

    def _check(
        self, source: str, target: str, strategy: str, select: Sequence[int], summariser: object, after: str
    ) -> None:
        refused: dict[str, str] = {}
        if source == target:
            refused["target"] = "must be another session than the source"
        for name, value, kind in (("strategy", strategy, MergeStrategy), ("after", after, AfterMerge)):
            if value not in get_args(kind):
                refused[name] = f"must be one of {', '.join(map(repr, get_args(kind)))}, not {value!r:.80}"
        if (strategy == "select") != bool(select):
            refused["select"] = "must be the numbers of the chosen entries with strategy='select', and only there"
        if refused:
            raise InvalidValueError(refused)
        self._summarisers.check(summariser)


def _metadata(metadata: ForkMetadata | dict[str, Any]) -> dict[str, Any]:
    if isinstance(metadata, dict):
        return {"metadata": metadata}
    if metadata not in get_args(ForkMetadata):
        raise InvalidValueError({"metadata": f"must be 'copy', 'fresh' or a dict, not {metadata!r:.80}"})
    return {"metadata": {}} if metadata == "fresh" else {}


def _closed(history: History) -> History:
    return history.with_facts(status="closed")
