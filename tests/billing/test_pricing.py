"""Costs are exact to the micro-unit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.billing.services.pricing import PriceCard, cost_micros

CARD = PriceCard(input_micros=3_000_000, output_micros=15_000_000, cached_micros=300_000, cache_write_micros=3_750_000)
counts = st.integers(min_value=0, max_value=10_000_000)
prices = st.integers(min_value=0, max_value=1_000_000_000)


def test_every_kind_of_token_has_its_price() -> None:
    cost = cost_micros(CARD, prompt_tokens=1000, completion_tokens=100, cached_tokens=400, cache_write_tokens=200)
    assert cost == 400 * 3 + 120 + 750 + 1500  # fresh prompt, cached (0.3 each), written (3.75 each), completion


def test_reasoning_costs_what_output_costs_unless_it_has_a_price() -> None:
    dear = PriceCard(3_000_000, 15_000_000, 300_000, 3_750_000, reasoning_micros=60_000_000)
    assert cost_micros(CARD, prompt_tokens=0, completion_tokens=10, reasoning_tokens=4) == 150
    assert cost_micros(dear, prompt_tokens=0, completion_tokens=10, reasoning_tokens=4) == 6 * 15 + 4 * 60


def test_cache_writes_for_an_hour_have_their_price_or_that_of_any_other() -> None:
    hour = replace(CARD, cache_write_1h_micros=6_000_000)
    tokens = {"prompt_tokens": 300, "completion_tokens": 0, "cache_write_tokens": 300, "cache_write_1h_tokens": 100}
    assert cost_micros(hour, **tokens) == 200 * 3.75 + 100 * 6
    assert cost_micros(CARD, **tokens) == 300 * 3.75


LONG = replace(
    CARD, long_after_tokens=200_000, long_input_micros=6_000_000, long_output_micros=22_500_000, long_cached_micros=600_000,
    long_cache_write_micros=7_500_000, long_cache_write_1h_micros=12_000_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("card", "prompt", "cost"),
    [
        (LONG, 200_000, 199_960 * 3 + 9 + 37.5 + 150),
        (LONG, 200_001, 199_961 * 6 + 18 + 120 + 225),
        (replace(CARD, long_after_tokens=1), 200_001, 199_961 * 3 + 9 + 37.5 + 150),
    ],
    ids=["as long as the bound", "longer", "no prices of its own"],
)
def test_a_long_prompt_costs_the_long_prices_altogether(card: PriceCard, prompt: int, cost: float) -> None:
    found = cost_micros(
        card,
        prompt_tokens=prompt,
        completion_tokens=10,
        cached_tokens=30,
        cache_write_tokens=10,
        cache_write_1h_tokens=10,
    )
    assert found == round(cost)


@pytest.mark.parametrize(("tokens", "cost"), [(1, 0), (3, 2), (5, 2), (7, 4), (0, 0)])
def test_halves_round_to_the_even_neighbour(tokens: int, cost: int) -> None:
    card = PriceCard(input_micros=500_000, output_micros=0, cached_micros=0, cache_write_micros=0)
    assert cost_micros(card, prompt_tokens=tokens, completion_tokens=0) == cost


def test_just_over_a_half_rounds_up() -> None:
    card = PriceCard(input_micros=500_001, output_micros=0, cached_micros=0, cache_write_micros=0)
    assert cost_micros(card, prompt_tokens=1, completion_tokens=0) == 1


def test_parts_larger_than_their_whole_make_nothing_negative() -> None:
    assert cost_micros(CARD, prompt_tokens=0, completion_tokens=0, cached_tokens=10, reasoning_tokens=2) == 3 + 30


@given(prompt=counts, completion=counts, cached=counts, price=prices, output=prices)
def test_the_cost_is_the_exact_one_rounded_once(
    prompt: int, completion: int, cached: int, price: int, output: int
) -> None:
    card = PriceCard(price, output, price // 10, price)
    exact = Fraction(max(prompt - cached, 0) * price + cached * (price // 10) + completion * output, 1_000_000)
    assert cost_micros(card, prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached) == round(exact)
