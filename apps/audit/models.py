"""The log of row changes, and the trail that joins it with the domain events."""

from __future__ import annotations

from django.db import models

from apps.audit.choices import Operation, Source
from apps.audit.querysets import TrailQuerySet
from apps.core.ids import encode_id


class RowChange(models.Model):
    """One change of one row, written by trigger: partitioned by month, refused UPDATE, DELETE and TRUNCATE.

    `before` and `after` hold the whole row for a creation or deletion, the changed columns for an update; secrets and
    what people wrote are masked. `organization_id` is that of the row. `row_id` is the primary key as text, empty for an
    emptied table.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    changed_at = models.DateTimeField()
    table_name = models.TextField()
    row_id = models.TextField()
    operation = models.TextField(choices=Operation.choices)
    actor = models.JSONField()
    organization_id = models.UUIDField(null=True)
    request_id = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    application = models.TextField()
    db_user = models.TextField()

    class Meta:
        db_table = "audit_change"
        indexes = [
            models.Index(fields=["changed_at", "id"], name="audit_change_time"),
            models.Index(fields=["organization_id", "changed_at", "id"], name="audit_change_organization"),
            models.Index(fields=["row_id", "changed_at"], name="audit_change_row"),
            models.Index(
                fields=["request_id", "changed_at"], condition=~models.Q(request_id=""), name="audit_change_request"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.table_name} {self.row_id} {self.operation}"


class TrailEntry(models.Model):
    """A row change or a domain event, as one reads them: a view over both, never written.

    `type` is the event's, or `table.operation`; `object_type` the event's aggregate, or the table. An event has a
    `payload` in place of before and after.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    source = models.TextField(choices=Source.choices)
    occurred_at = models.DateTimeField()
    type = models.TextField()
    object_type = models.TextField()
    object_id = models.TextField()
    action = models.TextField()
    actor = models.JSONField()
    organization_id = models.UUIDField(null=True)
    request_id = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    payload = models.JSONField(null=True)
    application = models.TextField()
    db_user = models.TextField()

    objects = TrailQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "audit_trail"
        verbose_name = "audit trail entry"
        verbose_name_plural = "audit trail entries"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.type} {self.object_id}".strip()

    @property
    def public_id(self) -> str:
        """Return the id as people meet it: `chg_…` for row changes, `evt_…` for events."""
        return encode_id("chg" if self.source == Source.CHANGE else "evt", self.id)
