"""Rate limits for staff, and what binds an organization, team, person or key, on that one's page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.core.actor import Actor
from apps.core.admin import ModelAdmin, link_to, show_beside
from apps.gateway.models import Limit
from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.limits import names_of_subjects, rows_binding
from apps.gateway.services.limits import delete_limit, save_limit
from apps.users.models import ApiKey, Membership, Organization, Team, User
from apps.users.selectors.teams import path_of_person, path_of_team

FIXED = ("organization", "scope", "subject", "model")


@admin.register(Limit)
class LimitAdmin(ModelAdmin):
    """Limits. What one is about stays as it is; figures hold from the next call on."""

    list_display: ClassVar[Any] = (
        "about", "scope", "organization", "model", "figures", "is_active", "description",
    )  # fmt: skip
    list_filter: ClassVar[Any] = ("scope", "is_active", "algorithm")
    list_select_related: ClassVar[Any] = ("organization",)
    search_fields: ClassVar[Any] = ("subject", "model", "description", "organization__name", "organization__slug")
    search_help_text = "Id or name of the subject, model, organization or description"
    ordering: ClassVar[Any] = ("organization__name", "scope", "subject", "id")
    autocomplete_fields: ClassVar[Any] = ("organization",)
    fieldsets: ClassVar[Any] = (
        (
            "For whom",
            {
                "fields": FIXED,
                "description": "A call is counted against every limit that is about it, and let in by all of them or by "
                "none. A limit of a team binds the teams within it, too.",
            },
        ),
        ("How much", {"fields": ("requests_per_minute", "tokens_per_minute", "parallel_calls")}),
        ("Counting", {"fields": ("algorithm", "burst_requests", "burst_tokens")}),
        (None, {"fields": ("is_active", "description")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Fix what a limit is about: another subject is another limit."""
        return FIXED if obj else ()

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """List the rows with the names of their subjects."""
        found = super().get_changelist_instance(request)
        names = names_of_subjects(found.result_list)
        for limit in found.result_list:
            limit.subject_name = names.get(limit.subject, limit.subject)
        return found

    @admin.display(description="whose", ordering="subject")
    def about(self, limit: Any) -> str:
        """Return the subject's name, or that it is each one by itself."""
        return limit.subject_name or f"each {limit.get_scope_display().lower()}"

    @admin.display(description="limit")
    def figures(self, limit: Limit) -> SafeString:
        """Return the figures, each on a line of its own."""
        return format_html_join(
            SafeString("<br>"),
            '<span class="whitespace-nowrap">{}</span>',
            ((text,) for text in limit.summary.split(", ")),
        )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save through the service."""
        save_limit(limit=obj, fields=tuple(form.changed_data), actor=_actor(request))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        delete_limit(limit=obj, actor=_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Limit]) -> None:
        """Delete each through the service."""
        for limit in queryset:
            delete_limit(limit=limit, actor=_actor(request))


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


def bounds_of(row: Any) -> Iterator[Bound]:
    """Give whose calls a row of the users house stands for: a person's in each of their organizations."""
    if isinstance(row, ApiKey):
        yield Bound(row.organization_id, row.user_id, row, path_of_team(row.team_id))
    elif isinstance(row, Team):
        yield Bound(row.organization_id, team_ids=path_of_team(row.id))
    elif isinstance(row, User):
        for organization_id in (
            Membership.objects.filter(user=row).order_by("id").values_list("organization", flat=True)
        ):
            path = path_of_person(user_id=row.id, organization_id=organization_id)
            yield Bound(organization_id, row.id, team_ids=path)
    else:
        yield Bound(row.id)


def show_limits(row: Any) -> SafeString:
    """Return the limits that bind a row's calls, each a link."""
    found = {limit.id: limit for bound in bounds_of(row) for limit, _ in rows_binding(bound)}
    if not found:
        return format_html("{}", "None.")
    names = names_of_subjects(found.values())
    links = (link_to(Limit, it.pk, it.describe(names.get(it.subject, it.subject))) for it in found.values())
    return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((link,) for link in links)))


for kind in (Organization, Team, User, ApiKey):
    show_beside(kind, "Rate limits", show_limits)
