"""Moderations: the built-in classifier in OpenAI's shape, or OpenAI's own where it is configured."""

from __future__ import annotations

import openai
import orjson
import pytest
from openai import AsyncOpenAI

from apps.gateway.dialects.openai_moderations import BUILT_IN
from apps.users.models import ApiKey
from tests.factories.gateway import GuardBindingFactory
from tests.gateway.conftest import run_in_database
from tests.support.upstreams import Scenario, Upstream

pytestmark = pytest.mark.asyncio
THREAT = "I will kill you tonight."
HARMLESS = "The sky is blue because air scatters short waves."
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
UPSTREAM_RESULT = {
    "id": "modr-upstream",
    "model": "omni-moderation-2024-09-26",
    "results": [{"flagged": True, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}],
}


async def test_texts_are_judged_one_by_one(sdk: AsyncOpenAI, records) -> None:
    answer = await sdk.moderations.create(input=[HARMLESS, THREAT])
    assert answer.model == "portico-moderation"
    harmless, threat = answer.results
    assert (harmless.flagged, threat.flagged) == (False, True)
    assert max(harmless.category_scores.model_dump().values()) == 0
    assert threat.categories.harassment_threatening is True
    assert 0.5 <= threat.category_scores.harassment_threatening <= 1
    assert threat.category_applied_input_types.harassment_threatening == ["text"]
    [record] = await records()
    assert (record.endpoint, record.model, record.status, record.cost_micros) == (
        "moderations",
        "portico-moderation",
        "ok",
        0,
    )
    assert record.prompt_tokens > 0


@pytest.mark.parametrize("given", [THREAT, [THREAT], [{"type": "text", "text": THREAT}, PICTURE]])
async def test_every_form_of_input_is_one_result(sdk: AsyncOpenAI, given) -> None:
    answer = await sdk.moderations.create(input=given, model="portico-moderation")
    assert [result.flagged for result in answer.results] == [True]


async def test_a_long_text_is_judged_as_well(sdk: AsyncOpenAI) -> None:
    answer = await sdk.moderations.create(input=f"{HARMLESS} " * 1200 + THREAT)
    assert answer.results[0].flagged is True


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": 5}, 400, "input"),
        ({"input": [5]}, 400, "input[0]"),
        ({"input": ["a"] * 257}, 400, "input"),
        ({"input": [{"type": "text"}]}, 400, "input[0]"),
        ({"input": "a", "model": 5}, 400, "model"),
        ({"input": "a", "model": "gpt-4o"}, 404, "model"),
    ],
)
async def test_what_cannot_be_judged_is_refused(http, secret: str, body, status: int, param: str) -> None:
    answer = await http.post("/v1/moderations", json=body, headers={"authorization": f"Bearer {secret}"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_openai_judges_where_it_is_configured(sdk: AsyncOpenAI, upstream: Upstream, runtime, records) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(raw_body=orjson.dumps(UPSTREAM_RESULT)))
    answer = await sdk.moderations.create(input=[{"type": "text", "text": "a"}, PICTURE])
    assert answer.id == "modr-upstream"
    [received] = upstream.received
    assert (received.path, received.body["model"]) == ("/v1/moderations", "omni-moderation-latest")
    assert received.body["input"][1] == PICTURE
    [record] = await records()
    assert (record.provider, record.model, record.cost_micros) == ("openai", "omni-moderation-latest", 0)


async def test_a_failure_of_openai_is_told_and_recorded(sdk: AsyncOpenAI, upstream: Upstream, runtime, records) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(status=500))
    with pytest.raises(openai.APIStatusError) as caught:
        await sdk.moderations.create(input="a")
    assert caught.value.status_code == 503
    [record] = await records()
    assert (record.status, record.cost_micros) == ("error", 0)


async def test_nothing_leaves_for_judging_where_a_policy_guards_it(
    sdk: AsyncOpenAI, upstream: Upstream, runtime
) -> None:
    await runtime.catalogue.reload()
    await run_in_database(GuardBindingFactory)
    answer = await sdk.moderations.create(input="Write to ada@example.com", model="omni-moderation-latest")
    assert answer.model == BUILT_IN
    assert upstream.received == []


@pytest.mark.parametrize(
    ("allowed", "judge"), [("gpt-test", BUILT_IN), ("omni-moderation-latest", "omni-moderation-2024-09-26")]
)
async def test_a_key_for_other_models_sends_nothing_to_openai(
    sdk: AsyncOpenAI, key: tuple[ApiKey, str], upstream: Upstream, runtime, allowed: str, judge: str
) -> None:
    await runtime.catalogue.reload()
    key[0].allowed_models = [allowed]
    await run_in_database(key[0].save)
    upstream.play(Scenario(raw_body=orjson.dumps(UPSTREAM_RESULT)))
    answer = await sdk.moderations.create(input="a")
    assert answer.model == judge
    assert len(upstream.received) == (judge != BUILT_IN)
