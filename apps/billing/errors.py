"""Failures of the billing house."""

from apps.core.errors import AppError, Conflict, DependencyDown, InvalidInput


class PeriodInvalid(InvalidInput):
    code, title = "billing.period_invalid", "The period is not valid"


class BudgetInvalid(InvalidInput):
    code, title = "billing.budget_invalid", "The budget is not valid"


class TooManyBudgets(Conflict):
    code, title = "billing.too_many_budgets", "The organization has too many budgets"


class BudgetExceeded(AppError):
    """The call's worst case does not fit into what a hard limit leaves. Nothing was called and nothing is charged."""

    code, status, title = "billing.budget_exceeded", 402, "A budget is used up"


class ModelUnpriced(AppError):
    """What the call would cost is not known, so that no budget can bound it."""

    code, status, title = "billing.model_unpriced", 402, "The model has no price"


class BudgetsUnreachable(DependencyDown):
    """What the process held of a budget is used up, and the database that could give more does not answer."""

    code, title = "billing.budgets_unreachable", "Budgets cannot be checked at the moment"


class BillUnreadable(InvalidInput):
    code, title = "billing.bill_unreadable", "The bill cannot be read"
