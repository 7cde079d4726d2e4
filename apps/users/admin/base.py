"""What the staff pages of this house share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apps.core.actor import Actor, system_actor
from apps.core.admin import ModelAdmin, ReadOnlyModelAdmin
from apps.core.errors import AppError, InvalidInput
from apps.users.choices import SCOPES

SCOPE_HINTS = {
    "scopes": "None ticked: everything that its user may do.",
    "allowed_scopes": "What the client may ask for, at the most. A client that acts for itself needs one; gateway:use calls models.",
}


class ScopesWidget(UnfoldAdminCheckboxSelectMultipleWidget):
    """Boxes whose sentences wrap: as Unfold has them they would be wider than a phone."""

    option_template_name = "django/forms/widgets/checkbox_option.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = self.attrs["class"].split()
        self.attrs["class"] = " ".join("inline-block" if name == "block" else name for name in names)


def staff_actor(request: HttpRequest) -> Actor:
    """Return the platform acting at the hand of a member of staff: not bound to an organization, known by name."""
    person: Actor = request.actor  # type: ignore[attr-defined]
    return replace(system_actor(request_id=person.request_id), user_id=person.user_id, is_staff=True)


def show_secret(
    request: HttpRequest, model_admin: Any, *, title: str, secret: str, back: str, client_id: str = ""
) -> TemplateResponse:
    """Answer the one page that shows a fresh secret; that of an OAuth client with the client ID it goes with."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "secret": secret,
        "client_id": client_id,
        "back": back,
    }
    return TemplateResponse(request, "users/admin/secret.html", context, headers={"Cache-Control": "no-store"})


class PublicIdMixin:
    """Shows and finds rows by the id that people meet."""

    model: Any

    @admin.display(description="id")
    def public_id(self, row: Any) -> str:
        """Return the public id."""
        return str(row.public_id)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Find a row by its public id too."""
        try:
            return queryset.filter(id=self.model.parse_id(search_term.strip())), False
        except InvalidInput:
            found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term)  # type: ignore[misc]
            return found


class ServiceAdmin(PublicIdMixin, ModelAdmin):
    """A page whose writes are services; what they refuse is said at the top of the page."""

    list_filter_submit = True
    list_per_page = 50

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Show what belongs to a row once there is one."""
        return super().get_inlines(request, obj) if obj else ()

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Show or save; tell a refusal."""
        return self._tell(request, super().changeform_view, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Ask or delete; tell a refusal."""
        return self._tell(request, super().delete_view, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """List or act; tell a refusal."""
        return self._tell(request, super().changelist_view, *args, **kwargs)

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Offer scopes as boxes to tick."""
        if db_field.name in SCOPE_HINTS:
            return forms.MultipleChoiceField(
                choices=[(scope, f"{scope} – {sentence}") for scope, sentence in SCOPES.items()],
                required=False,
                widget=ScopesWidget,
                label="Scopes",
                help_text=SCOPE_HINTS[db_field.name],
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def _tell(self, request: HttpRequest, view: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            response: HttpResponseBase = view(request, *args, **kwargs)
        except AppError as error:
            messages.error(request, error.message)
            return redirect(request.get_full_path())
        return response


class ListAdmin(PublicIdMixin, ReadOnlyModelAdmin):
    """A page over rows that nobody edits."""
