"""Usage records, and their hourly sums."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Value
from django.db.models.functions import Now

from apps.billing.choices import ServiceTier, UsageStatus
from apps.billing.models.adjustments import Adjustment
from apps.billing.querysets import UsageHourQuerySet, UsageRecordQuerySet
from apps.core.ids import encode_id, uuid7
from apps.core.money import DEFAULT_CURRENCY

HOUR_KEY = ("organization_id", "hour", "user_id", "api_key_id", "team_id", "provider", "model", "endpoint", "currency")
"""What tells one hourly sum from another, in the order in which the sums are locked."""


class UsageRecord(models.Model):
    """One call that was forwarded to a model: partitioned by month, refused UPDATE, DELETE and TRUNCATE by trigger.

    `id` is the request's; `created_at` is when it was forwarded. Organization, team, user and key are plain ids: they may
    be gone while what they used must stay. `cost_micros` is what the price of that moment said; where prices were put right
    afterwards, adjustments say by how much.
    """

    ID_PREFIX: ClassVar[str] = "req"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now())
    organization_id = models.UUIDField()
    user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=64)
    upstream_model = models.CharField(max_length=200, blank=True)
    endpoint = models.CharField(max_length=64)
    prompt_tokens = models.PositiveIntegerField()
    completion_tokens = models.PositiveIntegerField()
    cached_tokens = models.PositiveIntegerField()
    cache_write_tokens = models.PositiveIntegerField()
    reasoning_tokens = models.PositiveIntegerField()
    cost_micros = models.PositiveBigIntegerField()
    currency = models.CharField(max_length=3, default=DEFAULT_CURRENCY)
    status = models.CharField(max_length=16, choices=UsageStatus.choices)
    is_estimated = models.BooleanField(default=False)
    is_stream = models.BooleanField(default=False)
    http_status = models.PositiveSmallIntegerField()
    error_code = models.CharField(max_length=96, blank=True)
    latency_ms = models.PositiveIntegerField()
    first_token_ms = models.PositiveIntegerField(null=True)
    attempts = models.PositiveSmallIntegerField(default=1)
    upstream_request_id = models.CharField(max_length=200, blank=True)
    end_user = models.CharField(max_length=256, blank=True)
    team_id = models.UUIDField(null=True)
    tags = ArrayField(models.CharField(max_length=64), default=list, db_default=Value("{}"), blank=True)
    service_tier = models.CharField(
        max_length=16, choices=ServiceTier.choices, default=ServiceTier.STANDARD, db_default=ServiceTier.STANDARD
    )
    cache_write_1h_tokens = models.PositiveIntegerField(default=0, db_default=0)

    objects = UsageRecordQuerySet.as_manager()

    class Meta:
        db_table = "billing_usage_record"
        indexes = [
            models.Index(fields=["created_at"], name="billing_usage_created"),
            models.Index(fields=["organization_id", "-created_at"], name="billing_usage_organization"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """Return the id that the caller saw as x-portico-request-id."""
        return encode_id(self.ID_PREFIX, self.id)

    @staticmethod
    def adjustments() -> models.QuerySet[Adjustment]:
        """Return the adjustments of all records."""
        return Adjustment.objects.all()


class UsageHour(models.Model):
    """What one key of one user used of one model in one hour: the sums of its usage records and their adjustments.

    `errors` counts calls that failed or were interrupted. `first_token_ms_sum` covers `first_token_count` calls: those
    that got a first token.
    """

    id = models.BigAutoField(primary_key=True)
    hour = models.DateTimeField()
    organization_id = models.UUIDField()
    user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    team_id = models.UUIDField(null=True)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=64, default="", db_default="", blank=True)
    currency = models.CharField(max_length=3)
    requests = models.BigIntegerField()
    errors = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    cost_micros = models.BigIntegerField()
    latency_ms_sum = models.BigIntegerField()
    first_token_ms_sum = models.BigIntegerField()
    first_token_count = models.BigIntegerField()

    objects = UsageHourQuerySet.as_manager()

    class Meta:
        db_table = "billing_usage_hour"
        constraints = [
            models.UniqueConstraint(
                fields=HOUR_KEY,
                nulls_distinct=False,
                name="billing_usage_hour_once_each",
            )
        ]
        indexes = [models.Index(fields=["hour"], name="billing_usage_hour_hour")]

    def __str__(self) -> str:
        return f"{self.model} {self.hour:%Y-%m-%d %H}h"
