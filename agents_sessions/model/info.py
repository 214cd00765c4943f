"""What a session is, without its history."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    computed_field,
    field_serializer,
    field_validator,
)

from agents_sessions.keys import SessionKey
from agents_sessions.model.durations import LONGEST
from agents_sessions.model.entries import as_stored, now, parse_time, timestamp
from agents_sessions.model.ids import check_id
from agents_sessions.model.totals import ContextStats

SessionStatus = Literal["active", "paused", "closed", "archived"]
GivenStatus = Literal["active", "paused", "closed", "archived", "completed"]
"""A status as it may be given: other session managers call a closed session completed."""
SessionType = Literal["user", "sub_agent", "scheduled"]

MOVED_FROM = "moved_from"
"""The fact that says whose session it was before it was moved, and how far it had come then."""

_SELDOM = ("ttl", "refreshed_at", "archived_at", "archive")
_NOT_AS_THEY_ARE = {"seq", "updated_at", "context", "last_active_at", "expires_at", "forked_at", "compaction", *_SELDOM}
"""Totals, what is computed, and what few sessions have: it is left out where it is None."""

MAX_TAGS = 100
"""How many tags a session may have."""
Tag = Annotated[str, Field(min_length=1, max_length=100)]


def closed_if_completed(status: object) -> object:
    """Return a status as it is stored and shown."""
    return "closed" if status == "completed" else status


class ForkPoint(BaseModel):
    """Where a session left the one that it was forked from."""

    model_config = ConfigDict(frozen=True)

    seq: int
    """The last entry of the parent that the fork has."""
    turn: str | None = None
    """The turn that ends there."""
    moved: bool = False
    """True if the fork was asked for inside this turn, and was moved to its end."""


class Compaction(BaseModel):
    """When the model's input is shortened, and to what. Nothing is lost by it: the originals stay in the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_tokens: int = Field(ge=1)
    """Before a turn whose input is larger than this, about: see `SessionManager.summaries`."""
    keep_turns: int = Field(default=4, ge=0)
    """How many of the newest turns the model goes on seeing word for word."""
    summariser: Any = Field(default=None)
    """Who writes the summary: an agent, the name of one of the manager's, or a function that is called with the items
    and returns a text. None composes one without a model. A session keeps a name or None only."""


def _by_name(compaction: Compaction) -> Compaction:
    if not isinstance(compaction.summariser, str | None):
        raise ValueError("only storable with the name of its summariser: an agent of the manager")
    return compaction


