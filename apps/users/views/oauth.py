"""/oauth and the documents that describe it."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.models import get_access_token_model
from oauth2_provider.views import AuthorizationView, RevokeTokenView, TokenView, UserInfoView
from oauth2_provider.views.mixins import OAuthLibMixin
from oauthlib.common import Request as OAuthRequest
from oauthlib.oauth2.rfc6749.errors import (
    InvalidClientError,
    InvalidRequestError,
    OAuth2Error,
    UnsupportedGrantTypeError,
)

from apps.core.middleware import build_policy
from apps.users.choices import IDENTITY_SCOPES, SCOPES
from apps.users.models import OAuthClient
from apps.users.signing import ALGORITHM, signing_key

# What RFC 6749, 3.1 and 3.2 say: parameters come once. `resource` may repeat (RFC 8707).
REPEATABLE = {"resource"}
GRANT_TYPES = ["authorization_code", "refresh_token", "client_credentials"]


def find_fault(request: HttpRequest) -> str:
    """Return what is wrong with the parameters before anybody reads them, or ""."""
    for given in (request.GET, request.POST):
        for name, values in given.lists():
            if len(values) > 1 and name not in REPEATABLE:
                return f"The parameter {name[:40]} came more than once."
            if any("\0" in value for value in values):
                return f"The parameter {name[:40]} contains a NUL character."
    return ""


def refuse(error: OAuth2Error) -> HttpResponse:
    """Answer an error in the form of RFC 6749, 5.2."""
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache", **error.headers}
    headers["Content-Type"] = "application/json"
    return HttpResponse(error.json, status=error.status_code, headers=headers)


class Authorize(AuthorizationView):
    """The consent page. A request that cannot be trusted never leads to a redirect."""

    template_name = "users/consent.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Refuse broken parameters, and make sure that everybody is asked every time."""
        try:
            fault = find_fault(request)
            if not fault and request.method == "POST" and self._client(request) is None:
                fault = "There is no such client."
            if fault:
                return self._refuse(request, fault)
            if "approval_prompt" in request.GET:
                query = request.GET.copy()
                del query["approval_prompt"]
                request.GET = query  # type: ignore[assignment]
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        except ValueError:  # oauthlib's word for a query string that is not one
            return self._refuse(request, "The query string is malformed.")
        self._open_form_action(request, response)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whom the person is sent to."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["redirect_host"] = urlsplit(kwargs.get("redirect_uri") or "").netloc
        return context

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Send the person back with `iss` (RFC 9207), also on a refusal."""
        parts = urlsplit(redirect_to)
        query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "iss"]
        target = urlunsplit(parts._replace(query=urlencode([*query, ("iss", settings.SITE_URL)])))
        response: HttpResponse = super().redirect(target, application or self._client(self.request))
        return response

    def _client(self, request: HttpRequest) -> OAuthClient | None:
        named = request.POST.get("client_id") or request.GET.get("client_id", "")
        client: OAuthClient | None = OAuthClient.objects.filter(client_id=named).first()
        return client

    def _refuse(self, request: HttpRequest, fault: str) -> HttpResponse:
        error = InvalidRequestError(description=fault)
        return render(request, self.template_name, {"error": error}, status=400)

    def _open_form_action(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Let the consent form's answer lead to the client: browsers hold redirects against form-action too."""
        redirect_uri = self.oauth2_data.get("redirect_uri")
        if redirect_uri and response.status_code == 200:
            parts = urlsplit(redirect_uri)
            policy = build_policy(request.path, request.csp_nonce)  # type: ignore[attr-defined]
            response.headers["Content-Security-Policy"] = policy.replace(
                "form-action 'self'", f"form-action 'self' {parts.scheme}://{parts.netloc}"
            )


class CheckedEndpoint(View):
    """Refuses what RFC 6749 forbids in a request of a program."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer 400 for repeated or unreadable parameters, never a 500."""
        if fault := find_fault(request):
            return refuse(InvalidRequestError(description=fault))
        try:
            return super().dispatch(request, *args, **kwargs)
        except ValueError:
            return refuse(InvalidRequestError(description="The request is malformed."))


