"""Guardrails in calls over the edge: what the provider gets, what the client gets, what is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from apps.gateway.models import GuardHit
from apps.gateway.providers.base import Completion
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.guard_hits import close_spool
from apps.gateway.services import open_chat
from apps.gateway.services.guarding import Screen
from apps.users.selectors import actor_of_key
from tests.factories.gateway import GuardBindingFactory
from tests.gateway.conftest import run_in_database
from tests.gateway.driving import Exchange
from tests.support.upstreams import Scenario, Upstream

CHAT = "/v1/chat/completions"
MAIL = "ada@example.com"
pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def guarded(upstream: Upstream, runtime: Runtime) -> AsyncIterator[Runtime]:
    """Return a runtime whose file of finds is closed behind the test."""
    await runtime.catalogue.reload()
    yield runtime
    await asyncio.to_thread(close_spool)


async def bind(**policy: object) -> None:
    await run_in_database(lambda: GuardBindingFactory(**{f"policy__{name}": value for name, value in policy.items()}))


async def recorded() -> list[tuple[str, str, str, int]]:
    await asyncio.to_thread(lambda: close_spool(within_seconds=20))
    return await run_in_database(
        lambda: list(GuardHit.objects.order_by("kind").values_list("kind", "mode", "direction", "count"))
    )


def ask(text: str, **fields: object) -> dict[str, object]:
    return {"model": "upstream-model", "messages": [{"role": "user", "content": text}], **fields}


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_a_provider_gets_placeholders_and_the_client_its_own_words_back(
    guarded: Runtime, upstream: Upstream, sdk: AsyncOpenAI, is_stream: bool
) -> None:
    await bind(is_reversible=True)
    upstream.play(Scenario(pieces=("Wrote to [EM", "AIL_1", "].")))

    if is_stream:
        stream = await sdk.chat.completions.create(**ask(f"Write to {MAIL}", stream=True))
        answer = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    else:
        answer = (await sdk.chat.completions.create(**ask(f"Write to {MAIL}"))).choices[0].message.content

    assert answer == f"Wrote to {MAIL}."
    assert upstream.received[-1].body["messages"][0]["content"] == "Write to [EMAIL_1]"
    assert await recorded() == [("email", "mask", "input", 1)]


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "whole"])
async def test_a_blocked_prompt_reaches_no_provider_and_costs_nothing(
    guarded: Runtime, upstream: Upstream, secret: str, records, is_stream: bool
) -> None:
    await bind(pii_input="block")

    answer = await Exchange(CHAT, secret=secret, body=ask(f"Write to {MAIL}", stream=is_stream)).finish()

    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "gateway.content_blocked"
    assert error["message"] == "A guardrail does not let this prompt through. Found: email."
    assert not upstream.received
    assert await records() == []
    assert await recorded() == [("email", "block", "input", 1)]


async def test_a_blocked_stream_ends_with_the_error_stops_the_upstream_and_is_metered(
    guarded: Runtime, upstream: Upstream, secret: str, records
) -> None:
    await bind(pii_input="off", pii_output="block")
    # More than one network read before the find: the answer has begun by then.
    pieces = ("I know ",) * 4_000 + ("ada@exa", "mple", ".com ", "well")
    upstream.play(Scenario(pieces=pieces, frames_before_hang=4_004))

    answer = await Exchange(CHAT, secret=secret, body=ask("Who?", stream=True)).finish()

    events = answer.content.decode().strip().split("\n\n")
    assert answer.status == 200
    assert orjson.loads(events[-1].removeprefix("data: "))["error"]["code"] == "gateway.content_blocked"
    assert b"I know " in answer.content
    assert b"ada" not in answer.content
    assert b"[DONE]" not in answer.content
    await asyncio.wait_for(upstream.left.wait(), timeout=5)
    [record] = await records()
    assert (record.status, record.http_status, record.error_code) == ("error", 400, "gateway.content_blocked")
    assert record.completion_tokens > 0
    assert await recorded() == [("email", "block", "output", 1)]


async def test_a_blocked_whole_answer_is_refused_and_paid_for(
    guarded: Runtime, upstream: Upstream, secret: str, records
) -> None:
    await bind(pii_input="off", pii_output="block")
    upstream.play(Scenario(pieces=(f"I know {MAIL}",)))

    answer = await Exchange(CHAT, secret=secret, body=ask("Who?")).finish()

    assert (answer.status, answer.json()["error"]["code"]) == (400, "gateway.content_blocked")
    [record] = await records()
    assert (record.status, record.prompt_tokens, record.completion_tokens) == ("error", 11, 5)
    assert not record.is_estimated


async def test_what_was_held_back_of_a_stream_without_usage_comes_at_its_end(
    guarded: Runtime, upstream: Upstream, sdk: AsyncOpenAI
) -> None:
    await bind(pii_output="mask", topics_output="block", topics_deny='"casino" in words')
    upstream.play(Scenario(pieces=("Ask ada@exa", "mple.com"), has_usage=False))

    stream = await sdk.chat.completions.create(**ask("Who?", stream=True))

    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Ask [EMAIL_1]"


async def test_who_leaves_while_an_answer_is_looked_through_pays_for_it(
    guarded: Runtime, upstream: Upstream, key, records, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = asyncio.Event()

    async def look(self: Screen, completion: Completion) -> Completion:
        looking.set()
        await asyncio.Event().wait()
        return completion

    await bind(pii_input="off", pii_output="mask")
    monkeypatch.setattr(Screen, "filter_completion", look)
    actor = await run_in_database(lambda: actor_of_key(key=key[0]))
    call = await open_chat(actor=actor, request=ask("Who?"), endpoint="x")
    reader = asyncio.create_task(call.result())
    await looking.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    [record] = await records()
    assert (record.status, record.prompt_tokens, record.completion_tokens) == ("cancelled", 11, 5)
    assert not record.is_estimated


async def test_anthropics_clients_hear_of_it_in_their_own_words(
    guarded: Runtime, upstream: Upstream, secret: str
) -> None:
    await bind(pii_input="block")
    body = ask(f"Write to {MAIL}", max_tokens=50)

    answer = await Exchange("/v1/messages", secret=secret, body=body).finish()

    assert answer.status == 400
    assert answer.json()["type"] == "error"
    assert "email" in answer.json()["error"]["message"]


async def test_embeddings_are_masked_and_their_numbers_are_let_through(
    guarded: Runtime, upstream: Upstream, secret: str
) -> None:
    await bind(topics_output="block", topics_allow="false")

    answer = await Exchange("/v1/embeddings", secret=secret, body={"model": "upstream-model", "input": MAIL}).finish()

    assert answer.status == 200
    assert upstream.received[-1].body["input"] == "[EMAIL_1]"


async def test_a_policy_that_is_lifted_binds_the_next_call_no_more(
    guarded: Runtime, upstream: Upstream, secret: str, key
) -> None:
    await bind(pii_input="block")
    first = await Exchange(CHAT, secret=secret, body=ask(MAIL)).finish()
    await run_in_database(lambda: GuardBindingFactory._meta.model.objects.all().delete())
    guarded.callers.forget(str(key[0].organization_id))

    second = await Exchange(CHAT, secret=secret, body=ask(MAIL)).finish()

    assert (first.status, second.status) == (400, 200)
