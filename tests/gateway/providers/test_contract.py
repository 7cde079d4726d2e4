"""What every adapter promises, whatever its upstream speaks."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from apps.gateway.providers.base import (
    Target,
    UpstreamBroken,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimedOut,
    UpstreamUnauthenticated,
    UpstreamUnavailable,
    Usage,
)
from tests.gateway.providers.conftest import CREDENTIAL, Bench, ask, settled
from tests.gateway.providers.reading import deltas, forwarded, joined_calls, payload_of
from tests.support.upstreams import Scenario, ToolCall

WEATHER = ToolCall("call_1", "get_weather", '{"city":"Zürich","days":3}')
TIME = ToolCall("call_2", "get_time", '{"zone":"Europe/Zurich"}')
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("get_weather", "get_time")
]


class TestAnswer:
    async def test_text(self, bench: Bench) -> None:
        completion = await bench.complete()

        choice = payload_of(completion)["choices"][0]
        assert choice["message"]["content"] == "Hello, world!"
        assert choice["message"]["role"] == "assistant"
        assert choice["finish_reason"] == completion.finish_reason == "stop"
        assert completion.usage == Usage(prompt_tokens=11, completion_tokens=5)
        assert completion.upstream_request_id == "upstream-request-1"

    async def test_usage_in_the_payload_is_the_parsed_one(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(prompt_tokens=100, completion_tokens=20))

        usage = payload_of(await bench.complete())["usage"]

        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (100, 20, 120)

    async def test_tool_calls(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(tool_calls=(WEATHER, TIME)))

        completion = await bench.complete(tools=TOOLS)

        choice = payload_of(completion)["choices"][0]
        called = [
            (call["function"]["name"], orjson.loads(call["function"]["arguments"]))
            for call in choice["message"]["tool_calls"]
        ]
        assert called == [
            ("get_weather", {"city": "Zürich", "days": 3}),
            ("get_time", {"zone": "Europe/Zurich"}),
        ]
        assert choice["message"]["content"] is None
        assert choice["finish_reason"] == "tool_calls"
        assert len({call["id"] for call in choice["message"]["tool_calls"]}) == 2

    async def test_reasoning(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(reasoning="Let me think."))

        message = payload_of(await bench.complete())["choices"][0]["message"]

        assert message["reasoning_content"] == "Let me think."
        assert message["content"] == "Hello, world!"

    async def test_length(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(finish_reason="length"))

        assert (await bench.complete()).finish_reason == "length"

    async def test_without_usage_none_is_made_up(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(has_usage=False))

        completion = await bench.complete()

        assert completion.usage is None
        assert "usage" not in payload_of(completion)

    async def test_malformed_json_is_broken(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(raw_body=b'{"id": "cut he'))

        with pytest.raises(UpstreamBroken, match="malformed JSON"):
            await bench.complete()

    @pytest.mark.parametrize("body", [b"[]", b"{}", b"null", b'{"choices": []}', b'{"message": 3, "content": 3}', b""])
    async def test_other_json_is_broken(self, bench: Bench, body: bytes) -> None:
        bench.upstream.play(Scenario(raw_body=body))

        with pytest.raises(UpstreamBroken):
            await bench.complete()

    async def test_an_error_sent_as_success_is_an_error(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(raw_body=b'{"error": {"message": "no capacity", "code": 503}}'))

        with pytest.raises(UpstreamUnavailable, match="no capacity"):
            await bench.complete()


class TestStream:
    async def test_text(self, bench: Bench) -> None:
        chunks = await bench.stream()

        assert "".join(chunk.text for chunk in chunks) == "Hello, world!"
        assert "".join(delta.get("content") or "" for delta in deltas(chunks)) == "Hello, world!"

    async def test_all_chunks_share_their_head(self, bench: Bench) -> None:
        payloads = forwarded(await bench.stream())

        heads = {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in payloads}
        assert len(heads) == 1
        assert heads.pop()[1] == "chat.completion.chunk"

    async def test_only_the_first_delta_has_the_role(self, bench: Bench) -> None:
        first, *others = deltas(await bench.stream())

        assert first["role"] == "assistant"
        assert [delta for delta in others if delta.get("role")] == []

    async def test_finish_reason_is_null_until_the_last_choice(self, bench: Bench) -> None:
        chunks = await bench.stream()

        reasons = [payload["choices"][0]["finish_reason"] for payload in forwarded(chunks) if payload["choices"]]
        assert reasons == [None] * (len(reasons) - 1) + ["stop"]
        assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]

    async def test_usage_comes_once_and_last(self, bench: Bench) -> None:
        chunks = await bench.stream()

        assert [chunk.is_usage_chunk for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].usage == Usage(prompt_tokens=11, completion_tokens=5)
        payload = orjson.loads(chunks[-1].data)
        assert payload["choices"] == []
        assert payload["usage"]["total_tokens"] == 16
        assert [payload["usage"] for payload in forwarded(chunks)[:-1] if payload.get("usage")] == []

    async def test_duplicate_usage_is_given_once(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(usage_events=2))

        chunks = await bench.stream()

        assert [chunk.usage for chunk in chunks if chunk.is_usage_chunk] == [
            Usage(prompt_tokens=11, completion_tokens=5)
        ]
        assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]

    async def test_without_usage_none_is_made_up(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(has_usage=False))

        chunks = await bench.stream()

        assert [chunk for chunk in chunks if chunk.usage or chunk.is_usage_chunk] == []
        assert chunks[-1].finish_reason == "stop"

    async def test_tool_calls(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(tool_calls=(WEATHER, TIME)))

        chunks = await bench.stream(tools=TOOLS)

        called = joined_calls(chunks)
        assert [(name, arguments) for _, name, arguments in called] == [
            ("get_weather", {"city": "Zürich", "days": 3}),
            ("get_time", {"zone": "Europe/Zurich"}),
        ]
        assert len({call_id for call_id, _, _ in called}) == 2
        assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]
        assert "".join(chunk.text for chunk in chunks) == ""

    async def test_a_call_has_id_type_and_name_once(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(tool_calls=(WEATHER,)))

        calls = [call for delta in deltas(await bench.stream()) for call in delta.get("tool_calls") or ()]

        first, *others = calls
        assert first["index"] == 0
        assert first["type"] == "function"
        assert first["function"]["name"] == "get_weather"
        assert first["id"]
        assert [call for call in others if "id" in call or "type" in call or "name" in call["function"]] == []

    async def test_reasoning_is_counted_but_is_not_text(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(reasoning="Let me think."))

        chunks = await bench.stream()

        assert "".join(delta.get("reasoning_content") or "" for delta in deltas(chunks)) == "Let me think."
        assert "".join(chunk.other_text for chunk in chunks) == "Let me think."
        assert "".join(chunk.text for chunk in chunks) == "Hello, world!"

    @pytest.mark.parametrize("size", [1, 7])
    async def test_the_network_may_cut_anywhere(self, bench: Bench, size: int) -> None:
        bench.upstream.play(Scenario(pieces=("Grüße", " aus ", "東京 🗼"), frame_bytes=size))

        chunks = await bench.stream()

        assert "".join(chunk.text for chunk in chunks) == "Grüße aus 東京 🗼"
        assert chunks[-1].usage == Usage(prompt_tokens=11, completion_tokens=5)

    async def test_no_batch_is_empty(self, bench: Bench) -> None:
        await bench.stream()

        assert [batch for batch in bench.batches if not batch] == []

    async def test_usage_is_known_without_the_last_bytes(self, bench: Bench) -> None:
        frames = bench.upstream.dialect.frames(Scenario())
        bench.upstream.play(Scenario(frames_before_end=len(frames) - 1, frames=tuple(frames)))
        expected = {"ollama": None}.get(bench.provider.kind, Usage(prompt_tokens=11, completion_tokens=5))

        try:
            await bench.stream()
        except UpstreamBroken:
            pass

        usages = [chunk.usage for chunk in bench.chunks if chunk.usage]
        assert (usages[-1] if usages else None) == expected


class TestBrokenStream:
    async def test_a_stream_refused_with_success_is_an_error(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(raw_body=b'{"error": {"message": "no capacity", "code": 503}}'))

        with pytest.raises(UpstreamError, match="no capacity"):
            await bench.stream()

        assert bench.chunks == []

    async def test_an_answer_in_one_piece_is_no_stream(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(raw_body=b'{"choices": []}'))

        with pytest.raises(UpstreamBroken):
            await bench.stream()

    @pytest.mark.parametrize("field", ["frames_before_cut", "frames_before_end", "frames_before_garbage"])
    async def test_what_came_before_is_delivered(self, bench: Bench, field: str) -> None:
        frames = bench.upstream.dialect.frames(Scenario())
        before = next(at for at, frame in enumerate(frames) if b"world" in frame) + 1
        # In a read of their own, or the frames might be lost with the connection before they are read.
        bench.upstream.play(Scenario(**{field: before}))

        with pytest.raises(UpstreamBroken):
            await bench.stream()

        assert "".join(chunk.text for chunk in bench.chunks) == "Hello, world"
        assert [chunk for chunk in bench.chunks if chunk.finish_reason or chunk.is_usage_chunk] == []

    async def test_an_error_event_is_raised(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(frames_before_error=4, error_message="The engine is overloaded."))

        with pytest.raises(UpstreamError, match="The engine is overloaded") as caught:
            await bench.stream()

        assert caught.value.status in (502, 503)
        assert "".join(chunk.text for chunk in bench.chunks).startswith("Hello")
        assert [chunk for chunk in bench.chunks if chunk.finish_reason] == []

    async def test_an_empty_stream_is_broken(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(frames_before_end=0))

        with pytest.raises(UpstreamBroken):
            await bench.stream()

        assert bench.chunks == []

    async def test_silence_in_the_middle_times_out(self, bench: Bench) -> None:
        bench.target = _with_read_timeout(bench.target)
        bench.upstream.play(Scenario(frames_before_hang=3))

        with pytest.raises(UpstreamTimedOut):
            await bench.stream()

        assert bench.chunks != []

    async def test_closing_stops_the_upstream(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(frames_before_hang=3))
        stream = bench.provider.stream(
            session=bench.session, target=bench.target, request=ask(), request_id="request-1"
        )

        async with aclosing(stream):
            await anext(stream)
            assert not bench.upstream.left.is_set()

        await asyncio.wait_for(bench.upstream.left.wait(), 5)

    async def test_cancelling_stops_the_upstream(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(frames_before_hang=3))
        started = asyncio.Event()

        async def read() -> None:
            stream = bench.provider.stream(
                session=bench.session, target=bench.target, request=ask(), request_id="request-1"
            )
            async with aclosing(stream):
                async for _ in stream:
                    started.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(started.wait(), 5)
        task.cancel()

        await asyncio.wait_for(bench.upstream.left.wait(), 5)
        assert (await asyncio.gather(task, return_exceptions=True))[0].__class__ is asyncio.CancelledError


class TestRefusals:
    @pytest.mark.parametrize("method", ["complete", "stream", "list_models"])
    async def test_rate_limit(self, bench: Bench, method: str) -> None:
        bench.upstream.play(Scenario(status=429, headers={"Retry-After": "7"}))

        with pytest.raises(UpstreamRateLimited, match="acme") as caught:
            await getattr(bench, method)()

        assert caught.value.status == caught.value.upstream_status == 429
        assert caught.value.retry_after_seconds == 7
        assert caught.value.is_retryable
        assert caught.value.code == "gateway.upstream_rate_limited"

    @pytest.mark.parametrize("method", ["complete", "stream", "list_models"])
    @pytest.mark.parametrize("status", [500, 502, 503, 529])
    async def test_failure(self, bench: Bench, method: str, status: int) -> None:
        bench.upstream.play(Scenario(status=status))

        with pytest.raises(UpstreamUnavailable, match="Something is wrong upstream") as caught:
            await getattr(bench, method)()

        assert (caught.value.status, caught.value.upstream_status) == (503, status)
        assert caught.value.is_retryable

    @pytest.mark.parametrize(("status", "answer"), [(400, 400), (404, 404), (413, 413), (422, 422)])
    async def test_a_bad_request_is_explained_in_the_upstreams_words(
        self, bench: Bench, status: int, answer: int
    ) -> None:
        bench.upstream.play(Scenario(status=status, error_message="The context is too long."))

        with pytest.raises(UpstreamRejected) as caught:
            await bench.complete()

        assert caught.value.message == "The context is too long."
        assert (caught.value.status, caught.value.upstream_status) == (answer, status)
        assert not caught.value.is_retryable
        assert caught.value.may_fall_over is (status == 404)

    @pytest.mark.parametrize("status", [401, 402, 403])
    async def test_a_refused_credential_is_our_fault_and_secret(self, bench: Bench, status: int) -> None:
        bench.upstream.play(Scenario(status=status, error_message=f"Incorrect API key provided: {CREDENTIAL}"))

        with pytest.raises(UpstreamUnauthenticated, match="acme") as caught:
            await bench.complete()

        assert caught.value.status == 502
        assert CREDENTIAL not in str(caught.value)
        assert not caught.value.is_retryable
        assert caught.value.may_fall_over

    @pytest.mark.parametrize("status", [301, 302, 307])
    async def test_redirects_are_not_followed(self, bench: Bench, status: int) -> None:
        bench.upstream.play(Scenario(status=status, headers={"Location": f"{bench.upstream.origin}/elsewhere"}))

        with pytest.raises(UpstreamBroken, match="redirect"):
            await bench.complete()

        assert len(bench.upstream.received) == 1

    async def test_an_error_page_is_no_problem(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(status=502, raw_body=b"<html>Bad gateway</html>"))

        with pytest.raises(UpstreamUnavailable) as caught:
            await bench.complete()

        assert "html" not in caught.value.message

    async def test_silence_times_out(self, bench: Bench) -> None:
        bench.target = _with_read_timeout(bench.target)
        bench.upstream.play(Scenario(is_silent=True))

        with pytest.raises(UpstreamTimedOut) as caught:
            await bench.complete()

        assert caught.value.status == 504
        await asyncio.wait_for(bench.upstream.left.wait(), 5)

    @pytest.mark.parametrize("method", ["complete", "stream", "list_models"])
    async def test_nobody_listens(self, bench: Bench, method: str, unused_tcp_port: int) -> None:
        bench.target = _at(bench.target, f"http://127.0.0.1:{unused_tcp_port}")

        with pytest.raises(UpstreamUnavailable, match="cannot be reached") as caught:
            await getattr(bench, method)()

        assert caught.value.status == 503
        assert caught.value.is_retryable

    async def test_a_credential_that_cannot_be_sent(self, bench: Bench) -> None:
        bench.target = _with_credential(bench.target, "key\r\nX-Injected: 1")

        with pytest.raises(UpstreamUnavailable) as caught:
            await bench.complete()

        assert "X-Injected" not in caught.value.message
        assert bench.upstream.received == []


class TestRequest:
    @pytest.mark.parametrize("method", ["complete", "stream"])
    async def test_model_credential_and_request_id(self, bench: Bench, method: str) -> None:
        await getattr(bench, method)()

        received = bench.upstream.received[-1]
        assert received.body["model"] == "upstream-model"
        assert CREDENTIAL in received.headers.get("authorization", received.headers.get("x-api-key", ""))
        assert received.headers["x-request-id"] == "request-1"
        assert bool(received.body.get("stream")) is (method == "stream")

    async def test_the_request_is_not_changed(self, bench: Bench) -> None:
        request = ask(stream=True, stream_options={"include_usage": False}, tools=TOOLS, stop=["x"])
        before = orjson.dumps(request)

        await bench.provider.complete(session=bench.session, target=bench.target, request=request, request_id="r")
        stream = bench.provider.stream(session=bench.session, target=bench.target, request=request, request_id="r")
        async for _ in stream:
            pass

        assert orjson.dumps(request) == before

    async def test_extra_headers_are_sent_but_do_not_replace_the_credential(self, bench: Bench) -> None:
        extra = {"X-Team": "blue", "Authorization": "Bearer foreign", "x-api-key": "foreign"}
        bench.target = _with_headers(bench.target, extra)

        await bench.complete()

        headers = bench.upstream.received[-1].headers
        assert headers["x-team"] == "blue"
        assert CREDENTIAL in (headers["authorization"].removeprefix("Bearer "), headers["x-api-key"])

    async def test_connections_are_used_again(self, bench: Bench) -> None:
        await bench.complete()
        await bench.stream()
        await settled(bench.session)
        await bench.complete()

        assert len(bench.upstream.connections) == 1

    async def test_leaving_after_the_last_chunk_keeps_the_connection(self, bench: Bench) -> None:
        stream = bench.provider.stream(
            session=bench.session, target=bench.target, request=ask(), request_id="request-1"
        )
        async with aclosing(stream):
            async for batch in stream:
                if batch[-1].is_usage_chunk:
                    break
        await settled(bench.session)
        await bench.complete()

        assert len(bench.upstream.connections) == 1
        assert not bench.upstream.left.is_set()


class TestModels:
    async def test_names(self, bench: Bench) -> None:
        assert await bench.list_models() == ["model-a", "model-b"]

    async def test_something_else_is_broken(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(raw_body=b'{"data": 3}'))

        with pytest.raises(UpstreamBroken, match="list of models"):
            await bench.list_models()


class TestEmbeddings:
    @pytest.mark.parametrize("bench", ["openai", "openrouter", "ollama"], indirect=True)
    async def test_vectors_and_usage(self, bench: Bench) -> None:
        completion = await bench.embed(input=["a", "b"])

        payload = completion.payload or orjson.loads(completion.body or b"")
        assert [item["embedding"] for item in payload["data"]] == [[0.5, 0.5], [1.0, 0.0]]
        assert [item["index"] for item in payload["data"]] == [0, 1]
        assert completion.usage == Usage(prompt_tokens=11)
        assert completion.finish_reason is None
        assert bench.asked["model"] == "upstream-model"

    @pytest.mark.parametrize("bench", ["openai", "openrouter", "ollama"], indirect=True)
    async def test_something_else_is_broken(self, bench: Bench) -> None:
        bench.upstream.play(Scenario(raw_body=b'{"object": "list"}'))

        with pytest.raises(UpstreamBroken, match="embedding"):
            await bench.embed(input=["a", "b"])


def _replace(target: Target, **fields: Any) -> Target:
    values = {name: getattr(target, name) for name in Target.__slots__}
    return Target(**{**values, **fields})


def _with_read_timeout(target: Target) -> Target:
    return _replace(target, read_timeout_seconds=0.2)


def _with_credential(target: Target, credential: str) -> Target:
    return _replace(target, credential=credential)


def _with_headers(target: Target, headers: dict[str, str]) -> Target:
    return _replace(target, extra_headers=headers)


def _at(target: Target, origin: str) -> Target:
    path = "/v1" if target.base_url.endswith("/v1") else ""
    return _replace(target, base_url=origin + path)
