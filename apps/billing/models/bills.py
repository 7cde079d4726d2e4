"""Comparisons of the usage records with what a provider charged."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from apps.billing.choices import BillForm, Verdict
from apps.core.models import Entity
from apps.core.money import DEFAULT_CURRENCY


class Reconciliation(Entity):
    """One bill of a provider, compared with the usage records of its days."""

    ID_PREFIX: ClassVar[str] = "recon"

    provider = models.CharField(max_length=64)
    form = models.CharField(max_length=24, choices=BillForm.choices)
    file_name = models.CharField(max_length=200)
    first_day = models.DateField()
    last_day = models.DateField()
    tolerance_percent = models.DecimalField(max_digits=6, decimal_places=3)
    currency = models.CharField(max_length=3, default=DEFAULT_CURRENCY)
    compared = models.PositiveIntegerField()
    differences = models.PositiveIntegerField()
    bill_cost_micros = models.BigIntegerField(null=True)
    own_cost_micros = models.BigIntegerField()

    class Meta:
        db_table = "billing_reconciliation"
        indexes = [models.Index(fields=["provider", "-first_day"], name="billing_reconciliation_days")]

    def __str__(self) -> str:
        return f"{self.provider}, {self.first_day} to {self.last_day}"

    @property
    def is_clean(self) -> bool:
        """Tell whether the bill and the records agree within the tolerance."""
        return not self.differences


class ReconciliationLine(models.Model):
    """One day and model of a bill, or one request where the bill names them, beside what was recorded.

    What a bill does not tell (a cost export has no tokens, a usage export no cost) is empty, and not compared.
    """

    id = models.BigAutoField(primary_key=True)
    reconciliation = models.ForeignKey(Reconciliation, on_delete=models.CASCADE, related_name="lines")
    day = models.DateField()
    model = models.CharField(max_length=200)
    request_id = models.CharField(max_length=200, blank=True)
    verdict = models.CharField(max_length=16, choices=Verdict.choices)
    bill_prompt_tokens = models.BigIntegerField(null=True)
    own_prompt_tokens = models.BigIntegerField()
    bill_completion_tokens = models.BigIntegerField(null=True)
    own_completion_tokens = models.BigIntegerField()
    bill_cost_micros = models.BigIntegerField(null=True)
    own_cost_micros = models.BigIntegerField()

    class Meta:
        db_table = "billing_reconciliationline"

    def __str__(self) -> str:
        return f"{self.day} {self.model}: {self.get_verdict_display()}"