class SessionInfo(BaseModel):
    """Identity, slowly changing facts and running totals of one session.

    Fields that this version does not know, written by hand or by a later version, are kept as they are.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    """The session's id, unique within its agent."""
    agent_id: str
    """The agent that the session belongs to: its folder, and the agent that its first turn starts with."""
    user_id: str | None = None
    """Whose conversation it is, in the application's own terms."""
    name: str | None = None
    """A title for people."""
    status: SessionStatus = "active"
    """Only an active session takes messages. Of an archived one, its store has the facts alone."""
    session_type: SessionType = "user"
    """Who drives it: a person, another agent, or a clock."""
    mode: str | None = None
    """Free text such as `plan` or `build`, for the application's choice of agent."""
    max_turns: int | None = Field(default=None, ge=1)
    """How many model rounds one message may take, if neither the call nor the manager says it."""
    history_limit: int | None = Field(default=None, ge=1)
    """How many items of the history the model sees, about, if no run config says it."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """Anything else the application wants to keep. JSON only."""
    tags: tuple[Tag, ...] = Field(default=(), max_length=MAX_TAGS)
    """Labels to find it by, of 1 to 100 characters each. Their order is kept."""
    pinned: bool = False
    """Never removed by a rule of retention."""
    working_dir: str | None = None
    """The folder that the conversation is about, for programs that go on where they were."""
    parent_id: str | None = None
    """The session that this one was made from: forked, or begun by its agent."""
    forked_at: ForkPoint | None = None
    """Where it left its parent; None if it is no fork."""
    compaction: Annotated[Compaction, AfterValidator(_by_name)] | None = None
    """When and how its history is shortened for the model, if not as the manager says."""
    extensions: dict[str, JsonValue] = Field(default_factory=dict)
    """Data of other packages, each under a name of its own. JSON only."""
    indexed: bool = True
    """False keeps the text of the session out of every search index."""
    ttl: float | None = Field(default=None, gt=0, le=LONGEST)
    """Seconds from its last activity until it expires. None takes the manager's, if that has one."""
    refreshed_at: datetime | None = None
    """When its time to live was last begun anew without an entry."""
    archived_at: datetime | None = None
    """When its history went to the archive."""
    archive: str | None = None
    """The file that it went to, below the folder of the archive."""
    created_at: datetime = Field(default_factory=now)
    """UTC, in milliseconds, whatever the time zone it is given in; one without a time zone is refused."""
    updated_at: datetime = Field(default_factory=now)
    """When history or facts last changed, by the clock of that moment. `seq` and not this is the order of changes."""
    seq: int = 0
    """The number of the newest entry that was ever stored: what `expected_seq` compares."""
    context: ContextStats = Field(default_factory=ContextStats)
    """The running totals."""
    _title: str | None = PrivateAttr(default=None)

    @field_validator("status", mode="before")
    @classmethod
    def _closed(cls, status: object) -> object:
        return closed_if_completed(status)

    @field_validator("created_at", "updated_at", "refreshed_at", "archived_at")
    @classmethod
    def _to_utc(cls, moment: datetime | None) -> datetime | None:
        if moment is None:
            return None
        if moment.utcoffset() is None:
            raise ValueError("a time without a time zone")
        try:
            return as_stored(moment)
        except OverflowError:
            raise ValueError("a time that UTC does not have") from None

    @field_serializer("created_at", "updated_at", "refreshed_at", "archived_at", when_used="json")
    def _as_stored(self, moment: datetime | None) -> str | None:
        return None if moment is None else timestamp(moment)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def title(self) -> str | None:
        """Its name. Without one, the beginning of its first message, where a manager has read it; nothing is stored."""
        return self._title if self.name is None else self.name

    @property
    def is_active(self) -> bool:
        """Whether it takes messages."""
        return self.status == "active"

    @property
    def idle(self) -> timedelta:
        """How long ago it was last active, by the clock of this moment."""
        return max(timedelta(0), now() - self.last_active_at)

    def with_title(self, title: str | None) -> Self:
        """Return the same with a title for as long as it has no name."""
        titled = self.model_copy()
        titled._title = title
        return titled

    @property
    def key(self) -> SessionKey:
        """The session's full name in its store."""
        return SessionKey(self.agent_id, self.id)

    @property
    def short_id(self) -> str:
        """The first 8 characters of the id, for people: `SessionManager.resolve` takes them."""
        return self.id[:8]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def last_active_at(self) -> datetime:
        """When its newest entry was stored. Of a session without entries, when it last changed."""
        newest = self.context.last_entry_at
        return self.updated_at if newest is None else parse_time(newest)

    @property
    def last_used_at(self) -> datetime:
        """Its last activity or, if that is later, when it was last refreshed: from then on its time to live counts."""
        active, refreshed = self.last_active_at, self.refreshed_at
        return active if refreshed is None else max(active, refreshed)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def expires_at(self) -> datetime | None:
        """When it expires if nothing happens in it; None if it does not."""
        return None if self.ttl is None else self.last_used_at + timedelta(seconds=self.ttl)

    def header(self) -> dict[str, Any]:
        """Return the facts, without the totals, as JSON data. The containers in it are the model's own."""
        # Not `model_dump`: it changes a lone surrogate in a key, and a set, in silence.
        # Nor `for … in self`, a generator of pydantic's: that is a call for each field, at every write of a header.
        values = {**self.__dict__, **(self.model_extra or {})}
        facts = {name: values[name] for name in values if name not in _NOT_AS_THEY_ARE}
        if self.forked_at is not None:
            facts["forked_at"] = self.forked_at.model_dump()
        if self.compaction is not None:
            facts["compaction"] = self.compaction.model_dump()
        for name in _SELDOM:
            if (value := values[name]) is not None:
                facts[name] = timestamp(value) if isinstance(value, datetime) else value
        return {**facts, "tags": list(self.tags), "created_at": timestamp(self.created_at)}

    def moved(self, agent_id: str) -> "SessionInfo":
        """Return the same facts as those of another agent's session, with what tells an old one that is left behind.

        Raises:
            SessionIdError: The id of the agent is invalid.
        """
        check_id(agent_id, what="agent_id")
        return SessionInfo.model_validate({**dict(self), "agent_id": agent_id, MOVED_FROM: self._next_mark()})

    def is_left_behind(self, by: "SessionInfo") -> bool:
        """Tell whether this session was moved and has become another one, by a process that died before its end."""
        is_same = (self.id, self.created_at) == (by.id, by.created_at)
        return is_same and (by.model_extra or {}).get(MOVED_FROM) == self._next_mark()

    def _next_mark(self) -> dict[str, Any]:
        # Counted, since a session may move to and fro: each of the two would be what the other has left.
        mark = (self.model_extra or {}).get(MOVED_FROM)
        moves = mark.get("moves") if isinstance(mark, dict) else 0
        return {"agent_id": self.agent_id, "seq": self.seq, "moves": (moves if type(moves) is int else 0) + 1}
