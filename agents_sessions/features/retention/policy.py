"""The rules of retention, and what they make of some sessions. Pure.

The rules say what is kept, in the manner of restic: a session goes only if no rule keeps it. Where limits are given
too, it goes only if it is beyond one of them. So a rule that is forgotten keeps too much, and never too little.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.removal import Skipped
from agents_sessions.model.durations import Duration, duration_of, shown

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey
    from agents_sessions.model.info import SessionInfo

JUST_RESUMED = timedelta(minutes=5)
"""For so long after a session has gone on again, no rule takes it away."""

_LENGTHS = ("keep_within", "max_age", "max_idle")
RESUMED = "it was just resumed"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Which sessions are kept, and how old, idle or large the others may become.

    Raises:
        InvalidValueError: A value is none, or no rule says what is to go.
    """

    keep_last: int | None = None
    """So many sessions of each group that were active last."""
    keep_within: Duration | None = None
    """Those that were active within this time, such as `"30d"`."""
    keep_tags: Sequence[str] = ()
    """Those with one of these tags."""
    max_age: Duration | None = None
    """Of the others, those go that were made longer ago than this ..."""
    max_idle: Duration | None = None
    """... or were active longer ago ..."""
    max_bytes: int | None = None
    """... or, the longest idle first, until each group takes no more bytes than this."""
    per: Literal["agent", "user"] | None = None
    """What makes a group: by default all sessions are one."""
    _keep_within: timedelta | None = field(init=False, repr=False, compare=False)
    _max_age: timedelta | None = field(init=False, repr=False, compare=False)
    _max_idle: timedelta | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        refused: dict[str, str] = {}
        for name in ("keep_last", "max_bytes"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                refused[name] = f"must be a whole number, not {value!r:.80}"
        if isinstance(self.keep_tags, str) or not all(isinstance(tag, str) for tag in self.keep_tags):
            refused["keep_tags"] = "must be a list of strings"
        if self.per not in (None, "agent", "user"):
            refused["per"] = f"must be 'agent' or 'user', not {self.per!r:.80}"
        if refused:
            raise InvalidValueError(refused)
        for name in _LENGTHS:
            given = getattr(self, name)
            object.__setattr__(self, f"_{name}", None if given is None else duration_of(given, name))
        if not self.has_limits and self.keep_last is None and self.keep_within is None:
            rules = "keep_last, keep_within, max_age, max_idle or max_bytes"
            raise InvalidValueError({"policy": f"says nothing of what is to go: give {rules}"})

    @property
    def has_limits(self) -> bool:
        """Whether a session goes only beyond a limit."""
        return any(limit is not None for limit in (self.max_age, self.max_idle, self.max_bytes))

    def group_of(self, info: SessionInfo) -> str | None:
        """Return the group of a session."""
        return {"agent": info.agent_id, "user": info.user_id}.get(self.per or "")

    def keeps(self, seen: Measured, place: int, now: datetime) -> bool:
        """Tell whether a rule keeps a session, the one at this place in its group, from the last active one."""
        return (
            (self.keep_last is not None and place < self.keep_last)
            or (self._keep_within is not None and now - seen.used <= self._keep_within)
            or not set(self.keep_tags).isdisjoint(seen.info.tags)
        )

    def beyond(self, seen: Measured, now: datetime) -> Reason | None:
        """Return the limit of time that a session is beyond, or that no rule keeps it if there are no limits."""
        age, idle = now - seen.info.created_at, now - seen.used
        if self._max_age is not None and age > self._max_age:
            return Reason("max_age", f"made {_shown(age)} ago")
        if self._max_idle is not None and idle > self._max_idle:
            return Reason("max_idle", f"idle for {_shown(idle)}")
        return None if self.has_limits else Reason("keep", f"no rule keeps it; idle for {_shown(idle)}")


class Reason(NamedTuple):
    """Why a session goes."""

    rule: str
    text: str


class Measured(NamedTuple):
    """A session, its size as far as that matters, and when it was last used."""

    info: SessionInfo
    size: int
    used: datetime

    @classmethod
    def of(cls, info: SessionInfo, size: int = 0) -> Measured:
        """Return a session with its size."""
        return cls(info, size, info.last_used_at)


@dataclass(frozen=True, slots=True)
class PlannedRemoval:
    """A session that a plan removes, as it was when the plan was made."""

    key: SessionKey
    rule: str
    """The rule that takes it: `keep` if it is only that none keeps it."""
    reason: str
    """Why, in words."""
    size: int
    """The bytes that it takes, with all that lies beside it."""
    last_active_at: datetime
    seq: int
    updated_at: datetime

    @classmethod
    def of(cls, measured: Measured, reason: Reason) -> PlannedRemoval:
        """Return the removal of a session for a reason."""
        info = measured.info
        return cls(info.key, *reason, measured.size, info.last_active_at, info.seq, info.updated_at)

    def is_as_planned(self, info: SessionInfo) -> bool:
        """Tell whether nothing has happened in the session since the plan was made."""
        return (info.seq, info.updated_at) == (self.seq, self.updated_at)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will go, exactly, and what would if it were not protected."""

    removals: tuple[PlannedRemoval, ...]
    protected: tuple[Skipped, ...]
    """Sessions that a rule would take, and why they stay."""
    kept: int
    """How many others stay."""
    made_at: datetime

    def with_sizes(self, sizes: Sequence[int | None]) -> Plan:
        """Return the same plan with the sizes of its removals."""
        measured = (replace(each, size=size or 0) for each, size in zip(self.removals, sizes, strict=True))
        return replace(self, removals=tuple(measured))

    @property
    def size(self) -> int:
        """The bytes of all that will go."""
        return sum(removal.size for removal in self.removals)

    def __str__(self) -> str:
        lines = [f"{each.key.session_id}  {each.size:,} bytes  {each.reason} ({each.rule})" for each in self.removals]
        lines += [f"{each.key.session_id}  stays: {each.reason}" for each in self.protected]
        return "\n".join([*lines, f"{len(self.removals)} to remove, {self.size:,} bytes; {self.kept} others stay"])


def make_plan(sessions: Iterable[Measured], policy: Policy, busy: frozenset[SessionKey], now: datetime) -> Plan:
    """Return what a policy makes of all sessions; `busy` are those on which a turn runs."""
    groups: dict[str | None, list[Measured]] = defaultdict(list)
    count = 0
    for measured in sessions:
        groups[policy.group_of(measured.info)].append(measured)
        count += 1
    removals: list[PlannedRemoval] = []
    protected: list[Skipped] = []
    for group in groups.values():
        group.sort(key=lambda measured: (measured.used, measured.info.id, measured.info.agent_id), reverse=True)
        for measured, reason in _chosen(group, policy, busy, now):
            shield = protection(measured.info, now, is_busy=measured.info.key in busy)
            if shield is None:
                removals.append(PlannedRemoval.of(measured, reason))
            else:
                protected.append(Skipped(measured.info.key, shield))
    removals.sort(key=lambda removal: (removal.last_active_at, removal.key))
    return Plan(tuple(removals), tuple(protected), count - len(removals) - len(protected), now)


def _chosen(
    group: Sequence[Measured], policy: Policy, busy: frozenset[SessionKey], now: datetime
) -> Iterator[tuple[Measured, Reason]]:
    """Yield the sessions of a group that a rule takes, protected or not, the last active one first."""
    left: list[tuple[Measured, bool]] = []
    stays = 0
    for place, measured in enumerate(group):
        is_kept = policy.keeps(measured, place, now)
        reason = None if is_kept else policy.beyond(measured, now)
        if reason is not None:
            yield measured, reason
        if policy.max_bytes is None:
            continue
        is_protected = protection(measured.info, now, is_busy=measured.info.key in busy) is not None
        stays += measured.size if reason is None or is_protected else 0
        if reason is None and not is_kept:
            left.append((measured, is_protected))
    if policy.max_bytes is not None:
        yield from _too_many_bytes(left, stays, policy.max_bytes)


def _too_many_bytes(left: list[tuple[Measured, bool]], stays: int, most: int) -> Iterator[tuple[Measured, Reason]]:
    """Yield sessions, the longest idle first, until those that stay take no more bytes than is allowed."""
    for measured, is_protected in reversed(left):
        if stays <= most:
            return
        yield measured, Reason("max_bytes", f"its group takes {stays:,} bytes, and may take {most:,}")
        stays -= 0 if is_protected else measured.size


def protection(info: SessionInfo, now: datetime, *, is_busy: bool) -> str | None:
    """Return why no rule may take a session, or None."""
    if is_busy:
        return "a turn runs on it"
    if info.pinned:
        return "it is pinned"
    if info.context.last_status == "awaiting_approval" and info.context.open_turn is None:
        return "a tool call waits for approval"
    if info.status == "archived":
        return "it is archived"
    changed = max(info.updated_at, info.last_used_at)
    was_old = info.created_at < now - JUST_RESUMED
    return RESUMED if was_old and changed > now - JUST_RESUMED else None


def _shown(length: timedelta) -> str:
    return shown(max(0.0, length.total_seconds()))
