"""Words of the billing house."""

from django.db import models


class UsageStatus(models.TextChoices):
    """How a call ended."""

    OK = "ok", "OK"
    ERROR = "error", "Error"
    CANCELLED = "cancelled", "Cancelled by the caller"
    INTERRUPTED = "interrupted", "Interrupted: the process that served it died"


class AccountKind(models.TextChoices):
    """What a ledger account stands for."""

    USAGE = "usage", "Usage of an organization"
    REVENUE = "revenue", "Revenue of the platform"


class TransactionKind(models.TextChoices):
    """Why money moved in the books."""

    USAGE = "usage", "Usage"


class UsageGroup(models.TextChoices):
    """By what usage is grouped."""

    MODEL = "model", "Model"
    KEY = "key", "API key"
    USER = "user", "User"
    DAY = "day", "Day"
