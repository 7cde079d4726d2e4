"""Staff pages of the billing house."""

from apps.billing.admin.books import (
    LedgerAccountAdmin,
    LedgerTransactionAdmin,
    PostingAdmin,
    UsageRecordAdmin,
)
from apps.billing.admin.budgets import BudgetAdmin
from apps.billing.admin.corrections import (
    AdjustmentAdmin,
    ReconciliationAdmin,
    ReconciliationLineAdmin,
    RepricingAdmin,
)
from apps.billing.admin.prices import PriceAdmin
from apps.billing.admin.usage import UsageExplorer

__all__ = [
    "AdjustmentAdmin",
    "BudgetAdmin",
    "LedgerAccountAdmin",
    "LedgerTransactionAdmin",
    "PostingAdmin",
    "PriceAdmin",
    "ReconciliationAdmin",
    "ReconciliationLineAdmin",
    "RepricingAdmin",
    "UsageExplorer",
    "UsageRecordAdmin",
]
