"""Words of the billing house."""

from django.db import models


class UsageStatus(models.TextChoices):
    """How a call ended."""

    OK = "ok", "OK"
    ERROR = "error", "Error"
    CANCELLED = "cancelled", "Cancelled by the caller"
    INTERRUPTED = "interrupted", "Interrupted: the process that served it died"


class ServiceTier(models.TextChoices):
    """How quickly a provider served a call, which is part of its price."""

    STANDARD = "standard", "Standard"
    BATCH = "batch", "Batch"
    FLEX = "flex", "Flex"
    PRIORITY = "priority", "Priority"


class AccountKind(models.TextChoices):
    """What a ledger account stands for."""

    USAGE = "usage", "Usage of an organization"
    REVENUE = "revenue", "Revenue of the platform"


class TransactionKind(models.TextChoices):
    """Why money moved in the books."""

    USAGE = "usage", "Usage"
    ADJUSTMENT = "adjustment", "Adjustment of a call's cost"


class UsageGroup(models.TextChoices):
    """By what usage is grouped."""

    MODEL = "model", "Model"
    KEY = "key", "API key"
    USER = "user", "User"
    DAY = "day", "Day"
    HOUR = "hour", "Hour"
    TEAM = "team", "Team"
    PROVIDER = "provider", "Provider"
    ENDPOINT = "endpoint", "Endpoint"
    TAG = "tag", "Tag"
    END_USER = "end_user", "End user"
    STATUS = "status", "Status"


class BillForm(models.TextChoices):
    """In which form a provider's bill comes."""

    GENERIC = "generic", "Generic"
    OPENAI_USAGE = "openai_usage", "OpenAI usage export"
    OPENAI_COST = "openai_cost", "OpenAI cost export"
    ANTHROPIC_USAGE = "anthropic_usage", "Anthropic usage export"
    ANTHROPIC_COST = "anthropic_cost", "Anthropic cost export"
    OPENROUTER = "openrouter", "OpenRouter activity"


class Verdict(models.TextChoices):
    """What a comparison with a bill found."""

    AGREES = "agrees", "Agrees"
    DIFFERS = "differs", "Differs"
    NOT_RECORDED = "not_recorded", "On the bill, not recorded"
    NOT_BILLED = "not_billed", "Recorded, not on the bill"


class BudgetScope(models.TextChoices):
    """Whose spending a budget bounds."""

    ORGANIZATION = "organization", "Organization"
    TEAM = "team", "Team"
    USER = "user", "User"
    KEY = "key", "API key"
    END_USER = "end_user", "End user"
    TAG = "tag", "Tag"
    MODEL = "model", "Model"


class BudgetWindow(models.TextChoices):
    """How long a budget lasts before it begins anew: calendar windows in UTC, weeks from Monday."""

    DAY = "day", "Day"
    WEEK = "week", "Week"
    MONTH = "month", "Month"
    TOTAL = "total", "Total, never renewed"


class AlertKind(models.TextChoices):
    """What an alert measured."""

    HARD = "hard", "Part of the hard limit"
    SOFT = "soft", "Part of the soft limit"
    FORECAST = "forecast", "Will pass the limit before the window ends"
