"""POST /v1/messages/count_tokens: how long a prompt is, before it is sent. Costs nothing, and counts against no limit."""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.choices import Breaker, ProviderKind
from apps.gateway.dialects.anthropic.checks import check_prompt
from apps.gateway.dialects.anthropic.counting import count_input
from apps.gateway.dialects.anthropic.request import read_request
from apps.gateway.edge.exchange import Exchange
from apps.gateway.providers.anthropic_counting import count_upstream
from apps.gateway.providers.base import UpstreamError
from apps.gateway.selectors import Route
from apps.gateway.services.routing import find_named


async def count_tokens(exchange: Exchange) -> None:
    """Answer with the count: Anthropic's own where the model is there and alone there, ours for any other."""
    caller = await exchange.authenticate()
    body = await exchange.read_object()
    check_prompt(body)
    asked = read_request(body)
    snapshot = await exchange.runtime.catalogue.ready()
    entry = find_named(snapshot, caller, body["model"]).entry
    route = entry.routes[0]
    count = None
    # Guardrails decide what may leave: with them, nothing does only to be counted.
    if caller.terms.guard is None and all(other.target.kind == ProviderKind.ANTHROPIC for other in entry.routes):
        count = await _ask_anthropic(exchange, route, asked.native or body)
    if count is None:
        # In a thread: long prompts take long, and the first one loads the vocabulary.
        loop = exchange.runtime.loop
        count = await loop.run_in_executor(None, count_input, body, asked.request, route.target.upstream_model)
    await exchange.send_json(200, orjson.dumps({"input_tokens": count}))


async def _ask_anthropic(exchange: Exchange, route: Route, body: dict[str, Any]) -> int | None:
    """Return the provider's count, or None where it cannot give one: that must not keep anybody from going on."""
    runtime = exchange.runtime
    if runtime.health.standing(route.deployment_id) is not Breaker.CLOSED:
        return None
    try:
        return await count_upstream(
            session=runtime.session_for(route),
            target=route.target,
            body=body,
            headers=exchange.passed_on(),
            request_id=exchange.public_id,
        )
    except UpstreamError:
        return None
