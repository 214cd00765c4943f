"""What statistics are made of: frozen values. `None` in the place of an agent or a model: the history has no name."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from agents_sessions.model.usage import TokenUsage  # noqa: TC001 -- a field of pydantic models


class FrozenValue(BaseModel):
    """What all of them are."""

    model_config = ConfigDict(frozen=True)


class Cost(FrozenValue):
    """What model requests have cost, as far as anyone knows. A model without a price is named and never free."""

    usd: Decimal | None
    """US dollars for what has a price; None if nothing has."""
    coverage: Decimal
    """The part of all tokens that has a price, in per cent, rounded down: 100 means that nothing is missing."""
    unpriced: tuple[str, ...] = ()
    """The models that have no price."""
    unreported_requests: int = 0
    """Requests whose provider has reported no tokens. They are not in the sum, and no one knows what they cost."""


class Share(FrozenValue):
    """What requests that have something in common have spent: an agent, a user, a day or a model."""

    name: str | None
    usage: TokenUsage
    cost: Cost


class SessionShare(FrozenValue):
    """What one session has spent."""

    id: str
    agent_id: str
    user_id: str | None
    name: str | None
    usage: TokenUsage
    cost: Cost


class ToolUse(FrozenValue):
    """How often a tool was called."""

    name: str
    calls: int
    errors: int
    """Calls that have failed, as far as their outputs show: a function that words its own failures hides them."""


class HandoffCount(FrozenValue):
    """How often an agent gave the conversation to another."""

    from_agent: str
    to_agent: str
    count: int


class Figures(FrozenValue):
    """What one session, or many, have done and spent. What a fork has from its parent is counted for its parent."""

    messages: dict[str, int]
    """How many messages of each role."""
    other_items: dict[str, int]
    """How many items of each other type."""
    tools: tuple[ToolUse, ...]
    """The tools, those that were called most first. Handoffs are not among them."""
    handoffs: tuple[HandoffCount, ...]
    turns: dict[str, int]
    """How many turns ended with each status."""
    awaiting_approval: int
    """How many turns have not ended because they wait for a decision."""
    failures: dict[str, int]
    """The types of the errors that ended turns."""
    turn_time: timedelta
    """The time in which turns ran, with all that their tools did, and without the waits for decisions."""
    model_time: timedelta
    """The part of it in which models worked, as far as it was measured: not in agents used as tools."""
    usage: TokenUsage
    """All model requests, those of failed, retried and rolled back turns included, each once."""
    nested: TokenUsage
    """The part of it that agents used as tools have spent."""
    by_agent: tuple[Share, ...]
    by_model: tuple[Share, ...]
    by_day: tuple[Share, ...]
    """By days of UTC, the first one first. The others are ordered by their tokens."""
    cost: Cost
    price_list: str | None
    """The list that was asked for models which the user has given no price; None if none is installed."""
