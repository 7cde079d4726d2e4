"""Teams and their members for staff."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RangeDateTimeFilter

from apps.users.admin.base import ServiceAdmin, staff_actor
from apps.users.admin.people import ReadOnlyInline
from apps.users.models import ApiKey, Team, TeamMembership
from apps.users.services.teams import change_team, create_team, delete_team, remove_team_member, save_team_member


class TeamMembers(ReadOnlyInline):
    model = TeamMembership
    verbose_name_plural = "members"
    fields: ClassVar[Any] = ("user", "role", "created_at")
    readonly_fields: ClassVar[Any] = fields


class TeamKeys(ReadOnlyInline):
    model = ApiKey
    verbose_name_plural = "API keys"
    fields: ClassVar[Any] = ("name", "prefix", "user", "last_used_at", "expires_at", "revoked_at")
    readonly_fields: ClassVar[Any] = fields


class TeamsWithin(ReadOnlyInline):
    model = Team
    verbose_name_plural = "teams within"
    fields: ClassVar[Any] = ("name", "slug", "is_active", "created_at")
    readonly_fields: ClassVar[Any] = fields


@admin.register(Team)
class TeamAdmin(ServiceAdmin):
    """Teams. Suspending one suspends those within it; one that others lie within cannot be deleted."""

    list_display: ClassVar[Any] = ("name", "organization", "parent", "members", "keys", "is_active", "created_at")
    list_filter: ClassVar[Any] = ("is_active", ("created_at", RangeDateTimeFilter))
    list_select_related: ClassVar[Any] = ("organization", "parent")
    search_fields: ClassVar[Any] = ("name", "slug", "organization__name", "organization__slug")
    search_help_text = "Name, slug, organization or id (team_…)"
    ordering: ClassVar[Any] = ("-id",)
    autocomplete_fields: ClassVar[Any] = ("organization", "parent")
    fields: ClassVar[Any] = ("public_id", "organization", "name", "slug", "parent", "is_active", "created_at")
    prepopulated_fields: ClassVar[Any] = {"slug": ("name",)}
    inlines: ClassVar[Any] = (TeamMembers, TeamKeys, TeamsWithin)
    actions: ClassVar[Any] = ("suspend", "activate")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        """Count people and keys."""
        found: QuerySet[Team] = super().get_queryset(request)
        return found.annotate(
            member_count=Count("memberships", distinct=True), key_count=Count("api_keys", distinct=True)
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Fix the organization, and show the state that actions change."""
        return (
            ("public_id", "organization", "is_active", "created_at")
            if obj
            else ("public_id", "is_active", "created_at")
        )

    def get_prepopulated_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Propose a slug for new teams only."""
        return {} if obj else super().get_prepopulated_fields(request, obj)

    @admin.display(description="members", ordering="member_count")
    def members(self, team: Any) -> int:
        """Return how many people work in it."""
        return int(team.member_count)

    @admin.display(description="keys", ordering="key_count")
    def keys(self, team: Any) -> int:
        """Return how many keys count for it."""
        return int(team.key_count)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Make or change through the services."""
        actor = staff_actor(request)
        if change:
            fields = {name: getattr(obj, name) for name in form.changed_data}
            change_team(team=Team.objects.get(id=obj.id), actor=actor, **fields)
            return
        made = create_team(organization=obj.organization, name=obj.name, slug=obj.slug, parent=obj.parent, actor=actor)
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete through the service."""
        delete_team(team=obj, actor=staff_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        """Delete each through the service."""
        for team in queryset:
            delete_team(team=team, actor=staff_actor(request))

    @admin.action(description="Suspend: their keys stop at once", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        """Suspend every team chosen and those within."""
        for team in queryset:
            change_team(team=team, is_active=False, actor=staff_actor(request))
        messages.success(request, "Suspended.")

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Team]) -> None:
        """Activate every team chosen."""
        for team in queryset:
            change_team(team=team, is_active=True, actor=staff_actor(request))
        messages.success(request, "Activated.")


@admin.register(TeamMembership)
class TeamMembershipAdmin(ServiceAdmin):
    list_display: ClassVar[Any] = ("user", "team", "role", "created_at")
    list_filter: ClassVar[Any] = ("role",)
    list_select_related: ClassVar[Any] = ("user", "team")
    search_fields: ClassVar[Any] = ("user__email", "team__name", "team__slug")
    ordering: ClassVar[Any] = ("-id",)
    fields: ClassVar[Any] = ("user", "team", "role")
    autocomplete_fields: ClassVar[Any] = ("user", "team")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let only the role change."""
        return ("user", "team") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Add or change through the service."""
        made = save_team_member(team=obj.team, user=obj.user, role=obj.role, actor=staff_actor(request))
        obj.__dict__.update(made.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove through the service."""
        remove_team_member(team=obj.team, user=obj.user, actor=staff_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[TeamMembership]) -> None:
        """Remove each through the service."""
        for membership in queryset.select_related("team", "user"):
            remove_team_member(team=membership.team, user=membership.user, actor=staff_actor(request))
