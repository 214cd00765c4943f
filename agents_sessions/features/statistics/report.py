"""What users get: the figures of one session, or of many, as data and as a page."""

from __future__ import annotations

from datetime import timedelta

from agents_sessions.features.statistics.figures import Figures, SessionShare, Share
from agents_sessions.features.statistics.markdown import NOTHING, duration, in_line, page, sections, shares, table, top


class SessionStatistics(Figures):
    """What one session has done and spent."""

    id: str
    agent_id: str
    user_id: str | None
    name: str | None
    wall_time: timedelta
    """From its first entry to its newest."""
    context_tokens: int
    """Input and output of the newest request: how full the model's context window was."""
    inherited_entries: int
    """Entries that it has from the session that it was forked from. They are in no other figure."""

    def to_markdown(self) -> str:
        """Return a page for people."""
        facts = [
            ("Agent", self.agent_id),
            ("User", self.user_id or NOTHING),
            ("From first entry to last", duration(self.wall_time)),
            ("Context", f"{self.context_tokens:,} tokens"),
        ]
        if self.inherited_entries:
            facts.append(("From its parent", f"{self.inherited_entries:,} entries, counted there"))
        title = self.id if self.name is None else f"{self.name} ({self.id})"
        return page([f"# Session {in_line(title)}", table(["", ""], facts), *sections(self)])


class Report(Figures):
    """What many sessions have done and spent."""

    sessions: int
    by_user: tuple[Share, ...]
    largest: tuple[SessionShare, ...]
    """The sessions with most tokens."""
    dearest: tuple[SessionShare, ...]
    """The sessions that cost most, among those that cost anything that is known."""
    unreadable: tuple[str, ...]
    """Ids of sessions whose history cannot be read. They are in no figure."""

    def to_markdown(self) -> str:
        """Return a page for people."""
        head = f"{self.sessions:,} sessions"
        if self.unreadable:
            names = ", ".join(map(in_line, self.unreadable))
            head += f"; {len(self.unreadable):,} more cannot be read and are left out: {names}"
        users = [shares("User", self.by_user)] if any(share.name is not None for share in self.by_user) else []
        tops = [top("Largest sessions", self.largest), top("Dearest sessions", self.dearest)]
        return page(["# Sessions", f"{head}.", *sections(self), *users, *tops])
