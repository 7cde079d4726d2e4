"""Answers of the billing house: prices, usage, the state of the books."""

from apps.billing.selectors.prices import price_cards
from apps.billing.selectors.usage import (
    UsagePoint,
    UsageSummary,
    UsageTotals,
    usage_of_model,
    usage_series,
    usage_summary,
)

__all__ = [
    "UsagePoint",
    "UsageSummary",
    "UsageTotals",
    "price_cards",
    "usage_of_model",
    "usage_series",
    "usage_summary",
]
