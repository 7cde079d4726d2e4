"""Pages before login: log in, register, confirm, set a new password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.generic import FormView

from apps.core.api.clients import client_ip
from apps.core.errors import AppError
from apps.users.choices import LinkPurpose
from apps.users.errors import PasswordWeak
from apps.users.forms import (
    REFUSED,
    ForgotPasswordForm,
    LoginForm,
    RegisterForm,
    ResetPasswordForm,
    VerifyEmailForm,
)
from apps.users.services.registering import (
    is_link_open,
    register_user,
    request_password_reset,
    reset_password,
    verify_email,
)

CHECK_MAIL = "If the address can be used, a mail with the next step is on its way to it."
CHECK_LOG = f"{CHECK_MAIL} This Portico has no mail server: it prints its mails to its log; ask who runs it."
READY = "If the address was free, your account is ready: log in."


class LoginPage(LoginView):
    template_name = "users/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def form_invalid(self, form: Any) -> HttpResponse:
        """Show what is wrong; 429 for too many attempts, so that programs notice too."""
        status = 429 if form.has_error(NON_FIELD_ERRORS, code=REFUSED) else 200
        return self.render_to_response(self.get_context_data(form=form), status=status)


class LogoutPage(LogoutView):
    http_method_names = ["post", "options"]


class EnteringPage(FormView):
    """A form that one service answers; what it refuses is shown with the form."""

    template_name = "users/entering.html"
    title = ""
    lead = ""
    button = ""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the page's words."""
        return super().get_context_data(title=self.title, lead=self.lead, button=self.button, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        """Do it, or show why not."""
        try:
            return self.carry_out(form.cleaned_data)
        except PasswordWeak as error:
            form.add_error("password", error.errors["password"])
        except AppError as error:
            form.add_error(None, error.message)
        return self.form_invalid(form)

    def carry_out(self, given: dict[str, Any]) -> HttpResponse:
        """Call the service and say where to go next."""
        raise NotImplementedError


class RegisterPage(EnteringPage):
    template_name = "users/register.html"
    form_class = RegisterForm
    title = "Create your account"
    button = "Create account"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Say that registration is closed before anybody fills in a form."""
        if not settings.REGISTRATION_OPEN:
            return render(request, "users/registration_closed.html", status=403)
        return super().dispatch(request, *args, **kwargs)

    def carry_out(self, given: dict[str, Any]) -> HttpResponse:
        """Register, and answer the same whether or not the address was free."""
        register_user(**given, ip_address=client_ip(self.request), actor=self.request.actor)  # type: ignore[attr-defined]
        messages.success(self.request, CHECK_MAIL if settings.EMAIL_VERIFICATION_REQUIRED else READY)
        return redirect("login")


class ForgotPasswordPage(EnteringPage):
    form_class = ForgotPasswordForm
    title = "Set a new password"
    lead = "Tell us your address and we send you a link that sets a new password."
    button = "Send the link"

    def carry_out(self, given: dict[str, Any]) -> HttpResponse:
        """Ask for the mail, and answer the same for an unknown address."""
        request_password_reset(**given, ip_address=client_ip(self.request), actor=self.request.actor)  # type: ignore[attr-defined]
        messages.success(self.request, CHECK_MAIL if settings.EMAIL_VERIFICATION_REQUIRED else CHECK_LOG)
        return redirect("login")


class LinkPage(EnteringPage):
    """A page that a mailed link opens. Looking at it uses nothing up: mail scanners follow links."""

    purpose: LinkPurpose

    def get_initial(self) -> dict[str, Any]:
        """Carry the link's token over into the form."""
        return {"token": self.request.GET.get("token", "")[:256]}

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the form, or that the link is spent."""
        if not is_link_open(purpose=self.purpose, token=self.get_initial()["token"]):
            return render(request, "users/link_invalid.html", status=400)
        return super().get(request, *args, **kwargs)


class ResetPasswordPage(LinkPage):
    form_class = ResetPasswordForm
    purpose = LinkPurpose.RESET_PASSWORD
    title = "Choose a new password"
    lead = "You will be logged out everywhere else."
    button = "Set password"

    def carry_out(self, given: dict[str, Any]) -> HttpResponse:
        """Set the password."""
        reset_password(**given, actor=self.request.actor)  # type: ignore[attr-defined]
        messages.success(self.request, "The password is set. Log in with it.")
        return redirect("login")


class VerifyEmailPage(LinkPage):
    form_class = VerifyEmailForm
    purpose = LinkPurpose.VERIFY_EMAIL
    title = "Confirm your address"
    lead = "One click, and your account is ready."
    button = "Confirm address"

    def carry_out(self, given: dict[str, Any]) -> HttpResponse:
        """Confirm the address."""
        verify_email(**given, actor=self.request.actor)  # type: ignore[attr-defined]
        messages.success(self.request, "The address is confirmed. Log in.")
        return redirect("login")
