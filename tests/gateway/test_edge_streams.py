"""Streams on their way: failures, silence, clients that leave, rights that are withdrawn."""

from __future__ import annotations

import asyncio

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from apps.core.actor import system_actor
from apps.gateway.dialects import openai_chat
from apps.users.services.api_keys import revoke_api_key
from tests.gateway.driving import Exchange
from tests.support.upstreams import Scenario, Upstream

CHAT = "/v1/chat/completions"
pytestmark = pytest.mark.asyncio


def ask(text: str, **fields):
    return {"model": "sandbox-small", "messages": [{"role": "user", "content": text}], "stream": True, **fields}


async def test_an_error_before_the_first_byte_is_a_status(runtime, secret: str, records) -> None:
    answer = await Exchange(CHAT, secret=secret, body=ask("[fail:429]")).finish()
    assert answer.status == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert int(answer.headers["retry-after"]) >= 1
    [record] = await records()
    assert (record.status, record.http_status, record.error_code) == ("error", 429, "gateway.upstream_rate_limited")
    assert (record.prompt_tokens, record.completion_tokens, record.cost_micros) == (0, 0, 0)


async def test_an_error_on_the_way_is_the_last_event(runtime, secret: str, records) -> None:
    answer = await Exchange(CHAT, secret=secret, body=ask("[cut:5][long:50][slow:0]")).finish()
    assert answer.status == 200
    events = answer.content.decode().strip().split("\n\n")
    error = orjson.loads(events[-1].removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "gateway.upstream_broken")
    assert b"[DONE]" not in answer.content
    [record] = await records()
    assert (record.status, record.http_status, record.is_estimated) == ("error", 502, True)
    assert 0 < record.completion_tokens < 50


async def test_the_sdk_raises_an_error_on_the_way(sdk: AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(**ask("[cut:5][long:50]"))
    with pytest.raises(openai.APIError) as raised:
        [chunk async for chunk in stream]
    assert raised.value.code == "gateway.upstream_broken"


async def test_a_client_that_leaves_stops_the_upstream_and_pays_for_what_came(
    upstream: Upstream, runtime, secret: str, records
) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(frames_before_hang=3))
    exchange = Exchange(CHAT, secret=secret, body=ask("hello", model="upstream-model"))
    await exchange.wait_for(b"Hello")
    exchange.leave()
    await asyncio.wait_for(upstream.left.wait(), timeout=5)
    await exchange.finish()
    [record] = await records()
    assert (record.status, record.is_estimated, record.http_status) == ("cancelled", True, 499)
    assert record.completion_tokens == 3
    assert record.prompt_tokens > 0


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_client_that_leaves_before_the_first_byte_stops_the_upstream(
    upstream: Upstream, runtime, secret: str, records, is_stream: bool
) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(is_silent=True))
    exchange = Exchange(CHAT, secret=secret, body=ask("hello", model="upstream-model", stream=is_stream))
    exchange.leave()
    await asyncio.wait_for(upstream.left.wait(), timeout=5)
    await exchange.finish()
    [record] = await records()
    assert (record.status, record.completion_tokens) == ("cancelled", 0)


async def test_a_slow_stream_is_kept_open_by_comments(runtime, secret: str, monkeypatch) -> None:
    monkeypatch.setattr("apps.gateway.edge.streaming.PING_SECONDS", 0.1)
    exchange = Exchange(CHAT, secret=secret, body=ask("[stall:1][echo:there]"))
    await exchange.wait_for(openai_chat.PING)
    assert exchange.status == 200
    await exchange.finish()
    assert b"there" in exchange.content
    assert exchange.content.endswith(b"data: [DONE]\n\n")


async def test_a_failure_after_a_ping_is_an_event(runtime, secret: str, monkeypatch) -> None:
    monkeypatch.setattr("apps.gateway.edge.streaming.PING_SECONDS", 0.1)
    exchange = Exchange(CHAT, secret=secret, body=ask("[stall:1][fail:500]"))
    await exchange.finish()
    assert exchange.status == 200
    assert b'data: {"error":' in exchange.content


async def test_a_revoked_key_ends_its_streams(runtime, key, records, in_database) -> None:
    api_key, secret = key
    exchange = Exchange(CHAT, secret=secret, body=ask("[long:2000][slow:100]"))
    await exchange.wait_for(b'"content"')
    await in_database(lambda: revoke_api_key(key=api_key, actor=system_actor()))
    await exchange.finish()
    assert b"gateway.access_withdrawn" in exchange.content
    [record] = await records()
    assert (record.status, record.error_code) == ("cancelled", "gateway.access_withdrawn")
    again = await Exchange(CHAT, secret=secret, body=ask("hello")).finish()
    assert again.status == 401


async def test_a_cancelled_server_task_is_metered(runtime, secret: str, records) -> None:
    exchange = Exchange(CHAT, secret=secret, body=ask("[long:2000][slow:20]"))
    await exchange.wait_for(b'"delta":{"content"')
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    [record] = await records()
    assert record.status == "cancelled"
    assert record.completion_tokens > 0
