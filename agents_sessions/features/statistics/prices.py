"""What a model costs: what the user says, else the maintained list of the package `genai-prices`, by day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents_sessions.errors import InvalidValueError
from agents_sessions.model.history import refusals
from agents_sessions.model.spend import SIZES

if TYPE_CHECKING:
    from agents_sessions.model.spend import Line

EXTRA = 'pip install "agents-sessions[prices]"'


class TokenPrices(BaseModel):
    """What one model costs, in US dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Decimal = Field(ge=0, decimal_places=9, allow_inf_nan=False)
    output: Decimal = Field(ge=0, decimal_places=9, allow_inf_nan=False)
    cached_input: Decimal | None = Field(default=None, ge=0, decimal_places=9, allow_inf_nan=False)
    """Of input that the provider's cache served; None is the price of other input."""
    cache_write: Decimal | None = Field(default=None, ge=0, decimal_places=9, allow_inf_nan=False)
    """Of input that the provider wrote to its cache; None is the price of other input."""
    reasoning: Decimal | None = Field(default=None, ge=0, decimal_places=9, allow_inf_nan=False)
    """Of output that was reasoning; None is the price of other output."""
    thousand_requests: Decimal = Field(default=Decimal(0), ge=0, decimal_places=9, allow_inf_nan=False)
    """Of a thousand requests, beside their tokens."""


Prices: TypeAlias = Mapping[str | None, TokenPrices | Mapping[str, Any]]
"""Prices by the names of models, just as the history has them. None is for requests without one."""

NO_PRICES: Prices = MappingProxyType({})


DOLLAR = 15
"""Digits behind the point of a dollar in which money is added up: as whole numbers, which are exact and fast."""


class Rates(NamedTuple):
    """What one of each costs, in the smallest part of a dollar."""

    request: int
    input: int
    cached: int
    cache_write: int
    output: int
    reasoning: int

    @classmethod
    def of(cls, prices: TokenPrices) -> Rates:
        """Return the rates that prices come to."""
        plain, out = prices.input, prices.output
        cached = plain if prices.cached_input is None else prices.cached_input
        written = plain if prices.cache_write is None else prices.cache_write
        reasoning = out if prices.reasoning is None else prices.reasoning
        a_million = [plain, cached, written, out, reasoning]
        return cls(
            int(prices.thousand_requests.scaleb(DOLLAR - 3)), *[int(each.scaleb(DOLLAR - 6)) for each in a_million]
        )


def check_prices(prices: Prices) -> dict[str | None, TokenPrices]:
    """Return prices as they are used.

    Raises:
        InvalidValueError: They are no mapping, or one of them is no price.
    """
    if not isinstance(prices, Mapping):
        raise InvalidValueError({"prices": f"must be a dict from names of models, not a {type(prices).__name__}"})
    return {model: _checked(model, each) for model, each in prices.items()}


def _checked(model: object, prices: object) -> TokenPrices:
    if not isinstance(model, str | None):
        raise InvalidValueError({"prices": f"must have names of models as keys, not a {type(model).__name__}"})
    try:
        return TokenPrices.model_validate(prices)
    except ValidationError as error:
        wrong = ", ".join(f"{field} {reason}" for field, reason in refusals(error).items())
    raise InvalidValueError({f"prices[{model!r:.80}]": wrong})


class PriceBook:
    """Finds what requests cost, and remembers it.

    Args:
        users: Prices that come before those of the list.
    """

    def __init__(self, users: Mapping[str | None, TokenPrices]) -> None:
        self._users = {model: Rates.of(prices) for model, prices in users.items()}
        self._known: dict[tuple[str | None, str, int], Rates | None] = {}

    @cached_property
    def source(self) -> str | None:
        """The list and its version; None if it is not installed."""
        try:
            import genai_prices  # here: it takes 0.2 s, and whoever does not ask for money need not have it
        except ImportError:
            return None
        return f"genai-prices {genai_prices.__version__}"

    def rates(self, line: Line) -> Rates | None:
        """Return what requests of one line cost; None if no one knows."""
        place = (line.model, line.day, line.size)
        if place not in self._known:
            self._known[place] = self._users.get(line.model) or self._listed(*place)
        return self._known[place]

    def _listed(self, model: str | None, day: str, size: int) -> Rates | None:
        if model is None or self.source is None:
            return None
        try:
            noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
        except ValueError:  # someone has written the time of an entry by hand
            return None
        return _listed_rates(model, noon, 1 + (SIZES[size - 1] if size > 0 else 0))


def _listed_rates(model: str, moment: datetime, input_tokens: int) -> Rates | None:
    """Return what the list says of requests of this size at that moment."""
    from genai_prices.data_snapshot import get_snapshot

    for provider, name in _readings(model):
        try:
            _, found = get_snapshot().find_provider_model(name, None, provider, None)
            prices = found.get_prices(moment)
        except (LookupError, ValueError):
            continue
        names = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "output_reasoning_mtok")
        plain, out, cached, written, reasoning = (_at(getattr(prices, each), input_tokens) for each in names)
        if plain is None or out is None:
            return None
        per_request = _at(prices.requests_kcount, input_tokens) or Decimal(0)
        return Rates.of(
            TokenPrices(
                input=plain,
                output=out,
                cached_input=cached,
                cache_write=written,
                reasoning=reasoning,
                thousand_requests=per_request,
            )
        )
    return None


def _readings(model: str) -> list[tuple[str | None, str]]:
    """Return the provider and the name that a model may mean: `openai/gpt-5`, or `litellm/` and the like of the SDK."""
    plain = model.removeprefix("litellm/").removeprefix("any-llm/")
    provider, slash, name = plain.partition("/")
    return [(provider, name), (None, plain)] if slash else [(None, plain)]


def _at(price: Any, input_tokens: int) -> Decimal | None:
    """Return a price for requests with so much input: above a threshold, all of it has another one."""
    if price is None:
        return None
    reached = [price] if isinstance(price, Decimal) else [price.base]
    reached += [tier.price for tier in getattr(price, "tiers", ()) if input_tokens > tier.start]
    return reached[-1].quantize(Decimal("1e-9"))
