"""People, organizations and memberships for staff."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action
from unfold.forms import UserChangeForm, UserCreationForm

from apps.core.admin import ModelAdmin
from apps.users.admin.base import ServiceAdmin, show_secret, staff_actor
from apps.users.forms import StaffApiKeyForm, StaffPasswordForm
from apps.users.models import ApiKey, Membership, Organization, User, UserSession
from apps.users.services.accounts import activate_user, change_profile, create_user, suspend_user
from apps.users.services.api_keys import issue_api_key
from apps.users.services.organizations import (
    activate_organization,
    add_membership,
    change_membership,
    create_organization,
    remove_membership,
    suspend_organization,
)
from apps.users.services.teams import choose_own_team

# What only a superuser may give, or one would be whatever one wants.
POWERS = ("is_staff", "is_superuser", "groups", "user_permissions")


class ReadOnlyInline(TabularInline):
    """Rows beside their owner, each a link to its own page."""

    extra = 0
    can_delete = False
    show_change_link = True
    tab = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: services write."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: services write."""
        return False


class UserMemberships(ReadOnlyInline):
    model = Membership
    fields: ClassVar[Any] = ("organization", "role", "created_at")
    readonly_fields: ClassVar[Any] = fields


class OrganizationMembers(ReadOnlyInline):
    model = Membership
    fields: ClassVar[Any] = ("user", "role", "created_at")
    readonly_fields: ClassVar[Any] = fields


class UserKeys(ReadOnlyInline):
    model = ApiKey
    verbose_name_plural = "API keys"
    fields: ClassVar[Any] = ("name", "prefix", "organization", "last_used_at", "expires_at", "revoked_at")
    readonly_fields: ClassVar[Any] = fields


class UserSessions(ReadOnlyInline):
    model = UserSession
    fields: ClassVar[Any] = ("kind", "device", "ip_address", "last_seen_at", "expires_at", "revoked_because")
    readonly_fields: ClassVar[Any] = fields


@admin.register(User)
class UserAdmin(ServiceAdmin, DjangoUserAdmin):  # type: ignore[misc]
    """People. An account is suspended and activated, never deleted here."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = StaffPasswordForm
    list_display = (
        "email",
        "name",
        "is_active",
        "is_staff",
        "email_verified_at",
        "last_login",
        "created_at",
    )
    list_filter: ClassVar[Any] = (
        "is_active",
        "is_staff",
        "is_superuser",
        ("email_verified_at", admin.EmptyFieldListFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields: ClassVar[Any] = ("email", "name")
    search_help_text = "E-mail, name or id (user_…)"
    ordering: ClassVar[Any] = ("-id",)
    autocomplete_fields: ClassVar[Any] = ("default_organization",)
    filter_horizontal: ClassVar[Any] = ("groups", "user_permissions")
    readonly_fields: ClassVar[Any] = (
        "public_id",
        "is_active",
        "email_verified_at",
        "last_login",
        "created_at",
        "updated_at",
    )
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("public_id", "email", "name", "password", "default_organization")}),
        ("Powers", {"fields": POWERS}),
        ("State", {"fields": ("is_active", "email_verified_at", "last_login", "created_at", "updated_at")}),
    )
    add_fieldsets: Any = ((None, {"fields": ("email", "name", "password1", "password2")}),)
    inlines: ClassVar[Any] = (UserMemberships, UserKeys, UserSessions)
    actions: Any = ("suspend", "activate")
    actions_detail: ClassVar[Any] = ("issue_key",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: what a person did refers to them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keep superusers to superusers: a password that one may set is a power that one has."""
        is_allowed = super().has_change_permission(request, obj)
        is_above = obj is not None and obj.is_superuser and not request.user.is_superuser
        return is_allowed and not is_above

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show powers to everybody, give them to superusers to change."""
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *POWERS)

    def has_issue_key_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Ask for the right to add keys, and to change this person."""
        person = self.get_object(request, object_id) if object_id else None
        return request.user.has_perm("users.add_apikey") and self.has_change_permission(request, person)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Create or change through the services."""
        if change:
            names = [name for name in form.changed_data if name not in {"groups", "user_permissions", "password"}]
            person = User.objects.get(id=obj.id)
            change_profile(user=person, actor=staff_actor(request), **{name: getattr(obj, name) for name in names})
            return
        person = create_user(
            email=obj.email,
            name=obj.name,
            password=form.cleaned_data["password1"],
            is_email_verified=True,
            actor=staff_actor(request),
        )
        obj.__dict__.update(person.__dict__)

    @admin.action(description="Suspend: sessions, keys and tokens stop at once", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Suspend everybody chosen but oneself."""
        others = [person for person in queryset if person.pk != request.user.pk]
        people = [person for person in others if self.has_change_permission(request, person)]
        for person in people:
            suspend_user(user=person, actor=staff_actor(request))
        messages.success(request, f"{len(people)} people are suspended.")

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Activate everybody chosen."""
        people = [person for person in queryset if self.has_change_permission(request, person)]
        for person in people:
            activate_user(user=person, actor=staff_actor(request))
        messages.success(request, f"{len(people)} people are active.")

    @action(description="Issue API key…", url_path="issue-key", icon="key", permissions=["issue_key"])
    def issue_key(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Ask for a name, then show the secret in that one answer."""
        person = self.get_object(request, object_id)
        if person is None:
            raise Http404
        back = reverse("admin:users_user_change", args=[person.pk])
        form = StaffApiKeyForm(request.POST or None, user=person)
        if request.method == "POST" and form.is_valid():
            _, secret = issue_api_key(user=person, actor=staff_actor(request), **form.cleaned_data)
            return show_secret(request, self, title=f"API key of {person.email}", secret=secret, back=back)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Issue an API key for {person.email}",
            "opts": self.opts,
            "form": form,
            "back": back,
        }
        return TemplateResponse(request, "users/admin/issue_key.html", context)


