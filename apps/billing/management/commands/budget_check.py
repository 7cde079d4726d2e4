"""`manage.py budget_check`: prove that budgets have spent what their calls cost and never more than they allow."""

from __future__ import annotations

from typing import Any, ClassVar

from apps.billing.management.checking import CheckCommand
from apps.billing.selectors.books import CheckReport
from apps.billing.selectors.budget_check import check_budgets


class Command(CheckCommand):
    help = (
        "Check that what every budget has spent is the sum of its usage records, that what is leased is what processes hold, "
        "and that both together pass no hard limit. Exit code 1 when not. Works while the services run."
    )
    holds: ClassVar[str] = "the budgets hold"

    def check_all(self, options: dict[str, Any]) -> CheckReport:
        return check_budgets()
