"""The nouns of a manager: each is made when it is first used, so that a manager costs nothing that is not asked for."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.features.branches.branches import Branches
    from agents_sessions.features.checkpoints import Checkpoints
    from agents_sessions.features.diagnostics.diagnostics import Diagnostics
    from agents_sessions.features.encryption import Encryption
    from agents_sessions.features.erasure import Erasure
    from agents_sessions.features.redaction import RedactedPlace, Redactions
    from agents_sessions.features.retention.retention import Retention, Schedule
    from agents_sessions.features.statistics.prices import Prices
    from agents_sessions.features.statistics.statistics import Statistics
    from agents_sessions.features.summaries import Summaries
    from agents_sessions.features.transfer.transfer import Transfer
    from agents_sessions.features.trash import Trash
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.quota import SessionQuota
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.options import RunArguments
    from agents_sessions.turns.summarising import Summarisers
    from agents_sessions.turns.turn import Turns


class FeatureFacade:
    """What a manager offers beyond sessions, turns and history, one `functools.cached_property` per noun."""

    store: SessionStore
    _lookup: SessionLookup
    _turns: Turns
    _lock_timeout: float | None
    _trash_keeps: timedelta | None
    _archive_folder: str | os.PathLike[str] | None
    _schedules: set[Schedule]

    @cached_property
    def archive(self) -> Archive:
        """Put histories away, compressed, and bring them back."""
        from agents_sessions.features.archive.archive import Archive

        return Archive(self.store, self._lookup, self._archive_folder, self._lock_timeout)

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Look for what is not as it should be, and repair it."""
        from agents_sessions.features.diagnostics.diagnostics import Diagnostics

        return Diagnostics(self.store, self.archive)

    @cached_property
    def encryption(self) -> Encryption:
        """Renew the keys of encrypted sessions."""
        from agents_sessions.features.encryption import Encryption

        return Encryption(self.store)

    @cached_property
    def retention(self) -> Retention:
        """Remove old sessions by rules that are shown before they act."""
        from agents_sessions.features.retention.retention import Retention

        return Retention(self.store, self._lookup, self.trash, self.archive, self._schedules)

    @cached_property
    def trash(self) -> Trash:
        """Have deleted sessions back, or remove them for good."""
        from agents_sessions.features.trash import Trash

        return Trash(self.store, self._trash_keeps, self.archive)

    @cached_property
    def _erasure(self) -> Erasure:
        from agents_sessions.features.erasure import Erasure

        return Erasure(self.store, self.trash, self.archive, self.retention, self._lock_timeout)

    _prices: Prices
    _quota: SessionQuota

    @cached_property
    def statistics(self) -> Statistics:
        """What sessions have done, and what that has cost."""
        from agents_sessions.features.statistics.statistics import Statistics

        return Statistics(self.store, self._lookup, self._prices)

    _defaults: RunArguments

    @cached_property
    def branches(self) -> Branches:
        """Forks of conversations: make them, see their family, compare them, and bring one home."""
        from agents_sessions.features.branches.branches import Branches

        return Branches(self.store, self._lookup, self.archive, self._lock_timeout, self._summarisers, self._quota)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Named points of a history, with data of the application."""
        from agents_sessions.features.checkpoints import Checkpoints

        return Checkpoints(self.store, self._lookup, self._lock_timeout)

    async def redact(
        self,
        session_id: str,
        *,
        seq: int | None = None,
        text: str | None = None,
        replacement: str = "[removed]",
        dry_run: bool = False,
        forks: bool = False,
        agent_id: str | None = None,
    ) -> list[RedactedPlace]:
        """Take a text, or all that one entry says, out of a session for good; return every place where it stood.

        It goes out of the history (what was taken back, summaries and checkpoints included), of name, metadata and
        other free facts, of what is saved beside the session, of copies that were set aside or kept by a repair, of the
        archive, and of every place that is registered in `redactions`. A mark in the history says when. Ids and tags
        are never changed. What a model has made of the text in words of its own is not found.

        Args:
            session_id: The session.
            seq: An entry: all its texts go, here and where they stand elsewhere alone or, from 20 characters on, in
                longer texts.
            text: A text: it goes wherever it stands, also inside of words.
            replacement: What stands there instead.
            dry_run: Only list the places.
            forks: Also out of all sessions of its family. Their places are listed in any case.
            agent_id: Needed only if several agents have a session of this id.

        Raises:
            InvalidValueError: Not exactly one of seq and text is given, or the replacement holds the text.
            PositionNotFoundError: There is no such entry.
            SessionBusyError: A turn runs on one of the sessions and did not end in time.
            SessionNotFoundError: There is no such session.
        """
        return await self.redactions.redact(
            session_id,
            seq=seq,
            text=text,
            replacement=replacement,
            dry_run=dry_run,
            forks=forks,
            agent_id=agent_id,
        )

    @cached_property
    def redactions(self) -> Redactions:
        """What takes text out for good. `redactions.places` lists what keeps text outside of the store."""
        from agents_sessions.features.redaction import Redactions

        redactions = Redactions(self.store, self._lookup, self._lock_timeout)
        redactions.places.append(self.archive)
        return redactions

    @cached_property
    def summaries(self) -> Summaries:
        """What to tell who comes back to a conversation, and to a model that should not read all of it."""
        from agents_sessions.features.summaries import Summaries

        return Summaries(self.store, self._lookup, self._lock_timeout, self._summarisers)

    @cached_property
    def _summarisers(self) -> Summarisers:
        from agents_sessions.turns.summarising import Summarisers

        return Summarisers(self._turns.registry, self._defaults.get("run_config"))

    @cached_property
    def transfer(self) -> Transfer:
        """Export conversations, import them, and take over those of other sessions."""
        from agents_sessions.features.transfer.transfer import Transfer

        return Transfer(self.store, self._lookup, self._lock_timeout, self.statistics)
