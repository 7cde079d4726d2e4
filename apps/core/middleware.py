"""Middleware of everything but the hot path."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import structlog
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from psycopg_pool import PoolTimeout
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.core.api.clients import comes_from_proxy
from apps.core.api.problems import problem_response
from apps.core.context import new_request_id, set_request_id
from apps.core.errors import DependencyDown

logger = structlog.get_logger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponseBase]
ACCEPTED_ID = re.compile(r"^[A-Za-z0-9._-]{8,128}$")

# What a page of ours needs and nothing else; scripts only with the page's nonce.
POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'{scripts}; style-src 'self' {styles}; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
# The admin's framework writes style attributes and compiles its expressions (docs/adr/0003-admin-csp.md).
ADMIN_PREFIX = "/admin/"


def build_policy(path: str, nonce: str) -> str:
    """Return the Content-Security-Policy of a page; no page runs inline scripts."""
    if path.startswith(ADMIN_PREFIX):
        return POLICY.format(nonce=nonce, scripts=" 'unsafe-eval'", styles="'unsafe-inline'")
    return POLICY.format(nonce=nonce, scripts="", styles=f"'nonce-{nonce}'")


class RequestIdMiddleware:
    """Take the caller's X-Request-Id when it is well formed, else make one; give it back and into every log line."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if ACCEPTED_ID.match(given) else new_request_id()  # type: ignore[attr-defined]
        set_request_id(request.request_id)  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response


class ForwardedSchemeMiddleware:
    """Believe X-Forwarded-Proto from our own proxies only: anybody else could talk the HTTPS redirect away."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not comes_from_proxy(request):
            request.META.pop("HTTP_X_FORWARDED_PROTO", None)
        return self.get_response(request)


class SecurityHeadersMiddleware:
    """Give every answer a strict Content-Security-Policy with a fresh nonce, and the other headers of Observatory A+."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.csp_nonce = secrets.token_urlsafe(18)  # type: ignore[attr-defined]
        response = self.get_response(request)
        policy = build_policy(request.path, request.csp_nonce)  # type: ignore[attr-defined]
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        if request.path.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class DependencyDownMiddleware:
    """Answer 503 with Retry-After when Postgres or Redis does not answer; never a stack trace, never 401."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, OperationalError | InterfaceError | PoolTimeout | RedisConnectionError):
            logger.error("dependency_down", error=str(exception)[:300], path=request.path)
            return problem_response(
                DependencyDown("The database or the cache does not answer; try again shortly."), request
            )
        return None
