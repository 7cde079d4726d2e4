"""Small parts of the life of a call."""

from __future__ import annotations

import math
from unittest.mock import patch

import orjson
import pytest
from django.db import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError

from apps.core.errors import AppError, Conflict, NotAuthenticated
from apps.gateway.api.openapi import add_machine_operations
from apps.gateway.dialects.openai_chat import ChatWriter
from apps.gateway.dialects.openai_errors import describe_error, error_headers
from apps.gateway.dialects.renaming import ModelRenamer
from apps.gateway.errors import TokenLimitReached
from apps.gateway.models import Provider
from apps.gateway.providers.base import (
    Chunk,
    Completion,
    UpstreamRateLimited,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
    Usage,
)
from apps.gateway.runtime import replay
from apps.gateway.services import announcing, meter, metering, open_chat
from apps.gateway.services.loading import list_provider_models
from tests.gateway.conftest import OFFLINE_SECRET, find_offline, offline_snapshot


def test_the_name_is_changed_wherever_it_stands() -> None:
    renamer = ModelRenamer("public")
    first = renamer.rename(b'{"id":"1","model":"secret-2026","choices":[]}')
    again = renamer.rename(b'{"id":"1","model":"secret-2026","note":"\\"model\\":\\"secret-2026\\""}')
    other = renamer.rename(b'{"model" : "secret-2026"}')
    spaced = ModelRenamer("public").rename(b'{"model": "secret-2026", "id": 1}')
    assert first == b'{"id":"1","model":"public","choices":[]}'
    assert orjson.loads(again) == {"id": "1", "model": "public", "note": '"model":"secret-2026"'}
    assert orjson.loads(other) == {"model": "public"}
    assert spaced == b'{"model":"public", "id": 1}'


@pytest.mark.parametrize(
    ("error", "described"),
    [
        (
            NotAuthenticated("x"),
            {"message": "x", "type": "authentication_error", "param": None, "code": "invalid_api_key"},
        ),
        (Conflict("x"), {"message": "x", "type": "conflict_error", "param": None, "code": "conflict"}),
        (AppError("x", status=500), {"message": "x", "type": "server_error", "param": None, "code": "error"}),
        (
            UpstreamRateLimited("x", upstream_code="quota", upstream_type="tokens"),
            {"message": "x", "type": "tokens", "param": None, "code": "quota"},
        ),
    ],
)
def test_failures_are_described_as_openai_does(error: AppError, described: dict[str, object]) -> None:
    assert describe_error(error) == described


def test_headers_say_when_and_whether_to_try_again() -> None:
    headers = dict(error_headers(UpstreamRateLimited("x", retry_after_seconds=1.5)))
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (b"2", b"1500")
    assert dict(error_headers(UpstreamUnauthenticated("x")))[b"x-should-retry"] == b"false"


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (UpstreamRateLimited("x"), b"2"),
        (UpstreamUnavailable("x"), b"2"),
        (UpstreamUnavailable("x", retry_after_seconds=0.0), b"1"),
        (UpstreamRateLimited("x", retry_after_seconds=3600.0), b"120"),
        (UpstreamTimedOut("x"), None),
        (TokenLimitReached("x", headers={"x-should-retry": "false"}), None),
    ],
)
def test_who_may_try_again_is_always_told_when_and_within_what_sdks_heed(error: AppError, shown: bytes | None) -> None:
    assert dict(error_headers(error)).get(b"retry-after") == shown


def test_long_texts_are_estimated_and_short_ones_counted() -> None:
    assert metering.count_texts(["Hello", " world"], "gpt-4o") == 2
    long = ["word "] * 20_000
    assert metering.count_texts(long, "gpt-4o") == math.ceil(100_000 * 0.32)
    request = {"messages": [{"role": "user", "content": "Hello world"}]}
    assert metering.count_request(request, model="gpt-4o", estimate=10) == 9
    assert metering.count_request(request, model="gpt-4o", estimate=30_000) == 30_000


def test_an_answer_is_counted_the_same_as_bytes_and_as_an_object() -> None:
    payload = {"choices": [{"message": {"role": "assistant", "content": "Hello world"}}]}
    request = {"messages": [{"role": "user", "content": "Hello world"}]}
    found = [
        metering.count_completion(
            Completion(body=body, payload=told, usage=None, finish_reason="stop", upstream_request_id=None),
            request,
            model="gpt-4o",
            prompt_estimate=10,
        )
        for body, told in [(None, payload), (orjson.dumps(payload), None)]
    ]
    assert found == [Usage(prompt_tokens=9, completion_tokens=2)] * 2


