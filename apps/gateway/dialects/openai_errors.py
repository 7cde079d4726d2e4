"""Failures in the shape of OpenAI's errors, which official SDKs parse and act on."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import orjson

from apps.core.errors import AppError
from apps.gateway.dialects.base import Headers
from apps.gateway.providers.base import UpstreamError

RETRY_SECONDS = 2.0
"""Told where nobody said when to try again."""
MAX_RETRY_SECONDS = 120.0
"""Above this, official SDKs wait as long as they think best instead."""
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
# Programs written for OpenAI look for these; every other failure has the code that /api/v3 and the docs give it.
_CODES = {
    "gateway.model_unknown": "model_not_found",
    "gateway.request_limit_reached": "rate_limit_exceeded",
    "gateway.token_limit_reached": "rate_limit_exceeded",
    "gateway.parallel_limit_reached": "rate_limit_exceeded",
    "gateway.upstream_rate_limited": "rate_limit_exceeded",
    "gateway.parameter_invalid": "invalid_value",
    "gateway.parameter_missing": "missing_required_parameter",
    "users.key_unknown": "invalid_api_key",
    "users.token_invalid": "invalid_api_key",
    "not_authenticated": "invalid_api_key",
}
_LIMIT_TYPES = {"gateway.request_limit_reached": "requests", "gateway.token_limit_reached": "tokens"}


def describe_error(error: AppError) -> dict[str, Any]:
    """Return the `error` object of an expected failure."""
    code: str | None = _CODES.get(error.code, error.code)
    kind = _LIMIT_TYPES.get(error.code) or _TYPES.get(error.status, "server_error")
    if isinstance(error, UpstreamError):
        code = error.upstream_code or code
        if error.status < 500:
            kind = error.upstream_type or kind
    return {"message": error.message, "type": kind, "param": error.param, "code": code}


def encode_error(error: AppError) -> bytes:
    """Return the JSON body of an expected failure."""
    return orjson.dumps({"error": describe_error(error)}, default=str)


def error_headers(error: AppError) -> Headers:
    """Return what the answer's headers say of a failure: when and whether to try again, and its own."""
    headers: Headers = [
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()
    ]
    seconds = error.retry_after_seconds
    if seconds is None and error.status in {429, 503} and b"x-should-retry" not in dict(headers):
        seconds = RETRY_SECONDS
    if seconds is not None:
        seconds = min(max(seconds, 0.001), MAX_RETRY_SECONDS)
        headers.append((b"retry-after", b"%d" % math.ceil(seconds)))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(seconds * 1000)))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="portico"'))
    if isinstance(error, UpstreamError) and not error.is_retryable and error.status >= 500:
        headers.append((b"x-should-retry", b"false"))
    return headers


class OpenAIErrors:
    """Failures as every endpoint of OpenAI tells them."""

    id_header: ClassVar[bytes] = b""
    passed_on: ClassVar[tuple[bytes, ...]] = ()

    def write_error(self, error: AppError, request_id: str) -> bytes:
        """Return the JSON body."""
        return encode_error(error)

    def error_headers(self, error: AppError, request_id: str) -> Headers:
        """Return when and whether to try again, and the failure's own headers."""
        return error_headers(error)

    def limit_headers(self, headers: Headers) -> Headers:
        """Return them as they are: the names are OpenAI's."""
        return headers
