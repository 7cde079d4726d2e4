"""POST /v1/moderations: is this text harmful? Costs nothing; counts against limits as a request."""

from __future__ import annotations

from typing import Any

import orjson

from apps.core.errors import PermissionRefused
from apps.core.ids import encode_id
from apps.gateway.choices import CallStatus
from apps.gateway.dialects.openai_moderations import (
    BUILT_IN,
    DEFAULT_MODEL,
    describe_results,
    is_built_in,
    read_moderation,
)
from apps.gateway.edge.exchange import Exchange
from apps.gateway.guards.moderation import classify
from apps.gateway.providers.base import Completion, Target, UpstreamError, Usage
from apps.gateway.providers.openai import OpenAIProvider, decode_object
from apps.gateway.providers.transport import fetch
from apps.gateway.selectors import Route
from apps.gateway.selectors.catalogue import FREE
from apps.gateway.services.facts import gather_facts
from apps.gateway.services.guarding.moderating import find_moderation_route
from apps.gateway.services.meter import Meter

ENDPOINT = "moderations"
IN_THREAD_CHARACTERS = 50_000
"""Longer texts are read beside the loop, where they hold up nobody."""
_OPENAI = OpenAIProvider()


async def moderate(exchange: Exchange) -> None:
    """Answer with OpenAI's own judgement where its model is asked for and configured, else with the built-in one.

    No text of a caller whom a guardrail policy binds, or whose key may use other models only, is sent to OpenAI for it.
    """
    caller = await exchange.authenticate()
    body = await exchange.read_object()
    texts = read_moderation(body)
    if caller.actor.organization_id is None:
        raise PermissionRefused("Calls are made on account of an organization, and the caller belongs to none.")
    name = body.get("model") or DEFAULT_MODEL
    snapshot = await exchange.runtime.catalogue.ready()
    # Guardrails decide what may leave, and keys where to: against either, nothing does only to be judged.
    stays = is_built_in(name) or caller.terms.guard is not None or not caller.may_use(name)
    route = None if stays else find_moderation_route(snapshot, name)
    model = name if route is not None else BUILT_IN
    facts = gather_facts({"input": texts}, model=model)
    limits = caller.terms.limits
    admission = await exchange.runtime.limiter.admit(limits, facts, model=model) if limits else None
    try:
        meter = Meter(
            journal=exchange.runtime.journal,
            caller=caller,
            request={"input": texts},
            request_id=exchange.request_id,
            endpoint=ENDPOINT,
            is_stream=False,
            facts=facts,
        )
        answer = await _judge(exchange, meter, body, texts, route)
    finally:
        if admission is not None:
            exchange.runtime.limiter.settle(admission, tokens=facts.prompt_tokens)
    await exchange.runtime.journal.wait_until_synced()
    await exchange.send_json(200, orjson.dumps(answer), admission.headers() if admission is not None else None)


async def _judge(
    exchange: Exchange, meter: Meter, body: dict[str, Any], texts: list[str], route: Route | None
) -> dict[str, Any]:
    usage = Usage(prompt_tokens=meter.prompt_estimate)
    target = route.target if route is not None else Target("portico", "portico", "", "", BUILT_IN)
    meter.forward(Route("", target, FREE, 0, 1, True), model=meter.model)
    try:
        answer = await _ask(exchange, route, body) if route is not None else await _classify(exchange, texts)
    except UpstreamError as error:
        meter.settle(CallStatus.ERROR, error=error)
        raise
    except BaseException:
        meter.settle(CallStatus.CANCELLED)
        raise
    meter.completion = Completion(None, answer, usage, None, None)
    meter.usage = usage
    meter.settle(CallStatus.OK, is_final=True)
    return answer


async def _classify(exchange: Exchange, texts: list[str]) -> dict[str, Any]:
    if sum(map(len, texts)) < IN_THREAD_CHARACTERS:
        found = [classify(text) for text in texts]
    else:
        found = await exchange.runtime.loop.run_in_executor(None, lambda: [classify(text) for text in texts])
    public_id = encode_id("modr", exchange.request_id)
    return {"id": public_id, "model": BUILT_IN, "results": describe_results(found)}


async def _ask(exchange: Exchange, route: Route, body: dict[str, Any]) -> dict[str, Any]:
    target = route.target
    content, _ = await fetch(
        session=exchange.runtime.session_for(route),
        target=target,
        url=f"{target.base_url}/moderations",
        headers=_OPENAI.build_headers(target=target, request_id=exchange.public_id),
        body=orjson.dumps({**body, "model": target.upstream_model}),
    )
    return decode_object(content, target)
