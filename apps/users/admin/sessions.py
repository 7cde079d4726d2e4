"""Sessions and mailed links for staff."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RangeDateTimeFilter

from apps.users.admin.base import ListAdmin, staff_actor
from apps.users.choices import RevocationReason
from apps.users.models import MailedLink, RefreshToken, UserSession
from apps.users.services.sessions import revoke_session


@admin.register(UserSession)
class UserSessionAdmin(ListAdmin):
    list_display: ClassVar[Any] = (
        "user",
        "kind",
        "device",
        "ip_address",
        "is_live",
        "last_seen_at",
        "created_at",
        "revoked_because",
    )
    list_filter: ClassVar[Any] = (
        "kind",
        "revoked_because",
        ("last_seen_at", RangeDateTimeFilter),
        ("created_at", RangeDateTimeFilter),
    )
    list_select_related: ClassVar[Any] = ("user",)
    search_fields: ClassVar[Any] = ("=user__email", "=ip_address")
    search_help_text = "E-mail, address or id (sess_…)"
    ordering: ClassVar[Any] = ("-id",)
    actions: ClassVar[Any] = ("revoke",)

    @admin.display(boolean=True, description="live")
    def is_live(self, session: UserSession) -> bool:
        """Tell whether the session opens anything."""
        return session.is_live

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Ask for the model's change permission, which the page itself never gives."""
        return bool(request.user.has_perm("users.change_usersession"))

    @admin.action(description="End: cookie and tokens refuse at once", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[UserSession]) -> None:
        """End every session chosen."""
        for session in queryset:
            revoke_session(session=session, reason=RevocationReason.REVOKED, actor=staff_actor(request))
        messages.success(request, "The sessions are ended.")


@admin.register(RefreshToken)
class RefreshTokenAdmin(ListAdmin):
    list_display: ClassVar[Any] = ("public_id", "session", "created_at", "used_at")
    fields: ClassVar[Any] = list_display
    list_filter: ClassVar[Any] = (("used_at", admin.EmptyFieldListFilter), ("created_at", RangeDateTimeFilter))
    list_select_related: ClassVar[Any] = ("session",)
    search_fields: ClassVar[Any] = ("=session__user__email",)
    ordering: ClassVar[Any] = ("-id",)


@admin.register(MailedLink)
class MailedLinkAdmin(ListAdmin):
    list_display: ClassVar[Any] = ("public_id", "purpose", "email", "created_at", "sent_at", "used_at", "expires_at")
    fields: ClassVar[Any] = (*list_display, "user")
    list_filter: ClassVar[Any] = (
        "purpose",
        ("sent_at", admin.EmptyFieldListFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields: ClassVar[Any] = ("=email",)
    ordering: ClassVar[Any] = ("-id",)
