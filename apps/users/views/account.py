"""/account: profile, password, sessions."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from apps.core.api.clients import client_ip
from apps.core.errors import AppError, InvalidInput
from apps.core.models import Entity
from apps.users.choices import RevocationReason
from apps.users.errors import CredentialsWrong, PasswordWeak
from apps.users.forms import PasswordForm, ProfileForm
from apps.users.models import OAuthClient, UserSession
from apps.users.services.accounts import change_profile, set_password
from apps.users.services.logging_in import check_own_password
from apps.users.services.oauth_clients import take_back_consent
from apps.users.services.sessions import revoke_session


class AccountPage(LoginRequiredMixin, View):
    """The page; its forms post to the views below, which show it again with what is wrong."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.show()

    def show(self, *, profile_form: Any = None, password_form: Any = None) -> HttpResponse:
        """Render the page with fresh forms or with those that were refused."""
        user = self.request.user
        initial = {"name": user.name, "default_organization": user.default_organization_id}  # type: ignore[union-attr]
        sessions = UserSession.objects.visible_to(self.request.actor).live().order_by("-last_seen_at", "-id")  # type: ignore[attr-defined]
        context = {
            "profile_form": profile_form or ProfileForm(user=user, initial=initial),  # type: ignore[arg-type]
            "password_form": password_form or PasswordForm(),
            "sessions": sessions,
            "clients": OAuthClient.objects.acting_for(user.pk).order_by("name", "id"),
            "current_session": self.request.user_session,  # type: ignore[attr-defined]
        }
        is_refused = profile_form is not None or password_form is not None
        return render(self.request, "users/account.html", context, status=422 if is_refused else 200)


class ProfileChange(AccountPage):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        form = ProfileForm(request.POST, user=request.user)  # type: ignore[arg-type]
        if not form.is_valid():
            return self.show(profile_form=form)
        change_profile(user=request.user, actor=request.actor, **form.cleaned_data)  # type: ignore[arg-type,attr-defined]
        messages.success(request, "Your profile is saved.")
        return redirect("account")


class PasswordChange(AccountPage):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        form = PasswordForm(request.POST)
        if not form.is_valid() or not self._change(request, form):
            return self.show(password_form=form)
        messages.success(request, "The password is set. Every other session was logged out.")
        return redirect("account")

    def _change(self, request: HttpRequest, form: PasswordForm) -> bool:
        user: Any = request.user
        given = form.cleaned_data
        try:
            check_own_password(user=user, password=given["current_password"], ip_address=client_ip(request))
            set_password(
                user=user,
                password=given["new_password"],
                actor=request.actor,  # type: ignore[attr-defined]
                keep_session_id=request.user_session.id,  # type: ignore[attr-defined]
            )
        except CredentialsWrong as error:
            form.add_error("current_password", error.message)
        except PasswordWeak as error:
            form.add_error("new_password", error.errors["password"])
        except AppError as error:
            form.add_error(None, error.message)
        else:
            update_session_auth_hash(request, user)
            return True
        return False


class SessionEnd(LoginRequiredMixin, View):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, session_id: str) -> HttpResponse:
        session = UserSession.objects.visible_to(request.actor).filter(id=_parse(session_id, UserSession)).first()  # type: ignore[attr-defined]
        if session is None:
            raise Http404
        revoke_session(session=session, reason=RevocationReason.REVOKED, actor=request.actor)  # type: ignore[attr-defined]
        messages.success(request, "The session is logged out.")
        return redirect("account")


class ClientEnd(LoginRequiredMixin, View):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, client_id: str) -> HttpResponse:
        user: Any = request.user
        client = OAuthClient.objects.acting_for(user.pk).filter(id=_parse(client_id, OAuthClient)).first()
        if client is None:
            raise Http404
        take_back_consent(user=user, client=client, actor=request.actor)  # type: ignore[attr-defined]
        messages.success(request, f"{client.name} can do nothing for you any more.")
        return redirect("account")


def _parse(public_id: str, model: type[Entity]) -> Any:
    try:
        return model.parse_id(public_id)
    except InvalidInput as error:
        raise Http404 from error
