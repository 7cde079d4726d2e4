"""POST /api/v3/models/compare: one prompt, several models, side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from apps.core.actor import Actor
from apps.gateway.api import compare
from apps.gateway.errors import ParameterInvalid
from apps.gateway.runtime import Runtime
from apps.gateway.selectors import find_caller
from apps.gateway.services import comparing, repeating
from apps.gateway.services.comparing import Compared, Comparison, Piece, describe_differences
from project.asgi import application
from tests.factories.gateway import DeploymentFactory
from tests.gateway.conftest import run_in_database
from tests.support.upstreams import Scenario, Upstream

PATH = "/api/v3/models/compare"


@pytest_asyncio.fixture
async def rest(runtime: Runtime, sandbox: Any, secret: str) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the whole application, with `key`; there is a second model `sandbox-large`."""
    await run_in_database(lambda: DeploymentFactory(model__name="sandbox-large", provider=sandbox))
    await runtime.catalogue.reload()
    transport = httpx.ASGITransport(app=application)
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://portico", headers=headers) as client:
        yield client


@pytest_asyncio.fixture
async def caller(runtime: Runtime, secret: str) -> Actor:
    """Return who calls: the holder of `key`."""
    return (await run_in_database(lambda: find_caller(secret)))[0].actor


def ask(*models: str, prompt: str = "Why is the sky blue?", **fields: Any) -> dict[str, Any]:
    """Return a request."""
    return {"models": list(models), "messages": [{"role": "user", "content": prompt}], **fields}


def read_events(text: str) -> list[tuple[str, Any]]:
    """Return the events of a stream, pings left out."""
    blocks = [block.split("\n", 1) for block in text.split("\n\n") if block.startswith("event: ")]
    return [(name.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))) for name, data in blocks]


async def test_two_models_answer_side_by_side(rest: httpx.AsyncClient, records) -> None:
    answer = await rest.post(PATH, json=ask("sandbox-small", "sandbox-large", temperature=0.5))
    assert answer.status_code == 200, answer.text
    found = answer.json()
    small, large = found["results"]
    assert [small["model"], large["model"]] == ["sandbox-small", "sandbox-large"]
    assert small["message"]["content"]
    assert small["usage"]["total_tokens"] > 0
    assert small["cost_micros"] > 0
    assert large["cost_micros"] == 0
    assert found["cost_micros"] == small["cost_micros"]
    assert small["first_token_ms"] <= small["latency_ms"]
    assert (small["error"], small["finish_reason"], small["attempts"]) == (None, "stop", 1)
    assert [(one["first"], one["second"]) for one in found["differences"]] == [("sandbox-small", "sandbox-large")]
    kept = await records()
    assert {(record.endpoint, record.model) for record in kept} == {
        ("models.compare", "sandbox-small"),
        ("models.compare", "sandbox-large"),
    }
    assert {record.public_id for record in kept} == {small["request_id"], large["request_id"]}


async def test_one_that_fails_leaves_the_other_alone(rest: httpx.AsyncClient) -> None:
    found = (await rest.post(PATH, json=ask("sandbox-small", "no-such-model"))).json()
    answered, failed = found["results"]
    assert answered["error"] is None
    assert (failed["message"], failed["error"]["code"], failed["error"]["status"]) == (
        None,
        "gateway.model_unknown",
        404,
    )
    assert found["differences"] == []


async def test_an_answer_that_breaks_is_shown_as_far_as_it_came(
    rest: httpx.AsyncClient, upstream: Upstream, runtime: Runtime
) -> None:
    await runtime.catalogue.reload()
    upstream.play(Scenario(frames_before_error=3))
    found = (await rest.post(PATH, json=ask("sandbox-small", "upstream-model"))).json()
    broken = found["results"][1]
    assert broken["error"]["status"] >= 500
    assert broken["message"]["content"].startswith("Hello")


