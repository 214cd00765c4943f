"""Ask what sessions have done, and what that has cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.statistics.prices import NO_PRICES, PriceBook, check_prices
from agents_sessions.features.statistics.tally import Tally
from agents_sessions.model.query import SessionFilters, SessionQuery
from agents_sessions.model.spend import SessionSpend

if TYPE_CHECKING:
    from agents_sessions.features.statistics.prices import Prices
    from agents_sessions.features.statistics.report import Report, SessionStatistics
    from agents_sessions.lookup import SessionLookup
    from agents_sessions.stores.base import SessionStore


class Statistics:
    """What sessions have done and spent: `manager.statistics`.

    Money is computed when it is asked for and never stored: by the prices that the user gives, else by the list of
    `genai-prices` (`pip install "agents-sessions[prices]"`), offline, as it was on the day of each request. A model
    that neither knows is named, and the coverage says how much of the tokens has a price.

    Args:
        store: The sessions.
        lookup: Finds a session by its id.
        prices: What models cost, before the list.
    """

    def __init__(self, store: SessionStore, lookup: SessionLookup, prices: Prices = NO_PRICES) -> None:
        self._store = store
        self._lookup = lookup
        self._prices = check_prices(prices)

    async def of(
        self, session_id: str, *, agent_id: str | None = None, prices: Prices = NO_PRICES
    ) -> SessionStatistics:
        """Return what one session has done and spent.

        Args:
            session_id: The session.
            agent_id: Needed only if several agents have a session of this id.
            prices: What models cost, before what the manager was given: dollars for a million tokens, as
                `{"my-model": {"input": "0.50", "output": "2"}}`; see `TokenPrices`.

        Raises:
            SessionNotFoundError: There is none.
            InvalidValueError: A price is none.
        """
        tally = self._tally(prices, 1)
        info = await self._store.existing(await self._lookup.key(session_id, agent_id))
        spend = await self._store.spend_of(info)
        tally.add(SessionSpend.of(info, spend))
        return tally.of_session(info, spend)

    async def report(
        self,
        *,
        id: str | None = None,  # noqa: A002 -- the name of the fact
        prices: Prices = NO_PRICES,
        top: int = 10,
        **filters: Unpack[SessionFilters],
    ) -> Report:
        """Return what many sessions have done and spent together, by agent, user, day and model.

        Args:
            id: One session alone. A filter may be `agent_id` then, and no other.
            prices: See `of`.
            top: How many sessions the lists of the largest and the dearest have.
            filters: Which sessions: those of `list_sessions`, such as `user_id` or `active_after`. They choose whole
                sessions; for a span of time see `by_day`.

        Raises:
            SessionNotFoundError: There is none of that id.
            InvalidValueError: A filter is unknown or has a value that no session has, or a price is none.
        """
        if type(top) is not int or top < 0:
            raise InvalidValueError({"top": f"must be a whole number from 0 on, not {top!r:.80}"})
        query, tally = _query(id, filters), self._tally(prices, top)
        if id is not None:
            info = await self._store.existing(await self._lookup.key(id, query.agent_id))
            tally.add(SessionSpend.of(info, await self._store.spend_of(info)))
        else:
            async for session in self._store.spend(query):
                tally.add(session)
        return tally.report()

    def _tally(self, prices: Prices, top: int) -> Tally:
        return Tally(PriceBook({**self._prices, **check_prices(prices)}), top)


def _query(session_id: str | None, filters: Mapping[str, Any]) -> SessionQuery:
    if session_id is not None and (others := sorted(filters.keys() - {"agent_id"})):
        raise InvalidValueError(dict.fromkeys(others, "cannot be given with an id"))
    return SessionQuery.of(filters)