@method_decorator(csrf_exempt, name="dispatch")
class Token(CheckedEndpoint, TokenView):
    """The token endpoint: authorization_code, refresh_token, client_credentials."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer tokens or an error."""
        if request.POST.get("grant_type", "") not in GRANT_TYPES:
            return refuse(UnsupportedGrantTypeError())
        response: HttpResponse = self.authorization_flow_token_response(request)
        return response


@method_decorator(csrf_exempt, name="dispatch")
class Revoke(CheckedEndpoint, RevokeTokenView):
    """RFC 7009: a client takes back its own tokens."""

    http_method_names = ["post", "options"]


@method_decorator(csrf_exempt, name="dispatch")
class UserInfo(CheckedEndpoint, UserInfoView):
    """OpenID Connect: who the person behind an access token is."""


@method_decorator(csrf_exempt, name="dispatch")
class Introspect(CheckedEndpoint, OAuthLibMixin):
    """RFC 7662: a confidential client asks about an access token of its own organization; of others it learns nothing."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """Answer whether the token opens anything, and what."""
        client = self._authenticated_client(request)
        if client is None:
            return refuse(InvalidClientError())
        checksum = hashlib.sha256(request.POST.get("token", "").encode()).hexdigest()
        token = (
            get_access_token_model()
            .objects.filter(token_checksum=checksum, application__organization_id=client.organization_id)
            .select_related("user", "application__user", "application__organization")
            .first()
        )
        answer = describe_token(token) if token is not None else {"active": False}
        return JsonResponse(answer, headers={"Cache-Control": "no-store"})

    def _authenticated_client(self, request: HttpRequest) -> OAuthClient | None:
        core = self.get_oauthlib_core()
        asked = OAuthRequest(*core._extract_params(request))
        if not core.server.request_validator.authenticate_client(asked):
            return None
        client: OAuthClient = asked.client
        return client if client.client_type == OAuthClient.CLIENT_CONFIDENTIAL else None


def describe_token(token: Any) -> dict[str, Any]:
    """Return the introspection of a token; inactive where the API would refuse it."""
    person = token.user or token.application.user
    if not token.is_valid() or not token.application.is_usable(None) or person is None or not person.is_active:
        return {"active": False}
    return {
        "active": True,
        "scope": token.scope,
        "client_id": token.application.client_id,
        "token_type": "Bearer",
        "exp": int(token.expires.timestamp()),
        "iat": int(token.created.timestamp()),
        "sub": person.public_id,
        "iss": settings.SITE_URL,
    }


class Discovery(View):
    """OpenID Connect Discovery 1.0 and RFC 8414: what this server does and where."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """Answer the document."""
        issuer = settings.SITE_URL
        return open_document(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/oauth/authorize",
                "token_endpoint": f"{issuer}/oauth/token",
                "revocation_endpoint": f"{issuer}/oauth/revoke",
                "introspection_endpoint": f"{issuer}/oauth/introspect",
                "userinfo_endpoint": f"{issuer}/oauth/userinfo",
                "jwks_uri": f"{issuer}/.well-known/jwks.json",
                "scopes_supported": [*IDENTITY_SCOPES, *SCOPES],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": GRANT_TYPES,
                "code_challenge_methods_supported": ["S256"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
                "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "claims_supported": ["sub", "name", "email", "email_verified"],
                "prompt_values_supported": ["none", "login"],
                "authorization_response_iss_parameter_supported": True,
            }
        )


class Jwks(View):
    """The public keys that verify access and ID tokens."""

    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """Answer the key set."""
        return open_document({"keys": [signing_key().public_jwk]})


def open_document(content: dict[str, Any]) -> HttpResponse:
    """Answer a public document that any page may read and keep for a while."""
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}
    return JsonResponse(content, headers={**headers, "Cross-Origin-Resource-Policy": "cross-origin"})
