"""Budgets, their periods, and the quota that processes hold of them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from apps.billing.choices import AlertKind, BudgetScope, BudgetWindow
from apps.billing.querysets import BudgetPeriodQuerySet, BudgetQuerySet
from apps.core.ids import uuid7
from apps.core.models import VersionedEntity
from apps.core.money import DEFAULT_CURRENCY


class Budget(VersionedEntity):
    """How much may be spent in each calendar window (UTC), by whom or for what.

    `subject` is the id of a team, user or key, or the name of an end user, tag or model; empty means each one separately.
    The hard limit is never passed; the soft one only tells. `organization_id` is a plain id, as in usage records.
    """

    ID_PREFIX: ClassVar[str] = "bud"

    organization_id = models.UUIDField()
    name = models.CharField(max_length=120)
    scope = models.CharField(max_length=16, choices=BudgetScope.choices)
    subject = models.CharField(max_length=256, blank=True, help_text="Empty: each one separately.")
    model = models.CharField(max_length=200, blank=True, help_text="Only calls of this model; empty: of all.")
    window = models.CharField(max_length=8, choices=BudgetWindow.choices)
    soft_micros = models.PositiveBigIntegerField("soft limit", null=True, blank=True)
    hard_micros = models.PositiveBigIntegerField("hard limit", null=True, blank=True)
    boost_micros = models.PositiveBigIntegerField(
        "temporary increase", default=0, help_text="Added to both limits until the moment below."
    )
    boost_until = models.DateTimeField("increase ends", null=True, blank=True)
    currency = models.CharField(max_length=3, default=DEFAULT_CURRENCY)
    is_active = models.BooleanField(default=True)

    objects = BudgetQuerySet.as_manager()

    class Meta:
        db_table = "billing_budget"
        indexes = [models.Index(fields=["organization_id"], name="billing_budget_organization")]
        constraints = [
            models.CheckConstraint(
                condition=Q(soft_micros__isnull=False) | Q(hard_micros__isnull=False),
                name="billing_budget_has_a_limit",
                violation_error_message="A budget has a soft or a hard limit, or both.",
            ),
            models.CheckConstraint(
                condition=Q(soft_micros__isnull=True)
                | Q(hard_micros__isnull=True)
                | Q(soft_micros__lte=F("hard_micros")),
                name="billing_budget_soft_below_hard",
                violation_error_message="The soft limit is not above the hard one.",
            ),
            models.CheckConstraint(
                condition=Q(boost_micros=0) | Q(boost_until__isnull=False),
                name="billing_budget_boost_ends",
                violation_error_message="A temporary increase has an end.",
            ),
            models.CheckConstraint(
                condition=~Q(scope=BudgetScope.ORGANIZATION) | Q(subject=""),
                name="billing_budget_organization_has_no_subject",
            ),
            models.CheckConstraint(
                condition=~Q(scope=BudgetScope.MODEL) | ~Q(subject=""), name="billing_budget_model_has_a_subject"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def boost_at(self, now: datetime) -> int:
        """Return what the temporary increase adds at a moment."""
        return self.boost_micros if self.boost_until is not None and self.boost_until > now else 0

    def hard_at(self, now: datetime) -> int | None:
        """Return the hard limit of a moment in micro-units; None for none."""
        return None if self.hard_micros is None else self.hard_micros + self.boost_at(now)

    def soft_at(self, now: datetime) -> int | None:
        """Return the soft limit of a moment in micro-units; None for none."""
        return None if self.soft_micros is None else self.soft_micros + self.boost_at(now)


class BudgetPeriod(models.Model):
    """One window of one budget for one subject: what was spent, and what processes hold to spend.

    `spent_micros` is the cost of the usage records of the window, moved by the transaction that records them.
    `seeded_micros` of it had been spent when the budget began.
    `leased_micros` is the sum of the leases; the UPDATE that adds to it refuses to pass the hard limit.
    `mark_micros` was spent at `marked_at`: the recent rate is counted from there.
    """

    id = models.BigAutoField(primary_key=True)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="periods")
    subject = models.CharField(max_length=256, blank=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    spent_micros = models.BigIntegerField(default=0, db_default=0)
    seeded_micros = models.BigIntegerField(default=0, db_default=0)
    leased_micros = models.BigIntegerField(default=0, db_default=0)
    recalled_at = models.DateTimeField(null=True)
    evaluated_micros = models.BigIntegerField(default=0, db_default=0)
    mark_micros = models.BigIntegerField(default=0, db_default=0)
    marked_at = models.DateTimeField(null=True)

    objects = BudgetPeriodQuerySet.as_manager()

    class Meta:
        db_table = "billing_budget_period"
        indexes = [models.Index(fields=["ends_at"], name="billing_budget_period_ends")]
        constraints = [
            models.UniqueConstraint(fields=["budget", "subject", "starts_at"], name="billing_budget_period_once"),
            models.CheckConstraint(
                condition=Q(spent_micros__gte=0, leased_micros__gte=0), name="billing_budget_period_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.subject} from {self.starts_at:%Y-%m-%d}"


class BudgetHolder(models.Model):
    """A process that holds quota, while it says that it lives.

    `turn` rises with each of its transactions, so that one that was delayed changes nothing. One that has not renewed by
    `expires_at` is condemned first, and its leases are taken away a while later: after an outage of the database the
    living come first.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    turn = models.BigIntegerField(default=0)
    expires_at = models.DateTimeField()
    condemned_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "billing_budget_holder"
        indexes = [models.Index(fields=["expires_at"], name="billing_budget_holder_expires")]

    def __str__(self) -> str:
        return str(self.id)


class BudgetLease(models.Model):
    """What one process holds of one period.

    `amount_micros` is what it may still spend and has spent without a record; `net_micros` all it took less all it gave
    back, by which a process knows after a lost answer what became of its last transaction.
    """

    id = models.BigAutoField(primary_key=True)
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="leases")
    holder = models.ForeignKey(BudgetHolder, on_delete=models.CASCADE, related_name="leases")
    amount_micros = models.BigIntegerField()
    net_micros = models.BigIntegerField()

    class Meta:
        db_table = "billing_budget_lease"
        constraints = [
            models.UniqueConstraint(fields=["period", "holder"], name="billing_budget_lease_once"),
            models.CheckConstraint(condition=Q(amount_micros__gte=0), name="billing_budget_lease_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micros} of {self.period_id}"


class BudgetAlert(models.Model):
    """That somebody was told, once per period, kind and threshold."""

    id = models.BigAutoField(primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    period = models.ForeignKey(BudgetPeriod, on_delete=models.CASCADE, related_name="alerts")
    kind = models.CharField(max_length=8, choices=AlertKind.choices)
    percent = models.PositiveSmallIntegerField()

    class Meta:
        db_table = "billing_budget_alert"
        constraints = [
            models.UniqueConstraint(fields=["period", "kind", "percent"], name="billing_budget_alert_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.percent} % of {self.period_id}"
