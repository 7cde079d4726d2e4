"""Failures of the billing house."""

from apps.core.errors import InvalidInput


class PeriodInvalid(InvalidInput):
    code, title = "billing.period_invalid", "The period is not valid"
