"""Nouns of the billing house."""

from apps.billing.models.adjustments import Adjustment, Repricing
from apps.billing.models.bills import Reconciliation, ReconciliationLine
from apps.billing.models.budgets import Budget, BudgetAlert, BudgetHolder, BudgetLease, BudgetPeriod
from apps.billing.models.ledger import LedgerAccount, LedgerTransaction, Posting
from apps.billing.models.prices import Price, PriceCard
from apps.billing.models.usage import UsageHour, UsageRecord

__all__ = [
    "Adjustment",
    "Budget",
    "BudgetAlert",
    "BudgetHolder",
    "BudgetLease",
    "BudgetPeriod",
    "LedgerAccount",
    "LedgerTransaction",
    "Posting",
    "Price",
    "PriceCard",
    "Reconciliation",
    "ReconciliationLine",
    "Repricing",
    "UsageHour",
    "UsageRecord",
]
