"""The double-entry books."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.billing.choices import AccountKind, TransactionKind
from apps.core.ids import encode_id, uuid7
from apps.core.models import Entity


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
