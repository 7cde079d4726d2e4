"""The price list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from apps.billing.querysets import PriceQuerySet
from apps.core.models import Entity


@dataclass(frozen=True, slots=True)
class PriceCard:
    """What a model's tokens cost, in micro-USD per million tokens.

    `cached_micros` is for prompt tokens read from the provider's cache, `cache_write_micros` for those written to it.
    `reasoning_micros` None means that reasoning costs what output costs.
    """

    input_micros: int
    output_micros: int
    cached_micros: int
    cache_write_micros: int
    reasoning_micros: int | None = None


class Price(Entity):
    """What a provider's model costs from a moment on, in micro-USD per million tokens.

    A price change is a new row; the newest row that is valid at a moment counts.
    """

    ID_PREFIX: ClassVar[str] = "price"

    provider = models.CharField(max_length=64, help_text="Slug of the provider.")
    model = models.CharField(max_length=200, help_text="Name of the model at the provider.")
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
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True, help_text="Empty: until a newer price begins.")

    objects = PriceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "model", "valid_from"], name="billing_price_once_per_moment"),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="billing_price_ends_after_it_begins",
                violation_error_message="A price ends after it begins.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} from {self.valid_from:%Y-%m-%d}"

    @property
    def card(self) -> PriceCard:
        """Return the prices without their validity."""
        return PriceCard(
            input_micros=self.input_micros,
            output_micros=self.output_micros,
            cached_micros=self.cached_micros,
            cache_write_micros=self.cache_write_micros,
            reasoning_micros=self.reasoning_micros,
        )
