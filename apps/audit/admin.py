"""The audit trail, for staff: one searchable list of row changes and domain events."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery, UUIDField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, RangeDateTimeFilter, TextFilter
from unfold.decorators import display

from apps.audit.choices import Operation, Source
from apps.audit.models import TrailEntry
from apps.audit.querysets import TrailQuerySet
from apps.audit.selectors import describe_actor, list_differences, model_of, public_actor, public_object_id
from apps.core.admin import ReadOnlyModelAdmin, link_text, link_to
from apps.core.errors import InvalidInput
from apps.users.models import Organization, User


class TypeFilter(TextFilter):
    """By event type, table, or one operation on a table."""

    title = "type or table"
    parameter_name = "type"

    def queryset(self, request: HttpRequest, queryset: TrailQuerySet) -> TrailQuerySet:
        """Narrow."""
        return queryset.of_type(self.value()) if self.value() else queryset


class ObjectFilter(TextFilter):
    """By the id of what was changed."""

    title = "object id"
    parameter_name = "object"

    def queryset(self, request: HttpRequest, queryset: TrailQuerySet) -> TrailQuerySet:
        """Narrow."""
        return queryset.of_object(self.value()) if self.value() else queryset


class ActorFilter(TextFilter):
    """By who did it."""

    title = "actor (user_… or key_…)"
    parameter_name = "actor_id"

    def queryset(self, request: HttpRequest, queryset: TrailQuerySet) -> TrailQuerySet:
        """Narrow."""
        return queryset.by(self.value()) if self.value() else queryset


class RequestFilter(TextFilter):
    """By the request in which it happened."""

    title = "request id"
    parameter_name = "request"

    def queryset(self, request: HttpRequest, queryset: TrailQuerySet) -> TrailQuerySet:
        """Narrow."""
        return queryset.filter(request_id=self.value()) if self.value() else queryset


class OrganizationFilter(TextFilter):
    """By the organization that it belongs to."""

    title = "organization (org_…)"
    parameter_name = "organization"

    def queryset(self, request: HttpRequest, queryset: TrailQuerySet) -> TrailQuerySet:
        """Narrow."""
        if not self.value():
            return queryset
        try:
            return queryset.filter(organization_id=Organization.parse_id(self.value()))
        except InvalidInput:
            return queryset.none()


class ActionFilter(DropdownFilter):
    """By what happened to a row."""

    title = "operation"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the operations on rows."""
        return [(operation.value, str(operation.label)) for operation in Operation]

    def queryset(self, request: HttpRequest, queryset: TrailQuerySet) -> TrailQuerySet:
        """Narrow."""
        return queryset.filter(source=Source.CHANGE, action=self.value()) if self.value() else queryset


@admin.register(TrailEntry)
class TrailEntryAdmin(ReadOnlyModelAdmin):
    """Who did what, newest first."""

    list_display: ClassVar[Any] = (
        "shown_time", "type", "shown_object", "shown_actor", "shown_organization", "shown_request", "shown_source",
    )  # fmt: skip
    list_filter: ClassVar[Any] = (
        ("source", ChoicesDropdownFilter), ActionFilter, TypeFilter, ObjectFilter, ActorFilter, RequestFilter,
        OrganizationFilter, ("occurred_at", RangeDateTimeFilter),
    )  # fmt: skip
    search_fields: ClassVar[Any] = ("type",)
    search_help_text = "Words in the type, ids, request, actor, before, after or payload"
    ordering: ClassVar[Any] = ("-occurred_at", "-id")
    sortable_by: ClassVar[Any] = ("shown_time",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("shown_time", "type", "shown_source", "shown_object", "shown_organization")}),
        ("Who", {"fields": ("shown_actor", "shown_actor_ids", "shown_request", "application", "db_user")}),
        ("What", {"fields": ("shown_differences",)}),
    )
    readonly_fields: ClassVar[Any] = (
        "shown_time", "shown_object", "shown_actor", "shown_organization", "shown_request", "shown_source", "shown_actor_ids",
        "shown_differences",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[TrailEntry]:
        """Return the trail with the names of organizations and users."""
        user_id = Cast(KeyTextTransform("user_id", OuterRef("actor")), UUIDField())
        return (
            super()
            .get_queryset(request)
            .summaries()
            .annotate(
                organization_name=Subquery(
                    Organization.objects.filter(pk=OuterRef("organization_id")).values("name")[:1]
                ),
                user_email=Subquery(User.objects.filter(pk=user_id).values("email")[:1]),
            )
        )

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[QuerySet[TrailEntry], bool]:
        """Find the words wherever they are."""
        return (queryset.search(search_term) if search_term else queryset), False

    @display(description="Time", ordering="occurred_at")
    def shown_time(self, entry: TrailEntry) -> str:
        """Return when it happened, to the millisecond."""
        return f"{entry.occurred_at:%Y-%m-%d %H:%M:%S}.{entry.occurred_at.microsecond // 1000:03}"

    @display(description="Source", label={"Row change": "info", "Domain event": "success"})
    def shown_source(self, entry: TrailEntry) -> str:
        """Return where the entry comes from."""
        return str(Source(entry.source).label)

    @display(description="Object")
    def shown_object(self, entry: TrailEntry) -> SafeString | str:
        """Return what was changed, linked to its page when it has one."""
        text = public_object_id(entry) or "–"
        model = model_of(entry)
        return link_to(model, entry.object_id or None, text) if model else text

    @display(description="Actor")
    def shown_actor(self, entry: Any) -> str:
        """Return who did it, by e-mail while the user exists."""
        return describe_actor(entry.actor, email=entry.user_email or "")

    @display(description="Identifiers")
    def shown_actor_ids(self, entry: TrailEntry) -> SafeString:
        """Return everything that is known of the actor."""
        return SafeString(render_to_string("audit/actor.html", {"actor": public_actor(entry.actor)}))

    @display(description="Organization")
    def shown_organization(self, entry: Any) -> str:
        """Return whose row or fact it is."""
        return entry.organization_name or ("deleted" if entry.organization_id else "–")

    @display(description="Request")
    def shown_request(self, entry: TrailEntry) -> SafeString | str:
        """Return the request, linked to everything that happened in it."""
        if not entry.request_id:
            return "–"
        url = reverse("admin:audit_trailentry_changelist", query={"request": entry.request_id})
        return link_text(url, entry.request_id)

    @display(description="Values")
    def shown_differences(self, entry: TrailEntry) -> SafeString:
        """Return before and after, side by side."""
        return SafeString(render_to_string("audit/differences.html", {"rows": list_differences(entry), "entry": entry}))
