"""The nouns of a manager: each is made when it is first used, so that a manager costs nothing that is not asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.features.branches.branches import Branches
    from agents_sessions.features.checkpoints import Checkpoints
    from agents_sessions.features.summaries import Summaries
    from agents_sessions.lookup import SessionLookup
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
    _defaults: RunArguments

    @cached_property
    def branches(self) -> Branches:
        """Forks of conversations: make them, see their family, compare them, and bring one home."""
        from agents_sessions.features.branches.branches import Branches

        return Branches(self.store, self._lookup, self._lock_timeout, self._summarisers)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        """Named points of a history, with data of the application."""
        from agents_sessions.features.checkpoints import Checkpoints

        return Checkpoints(self.store, self._lookup, self._lock_timeout)

    @cached_property
    def summaries(self) -> Summaries:
        """What to tell who comes back to a conversation, and to a model that should not read all of it."""
        from agents_sessions.features.summaries import Summaries

        return Summaries(self.store, self._lookup, self._lock_timeout, self._summarisers)

    @cached_property
    def _summarisers(self) -> Summarisers:
        from agents_sessions.turns.summarising import Summarisers

        return Summarisers(self._turns.registry, self._defaults.get("run_config"))
