"""OAuth2 clients and tokens for staff."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import action

from apps.core.admin import ModelAdmin, ReadOnlyModelAdmin
from apps.users.admin.base import ServiceAdmin, show_secret, staff_actor
from apps.users.models import OAuthClient
from apps.users.services.oauth_clients import change_oauth_client, register_oauth_client, rotate_client_secret

# The library's own pages show codes and offer to edit tokens.
for model in (
    get_access_token_model(),
    get_device_grant_model(),
    get_grant_model(),
    get_id_token_model(),
    get_refresh_token_model(),
    OAuthClient,
):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(OAuthClient)
class OAuthClientAdmin(ServiceAdmin):
    """Clients. The secret is shown when it is made and never again."""

    list_display: ClassVar[Any] = (
        "name",
        "client_id",
        "organization",
        "authorization_grant_type",
        "client_type",
        "is_active",
        "created_at",
    )
    list_filter: ClassVar[Any] = ("is_active", "authorization_grant_type", "client_type")
    list_select_related: ClassVar[Any] = ("organization",)
    search_fields: ClassVar[Any] = ("name", "client_id", "organization__name", "organization__slug")
    search_help_text = "Name, client id, organization or id (client_…)"
    ordering: ClassVar[Any] = ("-id",)
    autocomplete_fields: ClassVar[Any] = ("organization", "user")
    fields: ClassVar[Any] = (
        "client_id",
        "name",
        "organization",
        "user",
        "authorization_grant_type",
        "client_type",
        "redirect_uris",
        "allowed_scopes",
        "is_active",
    )
    actions_detail: ClassVar[Any] = ("new_secret",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Fix what the client was registered as: another kind is another client."""
        fixed = ("client_id", "organization", "user", "authorization_grant_type", "client_type")
        return fixed if obj else ("client_id",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Register or change through the services."""
        if change:
            change_oauth_client(client=obj, fields=form.changed_data, actor=staff_actor(request))
            return
        obj.fresh_secret = register_oauth_client(client=obj, actor=staff_actor(request))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> Any:
        """Show the secret of a confidential client."""
        if not obj.fresh_secret:
            return super().response_add(request, obj, post_url_continue)
        return self._show(request, obj, obj.fresh_secret)

    def has_new_secret_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Ask for the right to change clients."""
        return self.has_change_permission(request)

    @action(description="New secret", url_path="new-secret", icon="key", permissions=["new_secret"])
    def new_secret(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Ask, then give the client a new secret and show it in that one answer."""
        client = self.get_object(request, object_id)
        if client is None or client.client_type != OAuthClient.CLIENT_CONFIDENTIAL:
            raise Http404
        if request.method == "POST":
            return self._show(request, client, rotate_client_secret(client=client, actor=staff_actor(request)))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Give {client} a new secret?",
            "opts": self.opts,
            "warning": "The present secret stops at once.",
            "back": reverse("admin:users_oauthclient_change", args=[client.pk]),
        }
        return TemplateResponse(request, "users/admin/confirm.html", context)

    def _show(self, request: HttpRequest, client: OAuthClient, secret: str) -> HttpResponseBase:
        back = reverse("admin:users_oauthclient_change", args=[client.pk])
        title = f"Secret of {client}"
        return show_secret(request, self, title=title, secret=secret, back=back, client_id=client.client_id)


class TokenAdmin(ReadOnlyModelAdmin):
    """Tokens by whom and what for; their values are not kept. Deleting one revokes it."""

    list_filter: ClassVar[Any] = (("created", RangeDateTimeFilter),)
    list_select_related: ClassVar[Any] = ("application", "user")
    search_fields: ClassVar[Any] = ("=user__email", "=application__client_id")
    ordering: ClassVar[Any] = ("-id",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask for the model's own permission."""
        return ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(get_access_token_model())
class AccessTokenAdmin(TokenAdmin):
    list_display: ClassVar[Any] = ("id", "application", "user", "scope", "created", "expires")
    fields: ClassVar[Any] = list_display


@admin.register(get_refresh_token_model())
class OAuthRefreshTokenAdmin(TokenAdmin):
    list_display: ClassVar[Any] = ("id", "application", "user", "token_family", "created", "revoked")
    fields: ClassVar[Any] = list_display


@admin.register(get_id_token_model())
class IdTokenAdmin(TokenAdmin):
    list_display: ClassVar[Any] = ("id", "application", "user", "scope", "created", "expires")
    fields: ClassVar[Any] = list_display


@admin.register(get_grant_model())
class GrantAdmin(TokenAdmin):
    list_display: ClassVar[Any] = ("id", "application", "user", "scope", "created", "expires")
    fields: ClassVar[Any] = (*list_display, "redirect_uri")
