"""What a model costs: the user's word first, then the list, as it was on the day of the request."""

import subprocess
import sys
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ConditionalPrice, TieredPrices

from agents_sessions.errors import InvalidValueError
from agents_sessions.features.statistics.prices import DOLLAR, PriceBook, TokenPrices, check_prices
from agents_sessions.model.spend import SIZES, Line


def line(model, day="2026-11-20", size=0):
    return Line(day, "support", model, nested=False, size=size)


def dollars(rate):
    """Return what a million of something costs."""
    return Decimal(rate).scaleb(6 - DOLLAR)


@pytest.fixture
def book():
    return PriceBook({})


def test_the_list_knows_what_input_output_and_the_cache_cost(book):
    rates = book.rates(line("gpt-4.1"))
    assert (dollars(rates.input), dollars(rates.cached), dollars(rates.output)) == (2, Decimal("0.5"), 8)


def test_what_the_list_does_not_price_apart_costs_what_the_whole_costs(book):
    rates = book.rates(line("gpt-4.1"))
    assert (rates.cache_write, rates.reasoning, rates.request) == (rates.input, rates.output, 0)


def test_the_price_is_that_of_the_day_of_the_request(book):
    before, after = book.rates(line("o3", "2025-05-20")), book.rates(line("o3", "2026-01-20"))
    assert (dollars(before.input), dollars(after.input)) == (10, 2)


@pytest.mark.parametrize(
    "name",
    ["openai/gpt-4.1", "litellm/openai/gpt-4.1", "litellm/gpt-4.1", "any-llm/openai/gpt-4.1", "gpt-4.1-2025-04-14"],
)
def test_a_model_is_known_by_every_name_that_the_sdk_takes(book, name):
    assert book.rates(line(name)) == book.rates(line("gpt-4.1"))


def test_a_request_may_cost_something_beside_its_tokens():
    prices = TokenPrices(input=0, output=0, thousand_requests="0.5")
    rates = PriceBook({"m": prices}).rates(line("m"))
    assert rates.request * 1000 == Decimal("0.5").scaleb(DOLLAR)


@pytest.mark.parametrize("name", ["foo-1", "my-proxy/gpt-4.1", "openai/foo-1", "", "/", None])
def test_a_model_that_no_one_knows_has_no_price(book, name):
    assert book.rates(line(name)) is None


def test_a_request_with_a_long_input_costs_more_where_the_list_says_so(book):
    small, large = book.rates(line("gemini-2.5-pro")), book.rates(line("gemini-2.5-pro", size=len(SIZES)))
    assert (dollars(small.input), dollars(large.input)) == (Decimal("1.25"), Decimal("2.5"))


def test_the_steps_of_the_sizes_are_all_that_the_list_has():
    prices = []
    for model in (model for provider in get_snapshot().providers for model in provider.models):
        many = model.prices if isinstance(model.prices, list) else [ConditionalPrice(prices=model.prices)]
        prices += [price for each in many for price in vars(each.prices).values()]
    steps = {tier.start for price in prices if isinstance(price, TieredPrices) for tier in price.tiers}
    assert steps <= set(SIZES)


def test_the_user_is_believed_before_the_list(book):
    own = PriceBook(check_prices({"gpt-4.1": {"input": "0.10", "output": 1}, None: TokenPrices(input=1, output=2)}))
    assert dollars(own.rates(line("gpt-4.1")).input) == Decimal("0.10")
    assert dollars(own.rates(line(None)).output) == 2
    assert own.rates(line("o3")) == book.rates(line("o3"))


def test_a_time_that_someone_has_written_by_hand_has_no_price(book):
    assert book.rates(line("gpt-4.1", day="yesterday")) is None


@pytest.mark.parametrize(
    ("prices", "named"),
    [
        ({"m": {"input": "1"}}, "output"),
        ({"m": {"input": -1, "output": 1}}, "input"),
        ({"m": {"input": "NaN", "output": 1}}, "input"),
        ({"m": {"input": "0.0000000001", "output": 1}}, "input"),
        ({"m": {"input": 1, "output": 1, "cached": 1}}, "cached"),
        ({"m": "cheap"}, "TokenPrices"),
        ({7: {"input": 1, "output": 1}}, "keys"),
        ([("m", 1)], "dict"),
    ],
)
def test_a_price_that_is_none_is_refused_by_name(prices, named):
    with pytest.raises(InvalidValueError, match=named):
        check_prices(prices)


def test_a_manager_that_is_asked_for_no_money_does_not_load_the_list():
    made = "from agents_sessions import SessionManager; SessionManager().statistics"
    script = f"import sys; {made}; print('genai_prices' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == ["False"]


def test_without_the_list_only_the_user_knows_prices(monkeypatch):
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    book = PriceBook(check_prices({"mine": {"input": 1, "output": 1}}))
    assert book.source is None
    assert book.rates(line("gpt-4.1")) is None
    assert dollars(book.rates(line("mine")).input) == 1
