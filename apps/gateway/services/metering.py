"""What a call has used: the provider's own figures, or a count where it gave none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from apps.gateway.providers.base import Completion, Usage
from apps.gateway.providers.tokens import count_answer, count_prompt, count_text, estimate_text

EXACT_BELOW_TOKENS = 20_000
"""Longer texts are estimated: to count them would hold up every other call for tens of milliseconds."""


def count_completion(completion: Completion, request: dict[str, Any], *, model: str, prompt_estimate: int) -> Usage:
    """Return the usage of an answer in one piece whose provider gave none."""
    payload = completion.payload
    if payload is None:
        payload = orjson.loads(completion.body or b"{}")
    return Usage(
        prompt_tokens=count_request(request, model=model, estimate=prompt_estimate),
        completion_tokens=count_answer(payload, model),
    )


def count_stream(
    texts: list[str], request: dict[str, Any], *, model: str, prompt_estimate: int, known: Usage | None
) -> Usage:
    """Return the usage of a stream that ended without figures, or before its last ones (`known`) came."""
    counted = count_texts(texts, model)
    if known is None:
        return Usage(
            prompt_tokens=count_request(request, model=model, estimate=prompt_estimate), completion_tokens=counted
        )
    return replace(known, completion_tokens=max(known.completion_tokens, counted))


def count_request(request: dict[str, Any], *, model: str, estimate: int) -> int:
    """Return the prompt's tokens: counted, or the estimate where counting would take long."""
    return count_prompt(request, model) if estimate < EXACT_BELOW_TOKENS else estimate


def count_texts(texts: list[str], model: str) -> int:
    """Return the tokens of what a stream has brought so far."""
    text = "".join(texts)
    return count_text(text, model) if len(text) < EXACT_BELOW_TOKENS * 4 else estimate_text(text)
