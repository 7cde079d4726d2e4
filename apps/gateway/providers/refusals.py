"""From what a provider answered instead of an answer to an error of ours, fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from apps.gateway.providers.base import (
    Target,
    UpstreamBroken,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
)

MAX_MESSAGE_LENGTH = 500
MAX_RETRY_SECONDS = 86_400.0
MASK = "[masked]"

# Keys as providers print them: a known prefix, a bearer header, or a long run that mixes letters and digits.
_SECRET = re.compile(
    r"(?:Bearer\s+[^\s'\"]+)"
    r"|(?:\b(?:sk|pk|rk|gsk|xai|hf|r8|nvapi|pplx)[-_][\w*.\-]{6,})"
    r"|(?:\b(?:key|api|token)[-_](?=[\w\-]*\d)[\w*.\-]{12,})"
    r"|(?:\bAIza[\w\-]{10,})"
    r"|(?:\b(?=[A-Za-z_\-]*\d)(?=[\d_\-]*[A-Za-z])[A-Za-z0-9_\-]{32,})",
    re.IGNORECASE,
)
# Anthropic says that an account is out of money with status 400.
_ACCOUNT_WORDS = "credit balance is too low"
_ACCOUNT_CODES = frozenset({"insufficient_quota", "billing_not_active", "billing_error", "account_deactivated"})
_STATUS_BY_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_REJECTING = {400: 400, 404: 404, 405: 400, 406: 400, 411: 400, 413: 413, 414: 413, 415: 400, 422: 422, 431: 413}


def mask_secrets(text: str, credential: str = "") -> str:
    """Return `text` without `credential` and without anything that looks like a key, cut to 500 characters."""
    if credential:
        text = text.replace(credential, MASK)
    text = _SECRET.sub(MASK, text)
    return text if len(text) <= MAX_MESSAGE_LENGTH else text[: MAX_MESSAGE_LENGTH - 1] + "…"


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait from `retry-after-ms` or `Retry-After` (seconds or HTTP date), a day at the most, or None."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        try:
            return _bounded(float(milliseconds) / 1000)
        except ValueError:
            return None
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return _bounded(float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - datetime.now(UTC)).total_seconds())


def _bounded(seconds: float) -> float:
    # Also "inf" and "nan" are numbers to Python.
    return min(max(0.0, seconds), MAX_RETRY_SECONDS)


def error_from_response(*, target: Target, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """Return the error for a response that is not a success."""
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None
    error = decoded.get("error") if isinstance(decoded, dict) else None
    if error is None and isinstance(decoded, dict):
        error = decoded
    return error_from_object(target=target, status=status, error=error, retry_after=parse_retry_after(headers))


def error_from_object(*, target: Target, status: int, error: object, retry_after: float | None = None) -> UpstreamError:
    """Return the error for a provider's error object (or string), by the HTTP status it came with or stands for."""
    details: dict[str, Any] = error if isinstance(error, dict) else {}
    message = details.get("message") or details.get("detail") or (error if isinstance(error, str) else "")
    shown = mask_secrets(message if isinstance(message, str) else str(message), target.credential)
    code = _as_text(details.get("code"))
    kind = _as_text(details.get("type"))
    who = f"Provider {target.provider!r}"
    if status == 429 and not {code, kind} & _ACCOUNT_CODES:
        return UpstreamRateLimited(
            _sentence(f"{who} limits the rate of calls", shown),
            upstream_status=status,
            retry_after_seconds=retry_after,
            upstream_code=code,
            upstream_type=kind,
        )
    is_account = status in {401, 402, 403, 407, 429} or _ACCOUNT_WORDS in shown
    if is_account and not _is_moderation(details):
        # The upstream's words are left out: they are about our account, and tend to quote the key.
        return UpstreamUnauthenticated(
            f"{who} refuses the credential or account configured for it (status {status}).",
            upstream_status=status,
            upstream_code=code,
            upstream_type=kind,
        )
    if status in _REJECTING or status == 403:
        rejected = UpstreamRejected(
            shown or f"{who} rejects the request (status {status}).",
            status=_REJECTING.get(status, 400),
            upstream_status=status,
            param=_as_text(details.get("param")),
            upstream_code=code,
            upstream_type=kind,
        )
        # An unknown model or route says something about this deployment only.
        rejected.may_fall_over = status in {404, 405}
        return rejected
    if status in {408, 504, 524}:
        return UpstreamTimedOut(_sentence(f"{who} timed out", shown), upstream_status=status)
    if 300 <= status < 400:
        return UpstreamBroken(
            f"{who} answers with a redirect (status {status}), which is not followed.",
            upstream_status=status,
            is_retryable=False,
        )
    return UpstreamUnavailable(
        _sentence(f"{who} is unavailable (status {status})", shown),
        upstream_status=status,
        retry_after_seconds=retry_after,
        upstream_code=code,
        upstream_type=kind,
    )


def status_of(error: object) -> int:
    """Return the HTTP status an error object stands for when it came with status 200, or within a stream: its `code`
    where that is one, else what its type says, else 502.
    """
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    if isinstance(code, int) and 400 <= code <= 599:
        return code
    kind = error.get("type") if isinstance(error, dict) else None
    return _STATUS_BY_TYPE.get(kind, 502) if isinstance(kind, str) else 502


def _sentence(ours: str, theirs: str) -> str:
    return f"{ours}: {theirs}"[: MAX_MESSAGE_LENGTH + 100] if theirs else f"{ours}."


def _as_text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)[:100]


def _is_moderation(error: dict[str, Any]) -> bool:
    # OpenRouter answers 403 both for a bad account and for flagged input; only the latter has reasons.
    metadata = error.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("reasons"))
