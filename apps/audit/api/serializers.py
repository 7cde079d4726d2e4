"""What the audit endpoints give."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.audit.choices import Source
from apps.audit.models import TrailEntry
from apps.audit.selectors import public_actor, public_object_id, public_values
from apps.core.ids import encode_id
from apps.users.models import Organization

ANY_OBJECT = {"type": "object", "additionalProperties": True}
OBJECT_OR_NULL = {"type": ["object", "null"], "additionalProperties": True}
OBJECT = {
    "type": "object",
    "required": ["type", "id"],
    "properties": {
        "type": {"type": "string", "description": "The table, or the event's aggregate."},
        "id": {"type": "string", "description": "Public id where the kind has one."},
    },
}


class TrailEntrySerializer(serializers.Serializer[TrailEntry]):
    """One entry of the trail, as lists show it."""

    id = serializers.CharField(source="public_id", help_text="`chg_…` for row changes, `evt_…` for events.")
    source = serializers.ChoiceField(Source.choices)  # type: ignore[assignment]
    type = serializers.CharField(help_text="The event's type, or `table.operation`.")
    action = serializers.CharField()
    object = serializers.SerializerMethodField()
    occurred_at = serializers.DateTimeField()
    actor = serializers.SerializerMethodField(help_text="Who did it: `kind` and the ids that are known.")
    organization = serializers.SerializerMethodField()
    request_id = serializers.CharField()

    @extend_schema_field(OBJECT)
    def get_object(self, entry: TrailEntry) -> dict[str, str]:
        """Return what the entry is about."""
        return {"type": entry.object_type, "id": public_object_id(entry)}

    @extend_schema_field(ANY_OBJECT)
    def get_actor(self, entry: TrailEntry) -> dict[str, Any]:
        """Return who did it."""
        return public_actor(entry.actor)

    @extend_schema_field({"type": ["string", "null"]})
    def get_organization(self, entry: TrailEntry) -> str | None:
        """Return the tenant that the row or fact belongs to."""
        return encode_id(Organization.ID_PREFIX, entry.organization_id) if entry.organization_id else None


class TrailEntryDetailSerializer(TrailEntrySerializer):
    """One entry in full. Secrets and what people wrote are `***`."""

    before = serializers.SerializerMethodField(help_text="The row, or the changed columns, as they were.")
    after = serializers.SerializerMethodField(help_text="The row, or the changed columns, as they became.")
    payload = serializers.SerializerMethodField(help_text="The facts of a domain event.")
    application = serializers.CharField(help_text="Name of the program's database connection; empty for events.")
    db_user = serializers.CharField(help_text="Role of the database connection; empty for events.")

    @extend_schema_field(OBJECT_OR_NULL)
    def get_before(self, entry: TrailEntry) -> dict[str, Any] | None:
        """Return what was."""
        return public_values(entry, entry.before)

    @extend_schema_field(OBJECT_OR_NULL)
    def get_after(self, entry: TrailEntry) -> dict[str, Any] | None:
        """Return what became of it."""
        return public_values(entry, entry.after)

    @extend_schema_field(OBJECT_OR_NULL)
    def get_payload(self, entry: TrailEntry) -> dict[str, Any] | None:
        """Return the event's facts."""
        return public_values(entry, entry.payload)
