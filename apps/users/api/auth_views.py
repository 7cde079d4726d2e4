"""/api/v3/auth: register, log in, refresh, log out, confirm, reset."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.clients import client_ip, device_of
from apps.core.api.views import View
from apps.core.errors import InvalidInput
from apps.users.api import examples
from apps.users.api.serializers import (
    AcceptedOutput,
    ForgotPasswordInput,
    LoginInput,
    RefreshInput,
    RegisterInput,
    ResetPasswordInput,
    TokenOutput,
    VerifyEmailInput,
)
from apps.users.choices import CredentialKind, RevocationReason
from apps.users.models import UserSession
from apps.users.services.logging_in import check_credentials
from apps.users.services.registering import register_user, request_password_reset, reset_password, verify_email
from apps.users.services.sessions import refresh_session, revoke_session, start_token_session

REGISTERED = "If the address can be registered, a mail with the next step is on its way to it."
RESET_REQUESTED = "If the address has an account, a mail with a link is on its way to it."


class OpenView(View):
    """A view before login: it looks at no credential, so that a stale one is no obstacle."""

    is_open = True
    authentication_classes = ()

    def valid(self, kind: Any, request: Request) -> dict[str, Any]:
        """Return the validated body."""
        serializer = kind(data=request.data)
        serializer.is_valid(raise_exception=True)
        found: dict[str, Any] = serializer.validated_data
        return found


class RegisterView(OpenView):
    @extend_schema(
        summary="Register",
        description="Makes an account and mails a confirmation link. The answer is the same whether or not the address "
        "has an account already.",
        request=RegisterInput,
        responses={202: AcceptedOutput},
        examples=[
            examples.asked(
                {"email": "ada@example.com", "password": "correct horse battery staple", "name": "Ada Lovelace"}
            ),
            examples.answered({"detail": REGISTERED}, status="202"),
        ],
    )
    def post(self, request: Request) -> Response:
        given = self.valid(RegisterInput, request)
        register_user(**given, ip_address=client_ip(request._request), actor=self.actor)
        return Response({"detail": REGISTERED}, status=202)


class LoginView(OpenView):
    @extend_schema(
        summary="Log in",
        description="Trades e-mail and password for an access token of 15 minutes and a refresh token.",
        request=LoginInput,
        responses={200: TokenOutput},
        examples=[
            examples.asked({"email": "ada@example.com", "password": "correct horse battery staple"}),
            examples.answered(examples.TOKENS),
        ],
    )
    def post(self, request: Request) -> Response:
        given = self.valid(LoginInput, request)
        address = client_ip(request._request)
        user = check_credentials(**given, ip_address=address)
        pair = start_token_session(user=user, device=device_of(request._request), ip_address=address, actor=self.actor)
        return Response(TokenOutput(pair).data)


class RefreshView(OpenView):
    @extend_schema(
        summary="Refresh tokens",
        description="Trades a refresh token for a new pair. Each works once: a token that comes back ends its session, "
        "because two parties hold it. Refresh from one place at a time.",
        request=RefreshInput,
        responses={200: TokenOutput},
        examples=[examples.asked({"refresh_token": "prt_…"}), examples.answered(examples.TOKENS)],
    )
    def post(self, request: Request) -> Response:
        given = self.valid(RefreshInput, request)
        pair = refresh_session(
            **given, device=device_of(request._request), ip_address=client_ip(request._request), actor=self.actor
        )
        return Response(TokenOutput(pair).data)


class LogoutView(View):
    scopes = {"POST": "users:write"}
    roles = {"POST": "none"}

    @extend_schema(
        summary="Log out",
        description="Ends the session of the access token or cookie; both refuse from the next request on.",
        request=None,
        responses={204: None},
    )
    def post(self, request: Request) -> Response:
        credential = request._request.credential  # type: ignore[attr-defined]
        if credential.kind != CredentialKind.SESSION:
            raise InvalidInput("An API key or OAuth token has no session; revoke it instead.")
        session = UserSession.objects.get(id=credential.id)
        revoke_session(session=session, reason=RevocationReason.LOGOUT, actor=self.actor)
        if getattr(request._request, "user_session", None) == session:
            logout(request._request)
        return Response(status=204)


class VerifyEmailView(OpenView):
    @extend_schema(
        summary="Confirm an address",
        request=VerifyEmailInput,
        responses={200: AcceptedOutput},
        examples=[
            examples.asked({"token": "the token of the mailed link"}),
            examples.answered({"detail": "The address is confirmed."}),
        ],
    )
    def post(self, request: Request) -> Response:
        verify_email(**self.valid(VerifyEmailInput, request), actor=self.actor)
        return Response({"detail": "The address is confirmed."})


class ForgotPasswordView(OpenView):
    @extend_schema(
        summary="Ask for a new password",
        description="Mails a link that sets a new password. The answer is the same for an address without account.",
        request=ForgotPasswordInput,
        responses={202: AcceptedOutput},
        examples=[
            examples.asked({"email": "ada@example.com"}),
            examples.answered({"detail": RESET_REQUESTED}, status="202"),
        ],
    )
    def post(self, request: Request) -> Response:
        given = self.valid(ForgotPasswordInput, request)
        request_password_reset(**given, ip_address=client_ip(request._request), actor=self.actor)
        return Response({"detail": RESET_REQUESTED}, status=202)


class ResetPasswordView(OpenView):
    @extend_schema(
        summary="Set a new password",
        description="Uses up the mailed link, sets the password and ends every session.",
        request=ResetPasswordInput,
        responses={200: AcceptedOutput},
        examples=[
            examples.asked({"token": "the token of the mailed link", "password": "another horse, another battery"}),
            examples.answered({"detail": "The password is set. Log in with it."}),
        ],
    )
    def post(self, request: Request) -> Response:
        reset_password(**self.valid(ResetPasswordInput, request), actor=self.actor)
        return Response({"detail": "The password is set. Log in with it."})
