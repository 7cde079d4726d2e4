"""Answers about prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from apps.billing.choices import ServiceTier
from apps.billing.models import Price, PriceCard

ModelKey = tuple[str, str]
"""Slug of the provider and the model's name there."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """What every model costs at a moment: in the standard tier, and in other tiers where those have prices."""

    standard: dict[ModelKey, PriceCard] = field(default_factory=dict)
    tiers: dict[ModelKey, dict[str, PriceCard]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeldPrice:
    """A price with its validity, and the row that says so."""

    id: UUID
    card: PriceCard
    valid_from: datetime
    valid_until: datetime | None


class PriceHistory:
    """Every price of some providers' models through time, in memory."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self._held: dict[tuple[str, str, str], list[HeldPrice]] = {}
        for price in sorted(prices, key=lambda price: price.valid_from, reverse=True):
            held = HeldPrice(price.id, price.card, price.valid_from, price.valid_until)
            self._held.setdefault((price.provider, price.model, price.service_tier), []).append(held)

    def find(self, provider: str, model: str, service_tier: str, at: datetime) -> HeldPrice | None:
        """Return what a model cost at a moment: in its tier, else in the standard one; None when it had no price."""
        found = self._find(provider, model, service_tier, at)
        if found is None and service_tier != ServiceTier.STANDARD:
            return self._find(provider, model, ServiceTier.STANDARD.value, at)
        return found

    def _find(self, provider: str, model: str, service_tier: str, at: datetime) -> HeldPrice | None:
        for held in self._held.get((provider, model, service_tier), ()):
            if held.valid_from <= at and (held.valid_until is None or held.valid_until > at):
                return held
        return None


def price_list(at: datetime) -> PriceList:
    """Return what every model costs at a moment, in all tiers. One statement."""
    found = PriceList()
    for price in Price.objects.valid_at(at):
        key = (price.provider, price.model)
        if price.service_tier == ServiceTier.STANDARD:
            found.standard[key] = price.card
        else:
            found.tiers.setdefault(key, {})[price.service_tier] = price.card
    return found


def price_cards(at: datetime) -> Mapping[ModelKey, PriceCard]:
    """Return what every model costs at a moment in the standard tier, by (provider, model)."""
    return price_list(at).standard


def price_history(*, provider: str = "", model: str = "") -> PriceHistory:
    """Return all prices through time: of all models, or of one provider's or model's. One statement."""
    wanted = {name: value for name, value in (("provider", provider), ("model", model)) if value}
    return PriceHistory(Price.objects.filter(**wanted).order_by("id"))
