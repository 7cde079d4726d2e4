"""Moderation by a provider's model, for policies that name one. What it cannot say, the built-in classifier has said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import structlog

from apps.core.errors import AppError
from apps.core.ids import encode_id, uuid7
from apps.gateway.choices import ProviderKind
from apps.gateway.providers.base import UpstreamError
from apps.gateway.providers.openai import OpenAIProvider, decode_object
from apps.gateway.providers.transport import fetch
from apps.gateway.runtime import Runtime
from apps.gateway.selectors import Route, Snapshot

logger = structlog.get_logger(__name__)

WAIT_SECONDS = 5.0
"""Longest wait for a judgement: a prompt must not hang on it."""
MOST_CHARACTERS = 100_000
_OPENAI = OpenAIProvider()


async def ask_moderation_model(model: str, text: str, *, runtime: Runtime) -> dict[str, float]:
    """Return the scores of a text by category; empty when no provider can say.

    A provider that fails does not stop the call, as the built-in classifier has read the text, too; it is logged.
    """
    snapshot = runtime.catalogue.snapshot or await runtime.catalogue.ready()
    route = find_moderation_route(snapshot, model)
    if route is None or not text.strip():
        return {}
    target = route.target
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            content, _ = await fetch(
                session=runtime.session_for(route),
                target=target,
                url=f"{target.base_url}/moderations",
                headers=_OPENAI.build_headers(target=target, request_id=encode_id("req", uuid7())),
                body=orjson.dumps({"model": target.upstream_model, "input": text[:MOST_CHARACTERS]}),
            )
        return read_scores(decode_object(content, target))
    except (AppError, TimeoutError) as error:
        logger.warning("moderation_unavailable", provider=target.provider, model=model, error=str(error)[:200])
        return {}


def read_scores(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the highest score of each category in a provider's answer. Raise UpstreamError when there is none."""
    scores: dict[str, float] = {}
    results = answer.get("results")
    for result in results if isinstance(results, list) else ():
        found = result.get("category_scores") if isinstance(result, dict) else None
        for category, score in found.items() if isinstance(found, dict) else ():
            if isinstance(score, int | float):
                scores[str(category)] = max(scores.get(str(category), 0.0), float(score))
    if not scores:
        raise UpstreamError("The moderation model gave no scores.")
    return scores


def find_moderation_route(snapshot: Snapshot, model: str) -> Route | None:
    """Return where a moderation model is: at the provider named `openai`, else at any that speaks its format."""
    routes = [r for entry in snapshot.models.values() for r in entry.routes if r.target.kind == ProviderKind.OPENAI]
    chosen = next((route for route in routes if route.target.provider == "openai"), routes[0] if routes else None)
    return None if chosen is None else replace(chosen, target=replace(chosen.target, upstream_model=model))
