"""The price list."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q

from apps.billing.choices import ServiceTier
from apps.billing.querysets import PriceQuerySet
from apps.core.models import Entity


@dataclass(frozen=True, slots=True)
class PriceCard:
    """What a model's tokens cost, in micro-USD per million tokens.

    `cached_micros` is for prompt tokens read from the provider's cache, `cache_write_micros` for those written to it, and
    `cache_write_1h_micros` for those of them that stay for an hour; None: as any other. `reasoning_micros` None means that
    reasoning costs what output costs. A call whose prompt is longer than `long_after_tokens` costs the `long_` prices
    altogether, where they are given.
    """

    input_micros: int
    output_micros: int
    cached_micros: int
    cache_write_micros: int
    reasoning_micros: int | None = None
    cache_write_1h_micros: int | None = None
    long_after_tokens: int | None = None
    long_input_micros: int | None = None
    long_output_micros: int | None = None
    long_cached_micros: int | None = None
    long_cache_write_micros: int | None = None
    long_cache_write_1h_micros: int | None = None


CARD_FIELDS = tuple(field.name for field in fields(PriceCard))
card_values = attrgetter(*CARD_FIELDS)
"""The prices of a card or a row, in the order in which PriceCard takes them."""


def _long(name: str) -> models.PositiveBigIntegerField[Any, Any]:
    return models.PositiveBigIntegerField(
        f"{name}, long", null=True, blank=True, help_text="Micro-USD per million tokens; empty: as for short prompts."
    )


class Price(Entity):
    """What a provider's model costs in a service tier from a moment on, in micro-USD per million tokens.

    A tier without a price of its own costs what the standard one does. A price change is a new row; the newest row that is valid at a moment counts.
    """

    ID_PREFIX: ClassVar[str] = "price"

    provider = models.CharField(max_length=64, help_text="Slug of the provider.")
    model = models.CharField(max_length=200, help_text="Name of the model at the provider.")
    service_tier = models.CharField(
        max_length=16,
        choices=ServiceTier.choices,
        default=ServiceTier.STANDARD,
        db_default=ServiceTier.STANDARD,
        help_text="As the provider's answer tells it. A tier without a price costs what the standard one does.",
    )
    input_micros = models.PositiveBigIntegerField("input", help_text="Micro-USD per million prompt tokens.")
    output_micros = models.PositiveBigIntegerField("output", help_text="Micro-USD per million completion tokens.")
    cached_micros = models.PositiveBigIntegerField(
        "cached input", help_text="Micro-USD per million prompt tokens that the provider read from its cache."
    )
    cache_write_micros = models.PositiveBigIntegerField(
        "cache write", help_text="Micro-USD per million prompt tokens that the provider wrote to its cache."
    )
    reasoning_micros = models.PositiveBigIntegerField(
        "reasoning", null=True, blank=True, help_text="Micro-USD per million reasoning tokens; empty: as output."
    )
    cache_write_1h_micros = models.PositiveBigIntegerField(
        "cache write, 1 hour",
        null=True,
        blank=True,
        help_text="Micro-USD per million prompt tokens written to a cache that stays for an hour; empty: as any cache write.",
    )
    long_after_tokens = models.PositiveIntegerField(
        "long after", null=True, blank=True, help_text="A prompt of more tokens than these costs the prices below."
    )
    long_input_micros = _long("input")
    long_output_micros = _long("output")
    long_cached_micros = _long("cached input")
    long_cache_write_micros = _long("cache write")
    long_cache_write_1h_micros = _long("cache write, 1 hour")
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True, help_text="Empty: until a newer price begins.")

    objects = PriceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "model", "service_tier", "valid_from"], name="billing_price_once_per_tier"
            ),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="billing_price_ends_after_it_begins",
                violation_error_message="A price ends after it begins.",
            ),
        ]

    def __str__(self) -> str:
        tier = "" if self.service_tier == ServiceTier.STANDARD else f", {self.get_service_tier_display()}"
        return f"{self.provider}/{self.model}{tier} from {self.valid_from:%Y-%m-%d}"

    @property
    def card(self) -> PriceCard:
        """Return the prices without their validity."""
        return PriceCard(*card_values(self))