@admin.register(Organization)
class OrganizationAdmin(ServiceAdmin):
    list_display: ClassVar[Any] = ("name", "slug", "is_personal", "is_active", "created_at")
    list_filter: ClassVar[Any] = ("is_active", "is_personal", ("created_at", RangeDateTimeFilter))
    search_fields: ClassVar[Any] = ("name", "slug")
    search_help_text = "Name, slug or id (org_…)"
    ordering: ClassVar[Any] = ("-id",)
    fields: ClassVar[Any] = ("public_id", "name", "slug", "is_personal", "is_active", "created_at", "updated_at")
    readonly_fields: ClassVar[Any] = ("public_id", "is_personal", "is_active", "created_at", "updated_at")
    inlines: ClassVar[Any] = (OrganizationMembers,)
    actions: ClassVar[Any] = ("suspend", "activate")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: books and trail refer to it."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Found it with the member of staff as its first owner, or store its new name."""
        if change:
            super().save_model(request, obj, form, change)
            return
        person: Any = request.user
        made = create_organization(name=obj.name, slug=obj.slug, owner=person, actor=staff_actor(request))
        obj.__dict__.update(made.__dict__)

    @admin.action(description="Suspend: everything that acts in it stops at once", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        """Suspend every organization chosen."""
        for organization in queryset:
            suspend_organization(organization=organization, actor=staff_actor(request))
        messages.success(request, "Suspended.")

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Organization]) -> None:
        """Activate every organization chosen."""
        for organization in queryset:
            activate_organization(organization=organization, actor=staff_actor(request))
        messages.success(request, "Activated.")


@admin.register(Membership)
class MembershipAdmin(ServiceAdmin):
    list_display: ClassVar[Any] = ("user", "organization", "role", "team", "created_at")
    list_filter: ClassVar[Any] = ("role", "organization__is_personal")
    list_select_related: ClassVar[Any] = ("user", "organization", "team")
    search_fields: ClassVar[Any] = ("user__email", "organization__name", "organization__slug")
    ordering: ClassVar[Any] = ("-id",)
    fields: ClassVar[Any] = ("user", "organization", "role", "team")
    autocomplete_fields: ClassVar[Any] = ("user", "organization", "team")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Let only the role and the team of a membership change."""
        return ("user", "organization") if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Add or change through the services."""
        actor, team = staff_actor(request), obj.team
        if change:
            change_membership(membership=obj, role=obj.role, actor=actor)
        else:
            made = add_membership(user=obj.user, organization=obj.organization, role=obj.role, actor=actor)
            obj.__dict__.update(made.__dict__)
        if "team" in form.changed_data:
            choose_own_team(membership=obj, team=team, actor=actor)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Remove through the service."""
        remove_membership(membership=obj, actor=staff_actor(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Remove each through the service."""
        for membership in queryset:
            remove_membership(membership=membership, actor=staff_actor(request))


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Bundles of permissions for staff; only superusers make them."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for a superuser: who writes a group writes the powers of its members."""
        return bool(request.user.is_superuser)

    has_add_permission = has_change_permission
    has_delete_permission = has_change_permission
