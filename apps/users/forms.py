"""Forms of the web pages and of the admin's login."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm
from unfold.forms import AuthenticationForm as UnfoldAuthenticationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.core.api.clients import client_ip
from apps.core.context import current_actor
from apps.core.errors import AppError
from apps.users.choices import SCOPES
from apps.users.errors import CredentialsWrong
from apps.users.models import Organization, Team, User
from apps.users.services.accounts import record_password_change
from apps.users.services.api_keys import KeyTerms
from apps.users.services.logging_in import REFUSAL, check_credentials

MAX_PASSWORD = 1024
REFUSED = "refused"


def password_field(label: str, *, autocomplete: str, help_text: str = "") -> forms.CharField:
    """Return a password field that keeps blanks and does not take essays."""
    return forms.CharField(
        label=label,
        max_length=MAX_PASSWORD,
        strip=False,
        help_text=help_text,
        widget=forms.PasswordInput(attrs={"autocomplete": autocomplete}),
    )


def email_field() -> forms.EmailField:
    """Return the field of one's own address."""
    return forms.EmailField(
        label="E-mail", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True})
    )


class PageForm(forms.Form):
    """A form of our pages: labels without colons."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""


class ThrottledLogin(AuthenticationForm):
    """Checks the password where the API checks it too, so that all channels share one count of attempts."""

    request: HttpRequest

    def clean(self) -> dict[str, Any]:
        """Find the person, or say one sentence for every reason."""
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if email and password:
            try:
                self.user_cache = check_credentials(email=email, password=password, ip_address=client_ip(self.request))
            except CredentialsWrong as error:
                raise self.get_invalid_login_error() from error
            except AppError as error:
                raise forms.ValidationError(error.message, code=REFUSED) from error
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data


class LoginForm(ThrottledLogin):
    """The login page's form."""

    error_messages = {"invalid_login": REFUSAL, "inactive": REFUSAL}
    username = email_field()
    password = password_field("Password", autocomplete="current-password")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""


class ThrottledAuthenticationForm(ThrottledLogin, UnfoldAuthenticationForm):
    """The admin's login form (`UNFOLD["LOGIN"]["form"]`): staff only, under the same limits."""


class RegisterForm(PageForm):
    email = email_field()
    name = forms.CharField(
        max_length=200, required=False, label="Name (optional)", widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = password_field(
        "Password", autocomplete="new-password", help_text="12 characters or more; a few words make a good one."
    )


class ForgotPasswordForm(PageForm):
    email = email_field()


class ResetPasswordForm(PageForm):
    token = forms.CharField(widget=forms.HiddenInput, max_length=256)
    password = password_field(
        "New password", autocomplete="new-password", help_text="12 characters or more; a few words make a good one."
    )


class VerifyEmailForm(PageForm):
    token = forms.CharField(widget=forms.HiddenInput, max_length=256)


class ProfileForm(PageForm):
    name = forms.CharField(max_length=200, required=False, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    default_organization = forms.ModelChoiceField(
        label="Organization you work in", queryset=Organization.objects.none(), empty_label=None
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["default_organization"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Organization.objects.active().filter(memberships__user=user).order_by("name", "id")


class PasswordForm(PageForm):
    current_password = password_field("Present password", autocomplete="current-password")
    new_password = password_field(
        "New password", autocomplete="new-password", help_text="All your other sessions will be logged out."
    )


class ApiKeyForm(PageForm):
    name = forms.CharField(max_length=120, help_text="What it is for, so that you know it again.")
    team = forms.ModelChoiceField(
        queryset=Team.objects.none(), required=False, empty_label="None", help_text="The team that its calls count for."
    )
    scopes = forms.MultipleChoiceField(
        label="What it may do",
        required=False,
        choices=list(SCOPES.items()),
        widget=forms.CheckboxSelectMultiple,
        help_text="Nothing ticked: everything that you may do.",
    )
    allowed_models = forms.CharField(
        label="Models", required=False, max_length=2000, help_text="Names, separated by commas. Empty: every model."
    )
    requests_per_minute = forms.IntegerField(required=False, min_value=1, max_value=2_147_483_647)
    tokens_per_minute = forms.IntegerField(required=False, min_value=1, max_value=2_147_483_647)
    parallel_calls = forms.IntegerField(label="Calls at a time", required=False, min_value=1, max_value=2_147_483_647)
    expires_on = forms.DateField(
        label="Last day", required=False, widget=forms.DateInput(attrs={"type": "date"}), help_text="In UTC."
    )

    def __init__(self, *args: Any, teams: QuerySet[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = teams

    def terms(self) -> KeyTerms:
        """Return what was asked for."""
        given = self.cleaned_data
        last_day = given["expires_on"]
        return KeyTerms(
            scopes=given["scopes"],
            allowed_models=[name.strip() for name in given["allowed_models"].split(",") if name.strip()],
            requests_per_minute=given["requests_per_minute"],
            tokens_per_minute=given["tokens_per_minute"],
            parallel_calls=given["parallel_calls"],
            team=given["team"],
            expires_at=datetime.combine(last_day, time.max, tzinfo=UTC) if last_day else None,
        )


class StaffPasswordForm(AdminPasswordChangeForm):
    """Sets somebody's password in the admin; like any change of password it ends their sessions."""

    def save(self, commit: bool = True) -> User:
        """Save, and end what the old password opened."""
        user: User = super().save(commit=commit)
        record_password_change(user=user, actor=current_actor())
        return user


class StaffApiKeyForm(forms.Form):
    """Issues a key for somebody in the admin."""

    organization = forms.ModelChoiceField(
        queryset=Organization.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget
    )
    name = forms.CharField(max_length=120, widget=UnfoldAdminTextInputWidget)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["organization"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Organization.objects.active().filter(memberships__user=user).order_by("name", "id")
