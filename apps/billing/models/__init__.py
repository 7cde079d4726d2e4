"""Nouns of the billing house."""

from apps.billing.models.ledger import LedgerAccount, LedgerTransaction, Posting
from apps.billing.models.prices import Price, PriceCard
from apps.billing.models.usage import UsageHour, UsageRecord

__all__ = ["LedgerAccount", "LedgerTransaction", "Posting", "Price", "PriceCard", "UsageHour", "UsageRecord"]
