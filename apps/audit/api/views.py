"""The trail over REST, for administrators of an organization."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit.api.filters import TrailFilter
from apps.audit.api.pagination import TrailPagination
from apps.audit.api.serializers import TrailEntryDetailSerializer, TrailEntrySerializer
from apps.audit.choices import Source
from apps.audit.models import TrailEntry
from apps.core.api.views import ListView, View
from apps.core.errors import NotFound
from apps.core.ids import decode_id

SCOPES = {"GET": "audit:read"}
ROLES = {"GET": "admin", "HEAD": "admin"}
SUMMARY: dict[str, Any] = {
    "id": "chg_01h455vb4pex5vsknk084sn02q",
    "source": "change",
    "type": "users_apikey.updated",
    "action": "updated",
    "object": {"type": "users_apikey", "id": "key_01h455vb4pex5vsknk084sn02q"},
    "occurred_at": "2026-11-21T09:00:00.123456Z",
    "actor": {"kind": "user", "user_id": "user_01h455vb4pex5vsknk084sn02q"},
    "organization": "org_01h455vb4pex5vsknk084sn02q",
    "request_id": "req_01h455vb4pex5vsknk084sn02q",
}
DETAIL = {
    **SUMMARY,
    "before": {"name": "CI"},
    "after": {"name": "Build server"},
    "payload": None,
    "application": "portico",
    "db_user": "portico",
}


class TrailView(ListView):
    """Row changes and domain events of the organization, newest first."""

    scopes: ClassVar[dict[str, str]] = SCOPES
    roles: ClassVar[dict[str, str]] = ROLES
    queryset = TrailEntry.objects.none()  # what the filters are for; rows are reached through the actor
    serializer_class = TrailEntrySerializer
    pagination_class = TrailPagination
    filterset_class = TrailFilter

    @extend_schema(
        operation_id="audit_events_list",
        summary="List and search the audit trail",
        responses=TrailEntrySerializer(many=True),
        examples=[OpenApiExample("A renamed key", value=SUMMARY, response_only=True)],
    )
    def get(self, request: Request) -> Response:
        """Answer one page."""
        return self.page(request, TrailEntry.objects.visible_to(self.actor).summaries())


class TrailEntryView(View):
    """One entry with before and after."""

    scopes: ClassVar[dict[str, str]] = SCOPES
    roles: ClassVar[dict[str, str]] = ROLES

    @extend_schema(
        operation_id="audit_events_retrieve",
        summary="Show one entry of the audit trail",
        parameters=[OpenApiParameter("entry_id", str, OpenApiParameter.PATH, description="`chg_…` or `evt_…`.")],
        responses=TrailEntryDetailSerializer,
        examples=[OpenApiExample("A renamed key", value=DETAIL, response_only=True)],
    )
    def get(self, request: Request, entry_id: str) -> Response:
        """Answer the entry."""
        source = Source.EVENT if entry_id.startswith("evt_") else Source.CHANGE
        found = TrailEntry.objects.visible_to(self.actor).filter(
            id=decode_id("evt" if source == Source.EVENT else "chg", entry_id), source=source
        )
        entry = found.first()
        if entry is None:
            raise NotFound("The trail has no such entry.")
        return Response(TrailEntryDetailSerializer(entry).data)
