"""Failures in the shape of Anthropic's errors, which its SDKs and Claude Code parse and act on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson

from apps.core.errors import AppError
from apps.gateway.dialects.base import Headers
from apps.gateway.dialects.openai_errors import error_headers
from apps.gateway.providers.base import UpstreamError

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
_TOO_LONG_WORDS = ("maximum context length", "context window", "exceeds the context", "too many tokens")
LIMIT_PREFIX = b"x-ratelimit-"
TOO_LONG = "prompt is too long"
"""Claude Code looks for these words to know that it has to make its conversation shorter."""


def describe_error(error: AppError) -> dict[str, Any]:
    """Return the `error` object of an expected failure. `details.error_code` is the code that the docs give it."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    message = error.message
    if isinstance(error, UpstreamError) and _says_too_long(error):
        message = f"{TOO_LONG}: {message}"
    return {"type": kind, "message": message, "details": {"error_code": error.code}}


def encode_error(error: AppError, request_id: str) -> bytes:
    """Return the JSON body of an expected failure."""
    return orjson.dumps({"type": "error", "error": describe_error(error), "request_id": request_id}, default=str)


class AnthropicErrors:
    """Failures as every endpoint of Anthropic tells them."""

    id_header: ClassVar[bytes] = b"request-id"

    def write_error(self, error: AppError, request_id: str) -> bytes:
        """Return the JSON body."""
        return encode_error(error, request_id)

    def error_headers(self, error: AppError, request_id: str) -> Headers:
        """Return when and whether to try again, and the failure's own headers."""
        return self.limit_headers(error_headers(error))

    def limit_headers(self, headers: Headers) -> Headers:
        """Return the headers together with the same in Anthropic's names, which have moments instead of durations."""
        found = list(headers)
        for name, value in headers:
            if name.startswith(LIMIT_PREFIX):
                what, _, kind = name.removeprefix(LIMIT_PREFIX).partition(b"-")
                said = _moment_after(value) if what == b"reset" else value
                found.append((b"anthropic-ratelimit-" + kind + b"-" + what, said))
        return found


def _moment_after(duration: bytes) -> bytes:
    seconds = float(duration.removesuffix(b"s") or b"0")
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def _says_too_long(error: UpstreamError) -> bool:
    if error.status not in {400, 413, 422} or TOO_LONG in error.message:
        return False
    if error.upstream_code in _TOO_LONG_CODES:
        return True
    said = error.message.lower()
    return any(words in said for words in _TOO_LONG_WORDS)
