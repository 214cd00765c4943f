"""What callers of `manager.transfer` give and get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from agents_sessions.errors import InvalidValueError

if TYPE_CHECKING:
    from pathlib import Path

    from agents_sessions.keys import SessionKey

ExportFormat = Literal["json", "jsonl", "markdown", "yaml", "html"]
"""What a session can be exported as. `json` and `jsonl` lose nothing and can be imported again."""

ImportFormat = Literal["json", "jsonl", "archive", "session_file", "sdk_database", "chat_completions", "responses"]
"""What can be imported. By default it is found by looking at the content."""

Mask = Literal["secrets", "all"]
"""What is hidden: what looks like a secret, or every text."""

OnConflict = Literal["error", "rename", "replace"]
"""What an import does with an id that is taken."""

SUFFIXES: dict[str, ExportFormat] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".md": "markdown",
    ".markdown": "markdown",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".html": "html",
    ".htm": "html",
}
SUFFIX_OF: dict[ExportFormat, str] = {
    "json": ".json",
    "jsonl": ".jsonl",
    "markdown": ".md",
    "yaml": ".yaml",
    "html": ".html",
}

WITH_SIDECARS: frozenset[ExportFormat] = frozenset({"json", "jsonl", "yaml"})
"""The formats that hold all there is, and not only what is to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What goes into an export. What is left out is named in a lossless one."""

    include_metadata: bool = True
    """The `metadata` of the session."""
    include_tool_calls: bool = True
    """Calls of tools, their outputs and decisions about them; and reasoning, which no model takes without its call."""
    include_usage: bool = True
    """Tokens."""
    include_run_state: bool = False
    """The saved state of a run that awaits approval. It may hold what the application keeps in its context."""
    mask: Mask | None = None
    mask_emails: bool = False
    """Whether `mask="secrets"` hides e-mail addresses too."""

    def __post_init__(self) -> None:
        if self.mask is not None and self.mask not in get_args(Mask):
            raise InvalidValueError({"mask": f"must be 'secrets', 'all' or None, not {self.mask!r:.80}"})
        if self.mask_emails and self.mask != "secrets":
            raise InvalidValueError({"mask_emails": "needs mask='secrets'"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLimits:
    """What an import takes at most. Beyond it, an `ImportLimitError` names the limit."""

    max_bytes: int = 4 << 30
    """The whole input, unpacked."""
    max_whole_bytes: int = 256 << 20
    """Input that must be read as a whole: JSON that is not laid out line by line, and lists of messages."""
    max_line_bytes: int = 64 << 20
    """One line, which is one entry."""
    max_entries: int = 10_000_000
    """Entries of one session."""
    max_sessions: int = 100_000
    """Sessions of one archive or database."""


class Progress(NamedTuple):
    """How far a transfer is."""

    session: SessionKey
    """The session that is at work."""
    entries: int
    """Entries of it that are done."""
    of_entries: int | None
    """How many it has, about, if that is known."""
    sessions: int
    """Sessions that are done."""
    of_sessions: int | None
    """How many there are, if that is known."""


OnProgress: TypeAlias = Callable[[Progress], None]
"""Called on the event loop some times per second of work. What it raises ends the transfer."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that did not come along."""

    session_id: str
    what: str
    count: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported."""

    path: Path
    size: int
    """Bytes of the file."""
    sessions: tuple[SessionKey, ...]
    entries: int
    masked: dict[str, int] = field(default_factory=dict)
    """What was masked: how often each kind was found."""
    dropped: tuple[Dropped, ...] = ()
    """What a masked export could not look into and left out."""
    missing: tuple[str, ...] = ()
    """Sessions that went away before it was their turn."""


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """One session that was imported."""

    key: SessionKey
    entries: int
    source_id: str
    """The id that it has in what was imported."""
    replaced: bool = False
    """True if it took the place of a session."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was imported."""

    format: ImportFormat
    sessions: tuple[ImportedSession, ...]
    dropped: tuple[Dropped, ...] = ()
    """What a foreign format cannot say here, or an export had left out."""

    @property
    def session_id(self) -> str:
        """The id of the session, where it is one."""
        (only,) = self.sessions
        return only.key.session_id

    @property
    def entries(self) -> int:
        """How many entries came in."""
        return sum(session.entries for session in self.sessions)


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What came of moving the sessions of one store to another."""

    copied: tuple[SessionKey, ...]
    """Copied now, read back and found equal."""
    present: tuple[SessionKey, ...]
    """There already, and equal."""
    different: tuple[SessionKey, ...]
    """There already, and not equal: neither was touched."""
    unreadable: dict[SessionKey, str]
    """What kept a session of the source from being read."""
    entries: int
    """How many entries were copied."""

    @property
    def complete(self) -> bool:
        """Tell whether every session of the source that was found is in the target, and equal."""
        return not self.different and not self.unreadable
