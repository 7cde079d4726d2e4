"""Staff pages of the billing house."""

from apps.billing.admin.books import (
    LedgerAccountAdmin,
    LedgerTransactionAdmin,
    PostingAdmin,
    PriceAdmin,
    UsageRecordAdmin,
)

__all__ = ["LedgerAccountAdmin", "LedgerTransactionAdmin", "PostingAdmin", "PriceAdmin", "UsageRecordAdmin"]
