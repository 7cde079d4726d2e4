"""The price list, the usage records with their hourly sums, and the double-entry books."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.billing.choices import AccountKind, TransactionKind, UsageStatus
from apps.billing.querysets import PriceQuerySet, UsageHourQuerySet, UsageRecordQuerySet
from apps.core.ids import encode_id, uuid7
from apps.core.models import Entity
from apps.core.money import DEFAULT_CURRENCY


@dataclass(frozen=True, slots=True)
class PriceCard:
    """What a model's tokens cost, in micro-USD per million tokens.

    `cached_micros` is for prompt tokens read from the provider's cache, `cache_write_micros` for those written to it.
    `reasoning_micros` None means that reasoning costs what output costs.
    """

    input_micros: int
    output_micros: int
    cached_micros: int
    cache_write_micros: int
    reasoning_micros: int | None = None


class Price(Entity):
    """What a provider's model costs from a moment on, in micro-USD per million tokens.

    A price change is a new row; the newest row that is valid at a moment counts.
    """

    ID_PREFIX: ClassVar[str] = "price"

    provider = models.CharField(max_length=64, help_text="Slug of the provider.")
    model = models.CharField(max_length=200, help_text="Name of the model at the provider.")
    input_micros = models.PositiveBigIntegerField("input", help_text="Micro-USD per million prompt tokens.")
    output_micros = models.PositiveBigIntegerField("output", help_text="Micro-USD per million completion tokens.")
    cached_micros = models.PositiveBigIntegerField(
        "cached input", help_text="Micro-USD per million prompt tokens that the provider read from its cache."
    )
    cache_write_micros = models.PositiveBigIntegerField(
        "cache write", help_text="Micro-USD per million prompt tokens that the provider wrote to its cache."
    )
    reasoning_micros = models.PositiveBigIntegerField(
        "reasoning", null=True, blank=True, help_text="Micro-USD per million reasoning tokens; empty: as output."
    )
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True, help_text="Empty: until a newer price begins.")

    objects = PriceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "model", "valid_from"], name="billing_price_once_per_moment"),
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=F("valid_from")),
                name="billing_price_ends_after_it_begins",
                violation_error_message="A price ends after it begins.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model} from {self.valid_from:%Y-%m-%d}"

    @property
    def card(self) -> PriceCard:
        """Return the prices without their validity."""
        return PriceCard(
            input_micros=self.input_micros,
            output_micros=self.output_micros,
            cached_micros=self.cached_micros,
            cache_write_micros=self.cache_write_micros,
            reasoning_micros=self.reasoning_micros,
        )


class UsageRecord(models.Model):
    """One call that was forwarded to a model: partitioned by month, refused UPDATE, DELETE and TRUNCATE by trigger.

    `id` is the request's; `created_at` is when it was forwarded. Organization, user and key are plain ids: they may be
    gone while what they used must stay.
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


class UsageHour(models.Model):
    """What one key of one user used of one model in one hour: the sums of its usage records.

    `errors` counts calls that failed or were interrupted. `first_token_ms_sum` covers `first_token_count` calls: those
    that got a first token.
    """

    id = models.BigAutoField(primary_key=True)
    hour = models.DateTimeField()
    organization_id = models.UUIDField()
    user_id = models.UUIDField(null=True)
    api_key_id = models.UUIDField(null=True)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=64)
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
                fields=["organization_id", "hour", "user_id", "api_key_id", "provider", "model", "currency"],
                nulls_distinct=False,
                name="billing_usage_hour_once",
            )
        ]
        indexes = [models.Index(fields=["hour"], name="billing_usage_hour_hour")]

    def __str__(self) -> str:
        return f"{self.model} {self.hour:%Y-%m-%d %H}h"


class LedgerAccount(Entity):
    """One account of the books. Its balance is the sum of its postings; debits are positive, credits negative.

    A trigger refuses to delete an account or to make another one of it.
    """

    ID_PREFIX: ClassVar[str] = "acct"

    kind = models.CharField(max_length=16, choices=AccountKind.choices)
    organization_id = models.UUIDField(null=True, blank=True)
    currency = models.CharField(max_length=3)
    balance_micros = models.BigIntegerField(default=0)

    class Meta:
        db_table = "billing_ledger_account"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "organization_id", "currency"],
                nulls_distinct=False,
                name="billing_ledger_account_once",
            ),
            models.CheckConstraint(
                condition=Q(kind=AccountKind.REVENUE, organization_id__isnull=True)
                | Q(kind=AccountKind.USAGE, organization_id__isnull=False),
                name="billing_ledger_account_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.organization_id or 'platform'} ({self.currency})"


class LedgerTransaction(models.Model):
    """One movement in the books, append-only: postings that sum to zero.

    The transaction of a usage record carries the record's id and time, so that there can be only one.
    """

    ID_PREFIX: ClassVar[str] = "txn"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=16, choices=TransactionKind.choices)
    organization_id = models.UUIDField()

    class Meta:
        db_table = "billing_ledger_transaction"
        indexes = [models.Index(fields=["organization_id", "-created_at"], name="billing_ledger_organization")]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """Return the id as people meet it."""
        return encode_id(self.ID_PREFIX, self.id)


class Posting(models.Model):
    """One signed amount on one account, append-only: debits are positive, credits negative.

    `account` has no foreign key in the database (a lock on the account's row per posting would queue the writers);
    accounts cannot be deleted, and postings are made by joining them.
    """

    id = models.BigIntegerField(primary_key=True, db_default=models.Value(0))  # a sequence, see the migration
    transaction_id = models.UUIDField()
    created_at = models.DateTimeField()
    account = models.ForeignKey(
        LedgerAccount, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    amount_micros = models.BigIntegerField()

    class Meta:
        db_table = "billing_posting"
        indexes = [
            models.Index(fields=["transaction_id"], name="billing_posting_transaction"),
            models.Index(fields=["account", "-id"], name="billing_posting_account"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micros:+d} on {self.account_id}"
