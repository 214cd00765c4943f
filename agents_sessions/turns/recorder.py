"""The session that the Runner is given for one turn.

A `Recorder` stores what the Runner stores and, in the same batches, what the hooks have told the ledger: each model
request with its tokens, and each handoff.

A rule that comes from the SDK (openai-agents 0.24): `on_agent_end` comes before the final answer is given to the
session. So the answer waits for the end of the turn, a moment later, and is stored in one batch with it: one write
less, and never one without the other. Any read of the session by the Runner stores it first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agents.memory import SessionSettings

from agents_sessions.concurrency.settle import settle
from agents_sessions.model.entries import item_kind
from agents_sessions.session import StoredSession
from agents_sessions.signatures import remember_signatures
from agents_sessions.turns.past import rolled_back

if TYPE_CHECKING:
    from agents import RunContextWrapper
    from agents.items import TResponseInputItem

    from agents_sessions.model.entries import Item
    from agents_sessions.stores.base import History, SessionStore, TurnLock
    from agents_sessions.turns.ledger import Ledger


@remember_signatures
class Recorder(StoredSession):
    """The session of one run.

    Args:
        store: Where the session is kept.
        lock: The lock of the turn, which every write carries.
        ledger: The account of the run.
        history_limit: The session's own limit of what the model sees.
    """

    def __init__(self, store: SessionStore, lock: TurnLock, ledger: Ledger, history_limit: int | None = None) -> None:
        super().__init__(store, lock.key, session_settings=SessionSettings(limit=history_limit), create=False)
        self.ledger = ledger
        self.lock = self._turn = lock
        self._reads_input = not ledger.resumed
        """Whether the next read becomes the input of the model."""

    async def get_items(
        self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None
    ) -> list[TResponseInputItem]:
        """Return the history, the run's own items included.

        A limit on the first read, the one that becomes the model's input, is moved to a user message: no call is
        separated from its output, and no reasoning item from what follows it. Later reads, by which the SDK checks
        what it has stored, get exactly the newest items.
        """
        if wrapper is not None:
            self.count(wrapper)
        await self.flush()
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        is_input, self._reads_input = self._reads_input, False
        if is_input and limit is not None and limit > 0:
            return await self._whole_turns(limit)
        return await super().get_items(limit)

    def count(self, wrapper: RunContextWrapper[Any]) -> None:
        """Count what the run of a wrapper spends, in this task and in what it calls."""
        self.ledger.begin_count(self._enter_run(wrapper, self.key, self.ledger.turn))

    async def _whole_turns(self, limit: int) -> list[TResponseInputItem]:
        """Return the newest items, from a user message on: up to `limit`, or more if the newest turn is longer."""
        count = limit + 1  # one more tells whether there is anything to cut
        while True:
            items = await super().get_items(count)
            if len(items) <= limit:
                return items
            users = [place for place, item in enumerate(items) if item_kind(cast("Item", item)) == "user"]
            inside = [place for place in users if place >= len(items) - limit]
            if users or len(items) < count:
                return items[(inside[:1] or users[-1:] or [0])[0] :]
            count *= 2

    async def add_items(
        self, items: list[TResponseInputItem], *, wrapper: RunContextWrapper[Any] | None = None
    ) -> None:
        """Store items of the run, with what the hooks saw since the last ones."""
        if wrapper is not None:
            self.count(wrapper)
            self.ledger.usage = wrapper.usage
        self.ledger.add_items(cast("list[Item]", items))
        if not self.ledger.answered:
            await self.flush()

    async def pop_item(self, *, wrapper: RunContextWrapper[Any] | None = None) -> TResponseInputItem | None:
        """Remove the newest item."""
        await self.flush()
        return await super().pop_item()

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Remove the whole history."""
        await self.flush()
        await super().clear_session()

    async def flush(self) -> None:
        """Store what waits in the ledger. A cancellation is raised once the outcome is known."""
        if self.ledger.waiting:
            await settle(self._store_batch())

    async def roll_back(self, agent: str) -> None:
        """Take what the run has stored out of the history and out of the ledger."""
        turn = self.ledger.turn

        def change(history: History) -> History:
            return history.with_entries(rolled_back(history.entries, turn, agent))

        await self.store.rewrite(self.key, change, turn=self._turn)
        self.ledger.roll_back(agent)

    async def _store_batch(self) -> None:
        batch = self.ledger.take_batch()
        try:
            stored = await self.store.append(self.key, batch, turn=self._turn)
        except BaseException:
            self.ledger.put_back(batch)
            raise
        self.ledger.enter_stored(stored.entries)
