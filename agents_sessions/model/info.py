"""What a session is, without its history."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
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
from agents_sessions.model.entries import as_stored, now, parse_time, timestamp
from agents_sessions.model.totals import ContextStats

SessionStatus = Literal["active", "paused", "closed"]
GivenStatus = Literal["active", "paused", "closed", "completed"]
"""A status as it may be given: other session managers call a closed session completed."""
SessionType = Literal["user", "sub_agent", "scheduled"]

_TOTALS = {"seq", "updated_at", "context"}
_DERIVED = {"last_active_at", "title"}

MAX_TAGS = 100
"""How many tags a session may have."""
Tag = Annotated[str, Field(min_length=1, max_length=100)]


def closed_if_completed(status: object) -> object:
    """Return a status as it is stored and shown."""
    return "closed" if status == "completed" else status


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
    """Only an active session takes messages."""
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
    extensions: dict[str, JsonValue] = Field(default_factory=dict)
    """Data of other packages, each under a name of its own. JSON only."""
    indexed: bool = True
    """False keeps the text of the session out of every search index."""
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

    @field_validator("created_at", "updated_at")
    @classmethod
    def _to_utc(cls, moment: datetime) -> datetime:
        if moment.utcoffset() is None:
            raise ValueError("a time without a time zone")
        try:
            return as_stored(moment)
        except OverflowError:
            raise ValueError("a time that UTC does not have") from None

    @field_serializer("created_at", "updated_at", when_used="json")
    def _as_stored(self, moment: datetime) -> str:
        return timestamp(moment)

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

    def header(self) -> dict[str, Any]:
        """Return the facts, without the totals, as JSON data. The containers in it are the model's own."""
        # Not `model_dump`: it changes a lone surrogate in a key, and a set, in silence.
        facts = {name: value for name, value in self if name not in _TOTALS and name not in _DERIVED}
        return {**facts, "tags": list(self.tags), "created_at": timestamp(self.created_at)}
