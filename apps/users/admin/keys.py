"""API keys for staff."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RangeDateTimeFilter

from apps.users.admin.base import ServiceAdmin, staff_actor
from apps.users.models import ApiKey
from apps.users.services.api_keys import revoke_api_key, update_api_key

TERMS_HELP = {
    "allowed_models": "Names of models or aliases, separated by commas. Empty: every model.",
    "requests_per_minute": "Empty: no limit of its own.",
    "tokens_per_minute": "Prompt and answer together. Empty: no limit of its own.",
    "parallel_calls": "Calls at a time, over all processes. Empty: no limit of its own.",
    "expires_at": "Empty: it does not expire.",
}


@admin.register(ApiKey)
class ApiKeyAdmin(ServiceAdmin):
    """Keys by what people see of them. A key is issued on its person's page, changed and revoked here, never deleted."""

    list_display: ClassVar[Any] = (
        "name",
        "prefix",
        "user",
        "organization",
        "team",
        "is_usable",
        "last_used_at",
        "expires_at",
        "created_at",
    )
    list_filter: ClassVar[Any] = (
        ("revoked_at", admin.EmptyFieldListFilter),
        ("expires_at", RangeDateTimeFilter),
        ("last_used_at", RangeDateTimeFilter),
        ("created_at", RangeDateTimeFilter),
    )
    list_select_related: ClassVar[Any] = ("user", "organization", "team")
    autocomplete_fields: ClassVar[Any] = ("team",)
    search_fields: ClassVar[Any] = ("name", "prefix", "user__email", "organization__slug")
    search_help_text = "Name, beginning of the key, e-mail, organization or id (key_…)"
    ordering: ClassVar[Any] = ("-id",)
    readonly_fields: ClassVar[Any] = (
        "public_id",
        "user",
        "organization",
        "prefix",
        "previous_expires_at",
        "last_used_at",
        "created_at",
        "revoked_at",
    )
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("public_id", "name", "prefix", "user", "organization", "team")}),
        (
            "Terms",
            {
                "fields": (
                    "scopes",
                    "allowed_models",
                    "requests_per_minute",
                    "tokens_per_minute",
                    "parallel_calls",
                    "expires_at",
                )
            },
        ),
        ("State", {"fields": ("last_used_at", "previous_expires_at", "created_at", "revoked_at")}),
    )
    actions: ClassVar[Any] = ("revoke",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Say what leaving a term empty means."""
        if db_field.name in TERMS_HELP:
            kwargs["help_text"] = TERMS_HELP[db_field.name]
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: a key begins on its person's page."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: usage refers to it."""
        return False

    @admin.display(boolean=True, description="usable")
    def is_usable(self, key: ApiKey) -> bool:
        """Tell whether the key opens anything."""
        return key.is_usable

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Change through the service."""
        changes = {name: getattr(obj, name) for name in form.changed_data}
        update_api_key(key=obj, actor=staff_actor(request), **changes)

    @admin.action(description="Revoke: they stop at once", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke every key chosen."""
        for key in queryset:
            revoke_api_key(key=key, actor=staff_actor(request))
        messages.success(request, f"{len(queryset)} keys are revoked.")