async def test_what_is_not_for_the_client_makes_no_event(offline) -> None:
    actor = find_offline(OFFLINE_SECRET)[0].actor
    request = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "[echo:on]"}]}
    call = await open_chat(actor=actor, request=request, endpoint="x")
    word = Chunk(data=b'{"choices":[{}]}', text="on")
    signal = Chunk(data=b"", usage=Usage(prompt_tokens=1))
    usage = Chunk(data=b'{"choices":[],"usage":{}}', usage=Usage(prompt_tokens=1), is_usage_chunk=True)
    silent, asking = (ChatWriter(call, include_usage=asked) for asked in (False, True))
    assert silent.write([signal, usage]) == b""
    assert silent.write([word, signal, usage]) == b'data: {"choices":[{}]}\n\n'
    assert asking.write([signal, usage]) == b'data: {"choices":[],"usage":{}}\n\n'
    await call.cancel()


def test_what_a_cut_stream_told_of_its_prompt_is_kept() -> None:
    known = Usage(prompt_tokens=100, completion_tokens=1, cached_tokens=40, cache_write_tokens=5)
    found = metering.count_stream(["Hello", " world"], {}, model="gpt-4o", prompt_estimate=7, known=known)
    assert found == Usage(prompt_tokens=100, completion_tokens=2, cached_tokens=40, cache_write_tokens=5)


async def test_a_long_stream_notes_how_far_it_has_come(offline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "PROGRESS_SECONDS", 0.0)
    actor = find_offline(OFFLINE_SECRET)[0].actor
    request = {
        "model": "small",
        "stream": True,
        "messages": [{"role": "user", "content": "[echo:one two three]"}],
        "user": "h\0alf \ud800",
    }
    call = await open_chat(actor=actor, request=request, endpoint="x")
    async for _ in call.batches():
        pass
    [segment] = offline.journal.segments()
    lines = [orjson.loads(line) for line in segment.path.read_bytes().splitlines()]
    assert [line["k"] for line in lines][:2] == ["f", "p"]
    assert lines[-1]["k"] == "d"
    assert lines[-2]["ct"] > 0
    assert lines[0]["eu"] == "half ?"
    await call.cancel()
    call.abort(None)
    assert call.status == "ok"


async def test_only_a_call_with_an_entrance_lets_it_do_what_is_due(offline) -> None:
    actor = find_offline(OFFLINE_SECRET)[0].actor
    request = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "[echo:on]"}]}
    call = await open_chat(actor=actor, request=request, endpoint="x")
    done: list[float] = []
    call.tick(1.0)
    call.on_tick = done.append
    call.tick(2.0)
    assert done == [2.0]
    assert "".join([chunk.text async for batch in call.batches() for chunk in batch]) == "on"


async def test_a_database_that_is_down_ends_no_running_call(offline, monkeypatch: pytest.MonkeyPatch) -> None:
    actor = find_offline(OFFLINE_SECRET)[0].actor
    request = {"model": "small", "stream": True, "messages": [{"role": "user", "content": "[echo:on]"}]}
    call = await open_chat(actor=actor, request=request, endpoint="x")

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("down")

    monkeypatch.setattr("apps.gateway.services.calls.confirm_caller", refuse)
    await call.recheck()
    texts = [chunk.text async for batch in call.batches() for chunk in batch]
    assert "".join(texts) == "on"
    assert offline_snapshot().models.keys() == {"small", "vectors"}


def test_a_change_that_cannot_be_announced_is_made_all_the_same() -> None:
    with patch.object(announcing, "get_redis", side_effect=RedisConnectionError("down")) as asked:
        announcing._send()
    assert asked.called


async def test_a_provider_without_variables_lists_nothing(settings) -> None:
    settings.GATEWAY_PROVIDERS = {}
    assert await list_provider_models(Provider(slug="gone", kind="openai", from_environment=True)) == []


def test_the_document_describes_the_machines_entrance() -> None:
    result = add_machine_operations({"paths": {}}, None, None, True)
    operations = {path: sorted(item) for path, item in result["paths"].items()}
    assert operations == {
        "/v1/chat/completions": ["post"],
        "/v1/completions": ["post"],
        "/v1/embeddings": ["post"],
        "/v1/messages": ["post"],
        "/v1/messages/count_tokens": ["post"],
        "/v1/models": ["get"],
        "/v1/models/{model}": ["get"],
        "/v1/moderations": ["post"],
        "/v1/responses": ["post"],
        "/v1/responses/input_tokens": ["post"],
        "/v1/responses/{response_id}": ["delete", "get"],
        "/v1/responses/{response_id}/cancel": ["post"],
        "/v1/responses/{response_id}/input_items": ["get"],
    }
    assert "text/event-stream" in result["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]


def test_batches_are_bounded() -> None:
    assert [len(batch) for batch in replay.batched_entries([None] * 2500)] == [1000, 1000, 500]
