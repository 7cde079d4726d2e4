"""Browsers of other origins, by setting (PORTICO_CORS_ORIGINS). Keys travel in headers, so no cookie is ever allowed."""

from __future__ import annotations

from django.conf import settings

Headers = list[tuple[bytes, bytes]]

EXPOSED = (
    b"x-request-id, request-id, x-portico-request-id, x-portico-model, x-portico-provider, x-portico-cost, x-portico-attempts, "
    b"x-portico-cache, x-portico-cache-age, "
    b"x-portico-overhead-ms, retry-after, retry-after-ms, x-should-retry, x-ratelimit-limit-requests, "
    b"x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    b"x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
MAX_AGE_SECONDS = b"600"


def cors_headers(origin: bytes) -> Headers:
    """Return what lets a page of this origin read the answer; nothing for origins that are not named."""
    if not _is_allowed(origin):
        return []
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), (b"access-control-expose-headers", EXPOSED)]


def preflight_headers(origin: bytes, asked_headers: bytes) -> Headers:
    """Return the answer to a browser's question before the request itself."""
    if not _is_allowed(origin):
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-allow-headers", asked_headers or b"authorization, content-type"),
        (b"access-control-max-age", MAX_AGE_SECONDS),
        (b"vary", b"Origin"),
    ]


def _is_allowed(origin: bytes) -> bool:
    return origin.decode("latin-1") in settings.CORS_ALLOWED_ORIGINS
