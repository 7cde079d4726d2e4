"""Corrections of what calls cost: a run over the records, and one row per record that it changed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.core.ids import encode_id, uuid7
from apps.core.models import Entity
from apps.core.money import DEFAULT_CURRENCY


class Repricing(Entity):
    """One run over the usage records of a period with the prices valid at their times.

    The counters grow with every batch, in the transaction that adjusts it. Without `finished_at` the run was stopped in
    between: what it did stays right, and another run over the same period does the rest.
    """

    ID_PREFIX: ClassVar[str] = "rpr"

    since = models.DateTimeField()
    until = models.DateTimeField()
    provider = models.CharField(max_length=64, blank=True)
    model = models.CharField(max_length=200, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    records = models.BigIntegerField(default=0)
    adjusted = models.BigIntegerField(default=0)
    amount_micros = models.BigIntegerField(default=0)

    class Meta:
        db_table = "billing_repricing"
        constraints = [
            models.CheckConstraint(
                condition=Q(since__lt=F("until")),
                name="billing_repricing_ends_after_it_begins",
                violation_error_message="The period ends after it begins.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}"


class Adjustment(models.Model):
    """The difference between what a call was charged and what it should have been, append-only and booked.

    `created_at` is the record's, so that both lie in the same month and hour; `id` is made of the record and `revision`,
    which counts a record's adjustments from 1, so that each can be there only once. Its ledger transaction carries the
    same id and time.
    """

    ID_PREFIX: ClassVar[str] = "adj"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now())
    record_id = models.UUIDField()
    revision = models.PositiveSmallIntegerField()
    repricing_id = models.UUIDField()
    price_id = models.UUIDField()
    organization_id = models.UUIDField()
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    currency = models.CharField(max_length=3, default=DEFAULT_CURRENCY)
    old_cost_micros = models.PositiveBigIntegerField()
    new_cost_micros = models.PositiveBigIntegerField()
    amount_micros = models.BigIntegerField()

    class Meta:
        db_table = "billing_adjustment"
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_micros=F("new_cost_micros") - F("old_cost_micros")),
                name="billing_adjustment_difference",
            )
        ]
        indexes = [
            models.Index(fields=["record_id", "created_at"], name="billing_adjustment_record"),
            models.Index(fields=["repricing_id"], name="billing_adjustment_repricing"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        """Return the id as people meet it."""
        return encode_id(self.ID_PREFIX, self.id)
