"""Staff pages of the billing house."""

from apps.billing.admin.books import (
    LedgerAccountAdmin,
    LedgerTransactionAdmin,
    PostingAdmin,
    PriceAdmin,
    UsageRecordAdmin,
)
from apps.billing.admin.usage import UsageExplorer

__all__ = [
    "LedgerAccountAdmin",
    "LedgerTransactionAdmin",
    "PostingAdmin",
    "PriceAdmin",
    "UsageExplorer",
    "UsageRecordAdmin",
]
