"""The nouns of a manager: each is made when it is first used, so that a manager costs nothing that is not asked for."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.features.archive.archive import Archive
    from agents_sessions.features.diagnostics.diagnostics import Diagnostics
    from agents_sessions.features.erasure import Erasure
    from agents_sessions.features.retention.retention import Retention, Schedule
    from agents_sessions.features.statistics.prices import Prices
    from agents_sessions.features.statistics.statistics import Statistics
    from agents_sessions.features.transfer.transfer import Transfer
    from agents_sessions.features.trash import Trash
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.stores.base import SessionStore
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
    def retention(self) -> Retention:
        """Remove old sessions by rules that are shown before they act."""
        from agents_sessions.features.retention.retention import Retention

        return Retention(self.store, self._lookup, self.trash, self.archive, self._schedules)

    @cached_property
    def transfer(self) -> Transfer:
        """Export conversations, import them, and take over those of other sessions."""
        from agents_sessions.features.transfer.transfer import Transfer

        return Transfer(self.store, self._lookup, self._lock_timeout)

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

    @cached_property
    def statistics(self) -> Statistics:
        """What sessions have done, and what that has cost."""
        from agents_sessions.features.statistics.statistics import Statistics

        return Statistics(self.store, self._lookup, self._prices)
