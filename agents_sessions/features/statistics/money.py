"""Prices times tokens, and how much of them is known."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from agents_sessions.features.statistics.figures import Cost
from agents_sessions.features.statistics.prices import DOLLAR
from agents_sessions.model.spend import UNREPORTED, Line, Sums
from agents_sessions.model.usage import TOKENS, TokenUsage

if TYPE_CHECKING:
    from agents_sessions.features.statistics.prices import PriceBook

NOT_NAMED = "(no name recorded)"
"""What stands among the models without a price for requests of which the SDK does not tell the model."""


class Account:
    """What some requests have spent, growing."""

    __slots__ = ("_priced", "_priced_tokens", "_sums", "_unpriced", "money", "unreported")

    def __init__(self) -> None:
        self.money = 0
        """In the smallest part of a dollar: what has a price."""
        self.unreported = 0
        self._sums = [0] * len(Sums._fields)
        self._priced = False
        self._priced_tokens = 0
        self._unpriced: set[str] = set()

    @property
    def sums(self) -> Sums:
        """What the requests add up to."""
        return Sums(*self._sums)

    def add(self, line: Line, sums: Sums, money: int | None) -> None:
        """Add requests of one line, and what they cost if that is known."""
        mine = self._sums
        for place, amount in enumerate(sums):
            if amount:
                mine[place] += amount
        if money is not None:
            self.money += money
            self._priced = True
            self._priced_tokens += sums.input_tokens + sums.output_tokens
        elif line.size == UNREPORTED:
            self.unreported += sums.requests
        else:
            self._unpriced.add(NOT_NAMED if line.model is None else line.model)

    def usage(self) -> TokenUsage:
        """Return the tokens."""
        return TokenUsage(**dict(zip(TOKENS, self._sums, strict=False)))

    def cost(self) -> Cost:
        """Return the money."""
        return Cost(
            usd=_dollars(self.money) if self._priced else None,
            coverage=self._coverage(),
            unpriced=tuple(sorted(self._unpriced)),
            unreported_requests=self.unreported,
        )

    def _coverage(self) -> Decimal:
        tokens = self.sums.input_tokens + self.sums.output_tokens
        if not tokens:
            return Decimal(0 if self.unreported else 100)
        return (Decimal(100) * self._priced_tokens / tokens).quantize(Decimal("0.1"), ROUND_DOWN)


def money_of(line: Line, sums: Sums, book: PriceBook) -> int | None:
    """Return what the requests of a line cost, in the smallest part of a dollar, or None if that is not known."""
    if line.size == UNREPORTED or (rates := book.rates(line)) is None:
        return None
    requests, all_input, cached, written, all_output, reasoning, _, _ = sums
    plain, said = all_input - cached - written, all_output - reasoning
    if plain < 0 or said < 0:  # parts that are larger than the whole: it is not known what was meant
        return None
    return (
        rates.request * requests
        + rates.input * plain
        + rates.cached * cached
        + rates.cache_write * written
        + rates.output * said
        + rates.reasoning * reasoning
    )


def _dollars(money: int) -> Decimal:
    """Return an amount without zeros at its end."""
    exact = Decimal(money).scaleb(-DOLLAR).normalize()
    return exact.quantize(Decimal(1)) if exact == exact.to_integral_value() else exact
