"""The price list keeps its history and says when it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.billing.models import Price, PriceCard
from apps.billing.selectors import price_cards, price_list
from apps.billing.selectors.prices import price_history
from apps.billing.services.prices import set_price
from apps.core.actor import system_actor
from apps.core.ids import uuid7
from apps.events.models import Event
from tests.factories.billing import PriceFactory

pytestmark = pytest.mark.django_db
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
CARD = PriceCard(input_micros=150_000, output_micros=600_000, cached_micros=75_000, cache_write_micros=150_000)
DEARER = PriceCard(
    input_micros=300_000, output_micros=900_000, cached_micros=75_000, cache_write_micros=150_000, reasoning_micros=1
)
KEY = ("openai", "gpt-4o-mini")


def set_ours(card: PriceCard, valid_from: datetime) -> bool:
    return set_price(provider=KEY[0], model=KEY[1], card=card, valid_from=valid_from, actor=system_actor())


def test_a_price_counts_from_its_moment_until_a_newer_one() -> None:
    assert set_ours(CARD, JANUARY) is True
    assert set_ours(DEARER, JUNE) is True
    assert price_cards(JANUARY - timedelta(microseconds=1)) == {}
    assert price_cards(JANUARY) == {KEY: CARD}
    assert price_cards(JUNE - timedelta(microseconds=1)) == {KEY: CARD}
    assert price_cards(JUNE) == {KEY: DEARER}


def test_setting_the_same_price_again_writes_nothing() -> None:
    set_ours(CARD, JANUARY)
    assert set_ours(CARD, JANUARY) is False
    assert set_ours(CARD, JUNE) is False
    assert (Price.objects.count(), Event.objects.count()) == (1, 1)


def test_a_price_of_the_same_moment_is_corrected() -> None:
    set_ours(CARD, JANUARY)
    assert set_ours(DEARER, JANUARY) is True
    assert price_cards(JANUARY) == {KEY: DEARER}
    assert Price.objects.count() == 1


def test_a_change_is_announced() -> None:
    set_ours(DEARER, JUNE)
    event = Event.objects.get()
    assert (event.type, event.aggregate_type, event.aggregate_id) == ("price.changed", "price", Price.objects.get().id)
    assert event.payload == {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "service_tier": "standard",
        "valid_from": "2026-06-01T00:00:00+00:00",
        "input_micros": 300_000,
        "output_micros": 900_000,
        "cached_micros": 75_000,
        "cache_write_micros": 150_000,
        "reasoning_micros": 1,
        "cache_write_1h_micros": None,
        "long_after_tokens": None,
        "long_input_micros": None,
        "long_output_micros": None,
        "long_cached_micros": None,
        "long_cache_write_micros": None,
        "long_cache_write_1h_micros": None,
    }


def test_a_price_that_ended_gives_way_to_the_one_before() -> None:
    PriceFactory(provider=KEY[0], model=KEY[1], valid_from=JANUARY)
    PriceFactory(provider=KEY[0], model=KEY[1], valid_from=JUNE, valid_until=JUNE + timedelta(days=1), input_micros=0)
    assert price_cards(JUNE)[KEY].input_micros == 0
    assert price_cards(JUNE + timedelta(days=1))[KEY].input_micros == 150_000


def test_each_provider_and_model_has_its_own_price() -> None:
    PriceFactory(provider="openai", model="a")
    PriceFactory(provider="openrouter", model="a", input_micros=1)
    PriceFactory(provider="openai", model="b", input_micros=2)
    found = {key: card.input_micros for key, card in price_cards(JUNE).items()}
    assert found == {("openai", "a"): 150_000, ("openrouter", "a"): 1, ("openai", "b"): 2}


def test_a_price_cannot_end_before_it_begins_nor_begin_twice() -> None:
    price = PriceFactory(valid_from=JUNE)
    with pytest.raises(IntegrityError, match="billing_price_ends_after_it_begins"), transaction.atomic():
        PriceFactory(valid_from=JUNE, valid_until=JUNE)
    with pytest.raises(IntegrityError, match="billing_price_once_per_tier"), transaction.atomic():
        PriceFactory(id=uuid7(), provider=price.provider, model=price.model, valid_from=JUNE)


def test_tiers_have_prices_of_their_own_beside_the_standard_one() -> None:
    set_ours(CARD, JANUARY)
    assert set_price(
        provider=KEY[0], model=KEY[1], card=DEARER, valid_from=JANUARY, actor=system_actor(), service_tier="priority"
    )
    found = price_list(JUNE)
    assert (found.standard, found.tiers) == ({KEY: CARD}, {KEY: {"priority": DEARER}})
    assert str(Price.objects.get(service_tier="priority")) == "openai/gpt-4o-mini, Priority from 2026-01-01"


def test_the_history_knows_each_moment_and_falls_back_to_the_standard_tier() -> None:
    PriceFactory(provider=KEY[0], model=KEY[1], valid_from=JANUARY)
    PriceFactory(provider=KEY[0], model=KEY[1], valid_from=JUNE, valid_until=JUNE + timedelta(days=1), input_micros=7)
    PriceFactory(provider=KEY[0], model=KEY[1], valid_from=JUNE, service_tier="flex", input_micros=3)
    history = price_history(provider=KEY[0], model=KEY[1])

    def cost(tier: str, at: datetime) -> int | None:
        held = history.find(*KEY, tier, at)
        return held and held.card.input_micros

    assert cost("standard", JANUARY - timedelta(seconds=1)) is None
    assert (cost("standard", JANUARY), cost("standard", JUNE)) == (150_000, 7)
    assert cost("standard", JUNE + timedelta(days=1)) == 150_000
    assert (cost("flex", JANUARY), cost("flex", JUNE), cost("batch", JUNE)) == (150_000, 3, 7)
    assert price_history(provider="nobody").find(*KEY, "standard", JUNE) is None
