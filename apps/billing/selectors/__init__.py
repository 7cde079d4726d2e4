"""Answers of the billing house: prices, usage, the state of the books."""

from apps.billing.selectors.prices import PriceList, price_cards, price_list
from apps.billing.selectors.usage import (
    UsagePoint,
    UsageQuery,
    UsageSummary,
    UsageTotals,
    usage_of_model,
    usage_series,
    usage_summary,
)

__all__ = [
    "PriceList",
    "UsagePoint",
    "UsageQuery",
    "UsageSummary",
    "UsageTotals",
    "price_cards",
    "price_list",
    "usage_of_model",
    "usage_series",
    "usage_summary",
]
