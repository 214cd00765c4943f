"""What came of a removal: which sessions went, by which rule, which stayed and why, and what it has freed."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.keys import SessionKey


@dataclass(frozen=True, slots=True)
class Removed:
    """A session that went."""

    key: SessionKey
    rule: str
    size: int
    """The bytes that it took, with all that lay beside it."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A session that stayed."""

    key: SessionKey
    reason: str


@dataclass(frozen=True, slots=True)
class RemovalReport:
    """What came of a removal."""

    removed: tuple[Removed, ...]
    skipped: tuple[Skipped, ...]
    bytes_freed: int
    """What the disk has got back: nothing yet for what went to the trash."""
    duration: float
    """Seconds."""

    @property
    def sessions(self) -> int:
        """How many sessions went."""
        return len(self.removed)

    def plus(self, other: RemovalReport) -> RemovalReport:
        """Return what came of both, one after the other."""
        return RemovalReport(
            self.removed + other.removed,
            self.skipped + other.skipped,
            self.bytes_freed + other.bytes_freed,
            self.duration + other.duration,
        )


@dataclass(slots=True)
class Tally:
    """A removal on its way."""

    removed: list[Removed] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    freed: int = 0
    begun: float = field(default_factory=monotonic)

    def remove(self, key: SessionKey, rule: str, size: int, *, freed: int) -> None:
        """Note that a session went."""
        self.removed.append(Removed(key, rule, size))
        self.freed += freed

    def skip(self, key: SessionKey, reason: str) -> None:
        """Note that a session stayed."""
        self.skipped.append(Skipped(key, reason))

    def report(self) -> RemovalReport:
        """Return what came of it."""
        return RemovalReport(tuple(self.removed), tuple(self.skipped), self.freed, monotonic() - self.begun)
