"""Answers about prices."""

from __future__ import annotations

from datetime import datetime

from apps.billing.models import Price, PriceCard


def price_cards(at: datetime) -> dict[tuple[str, str], PriceCard]:
    """Return what every model costs at a moment, by (provider, model)."""
    return {(price.provider, price.model): price.card for price in Price.objects.valid_at(at)}
