"""The nouns of a manager: each is made when it is first used, so that a manager costs nothing that is not asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.features.statistics.prices import Prices
    from agents_sessions.features.statistics.statistics import Statistics
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.stores.base import SessionStore
    from agents_sessions.turns.turn import Turns


class FeatureFacade:
    """What a manager offers beyond sessions, turns and history, one `functools.cached_property` per noun."""

    store: SessionStore
    _lookup: SessionLookup
    _turns: Turns
    _lock_timeout: float | None
    _prices: Prices

    @cached_property
    def statistics(self) -> Statistics:
        """What sessions have done, and what that has cost."""
        from agents_sessions.features.statistics.statistics import Statistics

        return Statistics(self.store, self._lookup, self._prices)
