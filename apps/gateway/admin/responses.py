"""Stored responses for staff: by metadata. What was asked and answered is never shown."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from apps.billing.models import UsageRecord
from apps.core.admin import ReadOnlyModelAdmin, link_to
from apps.core.errors import InvalidInput
from apps.core.ids import decode_id
from apps.gateway.models import RespondingProcess, StoredResponse


@admin.register(StoredResponse)
class StoredResponseAdmin(ReadOnlyModelAdmin):
    """Ids, states and times; the texts are not even read from the database."""

    list_display: ClassVar[Any] = (
        "public_id", "organization", "user", "model", "status", "is_background", "is_stream", "created_at", "finished_at",
    )  # fmt: skip
    fields: ClassVar[Any] = (
        "public_id", "organization", "user", "oauth_client_id", "model", "status", "is_background", "is_stream",
        "previous", "usage", "holder_id", "cancel_requested_at", "last_sequence", "created_at", "finished_at",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("status", "is_background", "model", "created_at")
    list_select_related: ClassVar[Any] = ("organization", "user")
    search_fields: ClassVar[Any] = ("=user__email", "=organization__slug", "=model")
    ordering: ClassVar[Any] = ("-created_at", "-id")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out what people wrote."""
        return super().get_queryset(request).defer("input", "document")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Find a response by the id that clients see too."""
        try:
            return queryset.filter(id=decode_id(StoredResponse.ID_PREFIX, search_term.strip())), False
        except InvalidInput:
            return super().get_search_results(request, queryset, search_term)

    @admin.display(description="id")
    def public_id(self, row: StoredResponse) -> str:
        return row.public_id

    @admin.display(description="goes on from")
    def previous(self, row: StoredResponse) -> SafeString | str:
        return link_to(StoredResponse, row.previous_id)

    @admin.display(description="usage record")
    def usage(self, row: StoredResponse) -> SafeString | str:
        return link_to(UsageRecord, row.id)


@admin.register(RespondingProcess)
class RespondingProcessAdmin(ReadOnlyModelAdmin):
    """Who writes responses now."""

    list_display: ClassVar[Any] = ("__str__", "id", "started_at", "lease_until", "is_alive")
    list_filter: ClassVar[Any] = ("host",)
    search_fields: ClassVar[Any] = ("host", "=id")
    ordering: ClassVar[Any] = ("-started_at", "id")

    @admin.display(boolean=True, description="alive")
    def is_alive(self, row: RespondingProcess) -> bool:
        return row.is_alive
