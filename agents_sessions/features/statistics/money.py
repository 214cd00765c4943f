"""Prices times tokens, and how much of them is known."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING

from agents_sessions.features.statistics.figures import Cost
from agents_sessions.model.spend import UNREPORTED, Line, Sums
from agents_sessions.model.usage import TOKENS, TokenUsage

if TYPE_CHECKING:
    from agents_sessions.features.statistics.prices import PriceBook, Rates

NOT_NAMED = "(no name recorded)"
"""What stands among the models without a price for requests of which the SDK does not tell the model."""


class Account:
    """What some requests have spent, growing."""

    __slots__ = ("_priced_tokens", "_unpriced", "micros", "sums", "unreported")

    def __init__(self) -> None:
        self.sums = Sums()
        self.micros: Decimal | None = None
        """Millionths of a dollar; None as long as nothing has a price."""
        self.unreported = 0
        self._priced_tokens = 0
        self._unpriced: set[str] = set()

    def add(self, line: Line, sums: Sums, micros: Decimal | None) -> None:
        """Add requests of one line, and what they cost if that is known."""
        self.sums = self.sums.plus(sums)
        if line.size == UNREPORTED:
            self.unreported += sums.requests
        elif micros is None:
            self._unpriced.add(NOT_NAMED if line.model is None else line.model)
        else:
            self.micros = micros if self.micros is None else self.micros + micros
            self._priced_tokens += _tokens(sums)

    def usage(self) -> TokenUsage:
        """Return the tokens."""
        return TokenUsage(**dict(zip(TOKENS, self.sums, strict=False)))

    def cost(self) -> Cost:
        """Return the money."""
        return Cost(
            usd=None if self.micros is None else self.micros.scaleb(-6),
            coverage=self._coverage(),
            unpriced=tuple(sorted(self._unpriced)),
            unreported_requests=self.unreported,
        )

    def _coverage(self) -> Decimal:
        tokens = _tokens(self.sums)
        if not tokens:
            return Decimal(0 if self.unreported else 100)
        return (Decimal(100) * self._priced_tokens / tokens).quantize(Decimal("0.1"), ROUND_DOWN)


def micros_of(line: Line, sums: Sums, book: PriceBook) -> Decimal | None:
    """Return what the requests of a line cost, in millionths of a dollar, or None if that is not known."""
    if line.size == UNREPORTED:
        return None
    rates = book.rates(line)
    return None if rates is None else _product(sums, rates)


def _product(sums: Sums, rates: Rates) -> Decimal | None:
    plain = sums.input_tokens - sums.cached_tokens - sums.cache_write_tokens
    said = sums.output_tokens - sums.reasoning_tokens
    if plain < 0 or said < 0:  # parts that are larger than the whole: it is not known what was meant
        return None
    return (
        rates.request * sums.requests
        + rates.input * plain
        + rates.cached * sums.cached_tokens
        + rates.cache_write * sums.cache_write_tokens
        + rates.output * said
        + rates.reasoning * sums.reasoning_tokens
    )


def _tokens(sums: Sums) -> int:
    return sums.input_tokens + sums.output_tokens
