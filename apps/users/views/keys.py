"""/keys: one's API keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from apps.core.errors import AppError, InvalidInput
from apps.users.forms import ApiKeyForm
from apps.users.models import ApiKey, Organization, Team
from apps.users.services.api_keys import issue_api_key, revoke_api_key, rotate_api_key


class KeysPage(LoginRequiredMixin, View):
    """The page; a secret is part of the one answer that makes it and of no other."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ApiKeyForm(request.POST, teams=_own_teams(request))
        if not form.is_valid():
            return self.show(form=form)
        try:
            key, secret = issue_api_key(
                user=request.user,  # type: ignore[arg-type]
                organization=_organization(request),
                name=form.cleaned_data["name"],
                terms=form.terms(),
                actor=request.actor,  # type: ignore[attr-defined]
            )
        except AppError as error:
            form.add_error(None, error.message)
            return self.show(form=form)
        return self.show(key=key, secret=secret)

    def show(self, *, form: ApiKeyForm | None = None, key: ApiKey | None = None, secret: str = "") -> HttpResponse:
        """Render the page, with a refused form or a fresh secret."""
        actor: Any = self.request.actor  # type: ignore[attr-defined]
        keys = ApiKey.objects.visible_to(actor).filter(user_id=actor.user_id, revoked_at__isnull=True)
        context = {
            "form": form or ApiKeyForm(teams=_own_teams(self.request)),
            "is_form_open": form is not None,
            "keys": keys.select_related("team").order_by("-id"),
            "organization": Organization.objects.filter(id=actor.organization_id).first(),
            "new_key": key,
            "secret": secret,
            "base_url": f"{settings.SITE_URL}/v1",
        }
        response = render(self.request, "users/keys.html", context, status=422 if form is not None else 200)
        response["Cache-Control"] = "no-store"
        return response


class KeyRotation(KeysPage):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, key_id: str) -> HttpResponse:  # type: ignore[override]
        try:
            key, secret = rotate_api_key(key=_own_key(request, key_id), actor=request.actor)  # type: ignore[attr-defined]
        except AppError as error:
            messages.error(request, error.message)
            return redirect("api_keys")
        return self.show(key=key, secret=secret)


class KeyRevocation(LoginRequiredMixin, View):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, key_id: str) -> HttpResponse:
        key = _own_key(request, key_id)
        revoke_api_key(key=key, actor=request.actor)  # type: ignore[attr-defined]
        messages.success(request, f"{key.name} is revoked.")
        return redirect("api_keys")


def _own_teams(request: HttpRequest) -> QuerySet[Team]:
    actor: Any = request.actor  # type: ignore[attr-defined]
    found: QuerySet[Team] = Team.objects.visible_to(actor).active().joined_by(actor.user_id).order_by("name", "id")
    return found


def _own_key(request: HttpRequest, key_id: str) -> ApiKey:
    actor: Any = request.actor  # type: ignore[attr-defined]
    try:
        wanted = ApiKey.parse_id(key_id)
    except InvalidInput as error:
        raise Http404 from error
    key: ApiKey | None = ApiKey.objects.visible_to(actor).filter(id=wanted, user_id=actor.user_id).first()
    if key is None:
        raise Http404
    return key


def _organization(request: HttpRequest) -> Organization:
    organization: Organization | None = Organization.objects.filter(
        id=request.actor.organization_id  # type: ignore[attr-defined]
    ).first()
    if organization is None:
        raise InvalidInput("You belong to no organization, so there is nothing a key could act in.")
    return organization
