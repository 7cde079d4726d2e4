"""Costs are exact to the micro-unit."""

from __future__ import annotations

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
