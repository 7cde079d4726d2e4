"""POST /v1/completions: one prompt as any call is answered, several one after the other."""

from __future__ import annotations

from typing import Any

import orjson

from apps.core.ids import uuid7
from apps.core.money import from_micros
from apps.gateway.dialects.openai_completions import describe_answer, merge_answers, read_prompts, stream_answer
from apps.gateway.edge.exchange import Exchange
from apps.gateway.edge.streaming import EVENT_STREAM, STREAM_HEADERS


async def complete_text(exchange: Exchange) -> None:
    """Answer with the completions. Every prompt is a call of its own, with a usage record of its own."""
    caller = await exchange.authenticate()
    body = await exchange.read_object()
    several = read_prompts(body)
    if len(several) == 1:
        await exchange.deliver(await exchange.prepare(caller, several[0]), several[0])
        return
    answers: list[dict[str, Any]] = []
    usages = []
    cost = 0
    for asked in several:
        asked.request.pop("stream", None)
        call = await exchange.prepare(caller, asked)
        answers.append(describe_answer(await exchange.carry_out(call), call, asked.options))
        usages.append(call.settled_usage())
        cost += call.cost_micros or 0
        exchange.request_id = uuid7()
    answer = merge_answers(answers, usages)
    headers = [(b"x-portico-cost", str(from_micros(cost)).encode())]
    if not body.get("stream"):
        await exchange.send_json(200, orjson.dumps(answer), headers)
        return
    await exchange.begin_stream(EVENT_STREAM, STREAM_HEADERS)
    await exchange.send_part(stream_answer(answer, has_usage=several[0].options.wants_usage), is_last=True)