async def test_streams_come_interleaved(rest: httpx.AsyncClient) -> None:
    answer = await rest.post(PATH, json=ask("sandbox-small", "sandbox-large", prompt="[long:30][slow:2]", stream=True))
    events = read_events(answer.text)
    names = [name for name, _ in events]
    speakers = [data["model"] for name, data in events if name == "model.delta"]
    assert answer.headers["content-type"] == "text/event-stream"
    assert (names[0], names[-1]) == ("comparison.started", "comparison.done")
    assert names.count("model.done") == 2
    assert speakers != sorted(speakers)
    assert speakers != sorted(speakers, reverse=True)
    done = events[-1][1]
    said = "".join(data["delta"] for name, data in events if name == "model.delta" and data["model"] == "sandbox-small")
    assert done["results"][0]["message"]["content"] == said
    assert done["id"] == events[0][1]["id"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (ask(*"abcdefghi"), "models"),
        (ask("a", "a"), "models"),
        ({**ask("a", "b"), "models": "a,b"}, "models"),
        ({**ask("a", "b"), "models": ["a", 1]}, "models"),
        ({**ask("a", "b"), "stream": "yes"}, "stream"),
        ({"models": ["a", "b"]}, "messages"),
        ({**ask("a", "b"), "models": []}, "models"),
    ],
    ids=["nine", "twice", "a text", "a number", "stream", "messages", "none"],
)
async def test_a_wrong_request_is_refused_by_its_field(
    rest: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    refused = await rest.post(PATH, json=body)
    assert refused.status_code == 400
    assert param in refused.text


async def test_something_else_than_an_object_is_refused(rest: httpx.AsyncClient) -> None:
    assert (await rest.post(PATH, json=[1])).json()["code"] == "gateway.body_malformed"


async def test_a_repeated_key_brings_the_same_bytes_and_no_call(rest: httpx.AsyncClient, records) -> None:
    headers = {"Idempotency-Key": "compare-1"}
    body = ask("sandbox-small", "sandbox-large")
    first, second = [await rest.post(PATH, json=body, headers=headers) for _ in range(2)]
    assert second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (await rest.post(PATH, json=ask("sandbox-small", "other"), headers=headers)).status_code == 422
    assert len(await records()) == 2


async def test_a_repeated_stream_brings_the_result_at_once(rest: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "compare-2"}
    body = ask("sandbox-small", "sandbox-large", stream=True)
    first = await rest.post(PATH, json=body, headers=headers)
    second = await rest.post(PATH, json=body, headers=headers)
    assert [name for name, _ in read_events(second.text)] == ["comparison.done"]
    assert read_events(second.text) == read_events(first.text)[-1:]


async def test_while_it_runs_the_key_is_busy(rest: httpx.AsyncClient, caller: Actor) -> None:
    repetition = repeating.Repetition(actor=caller, key="compare-3", fingerprint="f")
    assert await repetition.begin() is None
    headers = {"Idempotency-Key": "compare-3"}
    assert (await rest.post(PATH, json=ask("sandbox-small", "sandbox-large"), headers=headers)).status_code == 409
    await repetition.renew()
    await repetition.end(None)
    assert (await rest.post(PATH, json=ask("sandbox-small", "sandbox-large"), headers=headers)).status_code == 200


async def test_without_redis_it_runs_all_the_same(
    rest: httpx.AsyncClient, caller: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(repeating, "get_async_redis", refuse)
    repetition = repeating.Repetition(actor=caller, key="compare-4", fingerprint="f")
    assert await repetition.begin() is None
    await repetition.renew()
    await repetition.end(repeating.Answer(200, "{}"))
    assert (await repetition.begin()) == repeating.Answer(200, "{}", is_replay=True)


async def test_who_leaves_stops_every_model(rest: httpx.AsyncClient, caller: Actor, records) -> None:
    prompt = {"messages": [{"role": "user", "content": "[long:5000][slow:20]"}]}
    comparison = Comparison(actor=caller, request=prompt, models=["sandbox-small", "sandbox-large"])
    events = comparison.events()
    assert isinstance(await anext(events), Piece)
    assert isinstance(await anext(events), Piece)
    await events.aclose()
    assert [record.status for record in await records()] == ["cancelled", "cancelled"]


async def test_a_defect_of_ours_is_told_without_its_details(
    rest: httpx.AsyncClient, caller: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(**_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(comparing, "open_chat", fail)
    found = (await rest.post(PATH, json=ask("sandbox-small", "sandbox-large"))).json()
    assert [result["error"]["code"] for result in found["results"]] == ["internal_error"] * 2
    assert "secret" not in orjson.dumps(found).decode()


def test_a_comparison_needs_a_model() -> None:
    with pytest.raises(ParameterInvalid):
        comparing.check_models([])


def test_answers_are_compared_word_by_word() -> None:
    def said(model: str, text: str) -> Compared:
        return Compared(model, message={"content": text})

    same, other = said("a", "the sky is blue"), said("b", "the sky was very blue")
    failed = Compared("c", error=ParameterInvalid("x"))
    [found] = describe_differences([same, other, failed])
    assert (found.words_only_in_first, found.words_only_in_second) == (1, 2)
    assert found.similarity == pytest.approx(2 * 3 / 9, abs=0.001)
    assert describe_differences([same, said("d", "the sky is blue")])[0].similarity == 1
    assert describe_differences([Compared("e"), Compared("f")])[0].similarity == 1


async def test_a_defect_on_the_way_is_told_without_its_details(
    rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(comparing.Assembler, "take", fail)
    found = (await rest.post(PATH, json=ask("sandbox-small"))).json()
    assert [result["error"]["code"] for result in found["results"]] == ["internal_error"]


async def test_a_silent_stream_pings_and_keeps_its_key(
    rest: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "LOOK_SECONDS", 0.02)
    headers = {"Idempotency-Key": "compare-5"}
    body = ask("sandbox-small", prompt="[stall:0.2]", stream=True)
    answer = await rest.post(PATH, json=body, headers=headers)
    assert ": ping\n\n" in answer.text
    assert [name for name, _ in read_events(answer.text)][-1] == "comparison.done"
