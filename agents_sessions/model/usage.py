"""What model requests cost. This module owns the names of the token columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, NotRequired, TypedDict, cast

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from agents.usage import RequestUsage, Usage


class RequestRow(TypedDict):
    """One model request, or the sum of several that cannot be told apart, as it stands in the history."""

    requests: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    total_tokens: int
    agent: NotRequired[str]
    model: NotRequired[str]
    response_id: NotRequired[str]
    nested: NotRequired[bool]
    """True for requests of an agent used as a tool: they cost tokens but fill another context window."""
    duration_ms: NotRequired[int]
    """How long the model took, if that was measured: for a request of the run itself."""


class TokenUsage(BaseModel):
    """What some model requests have cost. Two of them can be added and subtracted."""

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    """The part of `input_tokens` that the provider's cache served."""
    cache_write_tokens: int = 0
    """The part of `input_tokens` that the provider wrote to its cache, which some of them charge for."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """The part of `output_tokens` that was reasoning."""
    total_tokens: int = 0

    @classmethod
    def of(cls, usage: Usage) -> TokenUsage:
        """Return what the SDK has counted."""
        return _counted(usage, usage.requests)

    def __add__(self, other: TokenUsage) -> TokenUsage:
        ours, theirs = self.__dict__, other.__dict__  # a turn adds dozens, and `getattr` is a call for each column
        return TokenUsage(**{name: ours[name] + theirs[name] for name in TOKENS})

    def __sub__(self, other: TokenUsage) -> TokenUsage:
        ours, theirs = self.__dict__, other.__dict__
        return TokenUsage(**{name: ours[name] - theirs[name] for name in TOKENS})

    def at_least_zero(self) -> TokenUsage:
        """Return the same without the columns that are below zero."""
        ours = self.__dict__
        return TokenUsage(**{name: max(0, ours[name]) for name in TOKENS})

    def row(self) -> RequestRow:
        """Return the same as plain data."""
        ours = self.__dict__
        return cast("RequestRow", {name: ours[name] for name in TOKENS})


TOKENS = tuple(TokenUsage.model_fields)
"""The names of the columns, in order."""

NOTHING = TokenUsage()


class UsageMark(NamedTuple):
    """A point in the growth of a run's `Usage`, which the SDK only ever adds to."""

    spent: TokenUsage = NOTHING
    itemised: int = 0
    """How many `request_usage_entries` there were."""

    @classmethod
    def of(cls, usage: Usage) -> UsageMark:
        """Return the point that a usage has reached."""
        return cls(TokenUsage.of(usage), len(usage.request_usage_entries))


def rows_since(mark: UsageMark, usage: Usage) -> list[RequestRow]:
    """Return one row per model request that a usage has gained since a mark.

    The SDK itemises only requests that reported tokens. What it counted beyond its items (a retried request, a
    provider that reports no usage) comes as one last row, so that the rows always add up to the gain.
    """
    gained = [_counted(item, 1) for item in usage.request_usage_entries[mark.itemised :]]
    rest = (TokenUsage.of(usage) - mark.spent - sum(gained, NOTHING)).at_least_zero()
    if rest != NOTHING:
        gained.append(rest)
    return [tokens.row() for tokens in gained]


def sum_rows(rows: Iterable[RequestRow]) -> TokenUsage:
    """Return what some rows cost together."""
    return sum((TokenUsage.model_validate(row) for row in rows), NOTHING)


def _counted(usage: Usage | RequestUsage, requests: int) -> TokenUsage:
    # Providers, and models that fill in the SDK's classes by hand, leave out details or give null for them.
    read, written = usage.input_tokens_details, usage.output_tokens_details
    return TokenUsage(
        requests=requests,
        input_tokens=usage.input_tokens or 0,
        cached_tokens=getattr(read, "cached_tokens", None) or 0,
        cache_write_tokens=getattr(read, "cache_write_tokens", None) or 0,
        output_tokens=usage.output_tokens or 0,
        reasoning_tokens=getattr(written, "reasoning_tokens", None) or 0,
        total_tokens=usage.total_tokens or 0,
    )
