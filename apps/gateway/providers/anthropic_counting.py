"""Anthropic's own count of a prompt's tokens: free of charge, and exact for its models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from apps.core.http import HttpSession
from apps.gateway.providers.anthropic import address, native_headers
from apps.gateway.providers.base import Target, UpstreamBroken, UpstreamTimedOut
from apps.gateway.providers.openai import decode_object
from apps.gateway.providers.transport import fetch

WAIT_SECONDS = 3.0
"""Longest wait: a count that is a little less exact is at hand."""


async def count_upstream(
    *,
    session: HttpSession,
    target: Target,
    body: dict[str, Any],
    headers: Mapping[str, str],
    request_id: str,
) -> int:
    """Return the tokens of a prompt in Anthropic's format, as the provider counts them. Raise UpstreamError."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            content, _ = await fetch(
                session=session,
                target=target,
                url=address(target, "/v1/messages/count_tokens"),
                headers=native_headers(target, headers, request_id),
                body=orjson.dumps({**body, "model": target.upstream_model}),
            )
    except TimeoutError:
        raise UpstreamTimedOut(f"Provider {target.provider!r} took too long to count.") from None
    count = decode_object(content, target).get("input_tokens")
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UpstreamBroken(f"Provider {target.provider!r} answered without a count.")
    return count
