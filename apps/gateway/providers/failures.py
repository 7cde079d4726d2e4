"""What a provider's failure means for the call: ask again, ask another deployment, another model, or nobody."""

from __future__ import annotations

import re
from enum import StrEnum

from apps.gateway.providers.base import (
    NativeOnly,
    UpstreamBroken,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
)


class Failure(StrEnum):
    """Kinds of failures, by what helps."""

    CONTEXT = "context_window"
    """The prompt is too long for the model."""
    CONTENT = "content_policy"
    """The provider's policy refuses the content."""
    REQUEST = "request"
    """The request is wrong; nobody will take it."""
    MISSING = "missing"
    """This deployment does not know the model."""
    ACCOUNT = "account"
    RATE = "rate_limit"
    STALE = "stale_connection"
    """A kept connection was closed at the moment it was used again: the request did not arrive."""
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    SERVER = "server_error"
    BROKEN = "broken_answer"


BLAMELESS = frozenset({Failure.CONTEXT, Failure.CONTENT, Failure.REQUEST, Failure.MISSING})
"""These say nothing about the deployment's health."""
REPEATABLE = frozenset({Failure.RATE, Failure.STALE, Failure.UNREACHABLE, Failure.SERVER, Failure.BROKEN})
"""The same deployment may answer when it is asked again a moment later."""

_CONTEXT_CODES = frozenset(
    {"context_length_exceeded", "string_above_max_length", "request_too_large", "model_max_length"}
)
_CONTENT_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "moderation_blocked",
        "invalid_prompt",
        "responsibleaipolicyviolation",
    }
)
# Each provider's own words, as far as they come without a code: OpenAI and compatible servers, Anthropic, OpenRouter, Ollama.
_CONTEXT_WORDS = re.compile(
    r"maximum context length|context (?:window|length|size)|prompt is too long|input is too long|"
    r"exceed(?:s|ed)? (?:the )?(?:context|maximum (?:number of )?(?:input )?tokens|model'?s? maximum)|"
    r"input token count|too many (?:input )?tokens in|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
_CONTENT_WORDS = re.compile(
    r"content (?:management|filter(?:ing)?|moderation) polic|content[_ ]polic(?:y|ies)|usage polic(?:y|ies)|"
    r"flagged (?:as|for|by)|requires moderation|safety system|blocked by (?:the )?(?:content|safety)|responsible ai",
    re.IGNORECASE,
)


def classify(error: UpstreamError) -> Failure:
    """Return what kind of failure an error is."""
    if isinstance(error, NativeOnly):
        return Failure.MISSING
    if isinstance(error, UpstreamRejected):
        return _classify_rejection(error)
    if isinstance(error, UpstreamRateLimited):
        return Failure.RATE
    if isinstance(error, UpstreamUnauthenticated):
        return Failure.ACCOUNT
    if isinstance(error, UpstreamTimedOut):
        return Failure.TIMEOUT
    if isinstance(error, UpstreamBroken):
        return Failure.BROKEN if error.is_retryable else Failure.ACCOUNT
    if isinstance(error, UpstreamUnavailable) and error.upstream_status is None:
        if not error.is_retryable:
            return Failure.ACCOUNT
        return Failure.STALE if error.status == 502 else Failure.UNREACHABLE
    return Failure.SERVER


def _classify_rejection(error: UpstreamRejected) -> Failure:
    codes = {text.lower() for text in (error.upstream_code, error.upstream_type) if text}
    if codes & _CONTEXT_CODES or error.upstream_status == 413:
        return Failure.CONTEXT
    if codes & _CONTENT_CODES or error.upstream_status == 403:
        return Failure.CONTENT
    if _CONTEXT_WORDS.search(error.message):
        return Failure.CONTEXT
    if _CONTENT_WORDS.search(error.message):
        return Failure.CONTENT
    return Failure.MISSING if error.may_fall_over else Failure.REQUEST
