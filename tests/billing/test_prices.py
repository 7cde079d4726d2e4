"""The price list keeps its history and says when it changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.billing.models import Price, PriceCard
from apps.billing.selectors import price_cards
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
        "valid_from": "2026-06-01T00:00:00+00:00",
        "input_micros": 300_000,
        "output_micros": 900_000,
        "cached_micros": 75_000,
        "cache_write_micros": 150_000,
        "reasoning_micros": 1,
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
    with pytest.raises(IntegrityError, match="billing_price_once_per_moment"), transaction.atomic():
        PriceFactory(id=uuid7(), provider=price.provider, model=price.model, valid_from=JUNE)
