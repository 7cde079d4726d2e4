"""OpenAI's format: what is right passes through byte for byte, what is wrong is repaired."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from apps.gateway.providers.base import UpstreamBroken, UpstreamRateLimited, UpstreamUnauthenticated, Usage
from tests.gateway.providers.conftest import Bench, make_target
from tests.gateway.providers.reading import deltas, forwarded, joined_calls, payload_of
from tests.support.upstreams import OpenAIDialect, Scenario, ToolCall

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"


def frame(*choices: dict[str, Any], **fields: Any) -> bytes:
    return b"data: " + orjson.dumps({**HEAD, "choices": list(choices), **fields}) + b"\n\n"


def choice(delta: dict[str, Any] | None, finish_reason: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


FIRST = frame(choice({"role": "assistant", "content": ""}))
LAST = frame(choice({}, "stop"))


def play(bench: Bench, *frames: bytes) -> None:
    bench.upstream.play(Scenario(frames=frames))


class TestPassThrough:
    async def test_an_answer_is_returned_byte_for_byte(self, openai: Bench) -> None:
        body = orjson.dumps({**OpenAIDialect().answer(Scenario()), "x_unknown": {"kept": True}})
        openai.upstream.play(Scenario(raw_body=body))

        completion = await openai.complete()

        assert completion.body == body
        assert completion.payload is None

    async def test_a_good_stream_is_forwarded_byte_for_byte(self, openai: Bench) -> None:
        scenario = Scenario(tool_calls=(ToolCall("call_1", "f", '{"a":1}'), ToolCall("call_2", "f", '{"a":2}')))
        openai.upstream.play(scenario)

        chunks = await openai.stream()

        sent = [frame.removeprefix(b"data: ").rstrip() for frame in OpenAIDialect().frames(scenario)]
        assert [chunk.data for chunk in chunks if chunk.data] == sent[:-1]

    async def test_events_of_one_read_come_in_one_batch(self, openai: Bench) -> None:
        play(openai, FIRST + frame(choice({"content": "a"})) + frame(choice({"content": "b"})) + LAST + DONE)

        await openai.stream()

        assert [len(batch) for batch in openai.batches] == [4]

    async def test_unknown_request_fields_are_passed_on(self, openai: Bench) -> None:
        await openai.complete(x_new={"a": 1}, temperature=0.5)

        assert openai.asked["x_new"] == {"a": 1}
        assert openai.asked["temperature"] == 0.5

    async def test_signed_thoughts_of_another_provider_stay_here(self, openai: Bench) -> None:
        told = {"role": "assistant", "content": "4", "thinking_blocks": [{"type": "thinking", "signature": "s"}]}
        await openai.complete(messages=[{"role": "user", "content": "2+2"}, told, {"role": "user", "content": "+1"}])

        assert openai.asked["messages"][1] == {"role": "assistant", "content": "4"}
        assert "thinking_blocks" in told

    async def test_usage_is_always_asked_for(self, openai: Bench) -> None:
        await openai.stream(stream_options={"include_usage": False, "include_obfuscation": False})

        assert openai.asked["stream_options"] == {"include_usage": True, "include_obfuscation": False}

    async def test_an_answer_in_one_piece_asks_for_no_stream(self, openai: Bench) -> None:
        await openai.complete(stream=True, stream_options={"include_usage": True})

        assert "stream" not in openai.asked
        assert "stream_options" not in openai.asked

    async def test_embeddings_are_returned_byte_for_byte(self, openai: Bench) -> None:
        body = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"m"}'
        openai.upstream.play(Scenario(raw_body=body))

        completion = await openai.embed(input="a", encoding_format="base64", dimensions=1)

        assert completion.body == body
        assert completion.usage is None
        asked = {"model": "upstream-model", "input": "a", "encoding_format": "base64", "dimensions": 1}
        assert openai.asked == asked


class TestUsage:
    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            (
                {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
                Usage(10, 5, cached_tokens=4, reasoning_tokens=2, cache_write_tokens=3),
            ),
            ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 6}, Usage(10, 5, 6)),
            ({"prompt_tokens": 10, "completion_tokens": None, "prompt_tokens_details": None}, Usage(10, 0)),
            ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0)),
            ({"prompt_tokens": -1, "completion_tokens": "5"}, None),
            ({}, None),
            ("many", None),
        ],
    )
    async def test_as_upstreams_write_it(self, openai: Bench, usage: Any, expected: Usage | None) -> None:
        answer = {**OpenAIDialect().answer(Scenario()), "usage": usage}
        openai.upstream.play(Scenario(raw_body=orjson.dumps(answer)))

        assert (await openai.complete()).usage == expected

    async def test_usage_beside_content_gets_a_chunk_of_its_own(self, openai: Bench) -> None:
        first = frame(choice({"role": "assistant", "content": "a"}), usage={"prompt_tokens": 3, "completion_tokens": 1})
        last = frame(choice({"content": "b"}, "stop"), usage={**USAGE, "cost": 0.5})
        play(openai, first, last, DONE)

        chunks = await openai.stream()

        payloads = forwarded(chunks)
        assert [payload["usage"] for payload in payloads] == [None, None, {**USAGE, "cost": 0.5}]
        assert payloads[-1]["choices"] == []
        assert [chunk.usage for chunk in chunks] == [Usage(3, 1), Usage(3, 2), Usage(3, 2)]
        assert [chunk.is_usage_chunk for chunk in chunks] == [False, False, True]

    async def test_a_usage_chunk_without_choices_gets_an_empty_list(self, openai: Bench) -> None:
        bare = b"data: " + orjson.dumps({**HEAD, "usage": USAGE}) + b"\n\n"
        play(openai, FIRST, LAST, bare, DONE)

        assert orjson.loads((await openai.stream())[-1].data)["choices"] == []

    async def test_usage_is_signalled_before_the_stream_ends(self, openai: Bench) -> None:
        # Both in one read, the end in another.
        play(openai, FIRST + LAST + frame(usage=USAGE), DONE)
        openai.upstream.play(Scenario(frames=(FIRST + LAST + frame(usage=USAGE), DONE), frames_before_hang=1))
        stream = openai.provider.stream(
            session=openai.session, target=openai.target, request={"messages": []}, request_id="r"
        )

        batch = await anext(stream)
        await stream.aclose()

        assert [(chunk.data == b"", chunk.usage) for chunk in batch] == [
            (False, None),
            (False, None),
            (True, Usage(3, 2)),
        ]


class TestRepairedAnswer:
    async def test_what_is_missing_is_filled_in(self, openai: Bench) -> None:
        call = {"function": {"name": "f", "arguments": {"a": 1}}}
        body = orjson.dumps({"choices": [{"message": {"tool_calls": [call]}}], "x_kept": 1})
        openai.upstream.play(Scenario(raw_body=body))

        completion = await openai.complete()

        payload = payload_of(completion)
        assert completion.body is None
        assert payload["id"].startswith("chatcmpl-")
        assert payload["model"] == "upstream-model"
        assert payload["x_kept"] == 1
        repaired = payload["choices"][0]
        assert repaired["index"] == 0
        assert repaired["finish_reason"] == completion.finish_reason == "tool_calls"
        assert repaired["message"]["role"] == "assistant"
        assert repaired["message"]["content"] is None
        assert repaired["message"]["tool_calls"][0]["type"] == "function"
        assert repaired["message"]["tool_calls"][0]["id"].startswith("call_")
        assert repaired["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'

    @pytest.mark.parametrize("choices", [[3], [{}], [{"message": None}], {"0": {}}])
    async def test_what_cannot_be_repaired_is_broken(self, openai: Bench, choices: Any) -> None:
        openai.upstream.play(Scenario(raw_body=orjson.dumps({"choices": choices})))

        with pytest.raises(UpstreamBroken):
            await openai.complete()


class TestRepairedStream:
    async def test_a_head_that_changes_or_is_missing(self, openai: Bench) -> None:
        bare = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
        other = frame(choice({"content": "b"}, "stop"), id="other", created=9, model="other", x_kept=1)
        play(openai, bare, other, DONE)

        first, second = forwarded(await openai.stream())

        assert first["id"].startswith("chatcmpl-")
        assert first["model"] == "upstream-model"
        assert {name: second[name] for name in HEAD} == {name: first[name] for name in HEAD}
        assert second["x_kept"] == 1

    async def test_an_empty_first_chunk_without_id_is_dropped(self, openai: Bench) -> None:
        # Azure begins with the result of its content filter.
        filtered = frame(id="", created=0, model="", prompt_filter_results=[{"prompt_index": 0}])
        play(openai, filtered, FIRST, LAST, DONE)

        assert [payload["id"] for payload in forwarded(await openai.stream())] == ["chatcmpl-1", "chatcmpl-1"]

    async def test_a_chunk_without_choices_but_with_news_is_forwarded(self, openai: Bench) -> None:
        play(openai, FIRST, LAST, frame(x_news={"ok": True}), DONE)

        assert forwarded(await openai.stream())[-1]["x_news"] == {"ok": True}

    async def test_role_missing_and_repeated(self, openai: Bench) -> None:
        repeated = frame(choice({"role": "assistant", "content": "b"}))
        play(openai, frame(choice({"content": "a"})), repeated, repeated, LAST, DONE)

        assert [delta.get("role") for delta in deltas(await openai.stream())] == ["assistant", None, None, None]

    async def test_every_choice_has_a_role(self, openai: Bench) -> None:
        both = frame(choice({"content": "a"}), choice({"content": "b"}, index=1))
        end = frame(choice({}, "stop"), choice({}, "stop", index=1))
        play(openai, both, end, DONE)

        chunks = await openai.stream()

        assert [one["delta"]["role"] for one in forwarded(chunks)[0]["choices"]] == ["assistant", "assistant"]
        assert (chunks[0].text, chunks[0].other_text) == ("a", "b")

    @pytest.mark.parametrize("absent", [{"finish_reason": ""}, {}])
    async def test_finish_reason_empty_or_absent(self, openai: Bench, absent: dict[str, str]) -> None:
        bare = {"index": 0, "delta": {"role": "assistant", "content": "a"}, **absent}
        play(openai, frame(bare), LAST, DONE)

        reasons = [payload["choices"][0]["finish_reason"] for payload in forwarded(await openai.stream())]

        assert reasons == [None, "stop"]

    async def test_a_stream_that_ends_without_a_finish_reason_gets_one(self, openai: Bench) -> None:
        play(openai, FIRST, frame(choice({"content": "a"})), DONE)

        chunks = await openai.stream()

        assert chunks[-1].finish_reason == "stop"
        assert forwarded(chunks)[-1]["choices"] == [choice({}, "stop")]

    async def test_a_stream_without_done_is_whole_once_it_has_finished(self, openai: Bench) -> None:
        play(openai, FIRST, LAST, frame(usage=USAGE).rstrip(b"\n"))

        chunks = await openai.stream()

        assert chunks[-1].usage == Usage(3, 2)
        assert chunks[-1].is_usage_chunk

    async def test_delta_and_index_missing(self, openai: Bench) -> None:
        play(openai, frame({"finish_reason": None}), frame({"delta": None, "finish_reason": "stop"}), DONE)

        assert deltas(await openai.stream()) == [{"role": "assistant"}, {}]

    async def test_after_done_nothing_counts(self, openai: Bench) -> None:
        play(openai, FIRST + LAST + DONE + frame(choice({"content": "late"})))

        assert "".join(chunk.text for chunk in await openai.stream()) == ""

    @pytest.mark.parametrize("data", [b"[]", b"3", b"nonsense"])
    async def test_an_event_that_is_no_object_is_broken(self, openai: Bench, data: bytes) -> None:
        play(openai, FIRST, b"data: " + data + b"\n\n", DONE)

        with pytest.raises(UpstreamBroken):
            await openai.stream()

    async def test_done_without_anything_is_broken(self, openai: Bench) -> None:
        play(openai, DONE)

        with pytest.raises(UpstreamBroken, match="before it began"):
            await openai.stream()

    async def test_the_status_of_an_error_event_is_its_code(self, openai: Bench) -> None:
        play(openai, FIRST, b'data: {"error":{"message":"slow down","code":429}}\n\n')

        with pytest.raises(UpstreamRateLimited, match="slow down"):
            await openai.stream()


class TestRepairedToolCalls:
    @staticmethod
    def calls(*calls: dict[str, Any]) -> bytes:
        return frame(choice({"tool_calls": list(calls)}))

    async def test_repeated_ids_and_names_are_said_once(self, openai: Bench) -> None:
        part = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
        rest = {**part, "function": {"name": "f", "arguments": ":1}"}}
        play(openai, FIRST, self.calls(part), self.calls(rest), LAST, DONE)

        assert joined_calls(await openai.stream()) == [("call_1", "f", {"a": 1})]

    async def test_missing_id_and_type_are_made_up(self, openai: Bench) -> None:
        play(openai, FIRST, self.calls({"index": 0, "function": {"name": "f", "arguments": "{}"}}), LAST, DONE)

        chunks = await openai.stream()

        call = deltas(chunks)[1]["tool_calls"][0]
        assert call["id"].startswith("call_")
        assert call["type"] == "function"

    async def test_parallel_calls_under_one_index_are_told_apart(self, openai: Bench) -> None:
        one = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        two = {"index": 0, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": '{"b"'}}
        rest = {"index": 0, "function": {"arguments": ":2}"}}
        play(openai, FIRST, self.calls(one), self.calls(two), self.calls(rest), LAST, DONE)

        assert joined_calls(await openai.stream()) == [("call_1", "f", {"a": 1}), ("call_2", "g", {"b": 2})]

    async def test_calls_without_index_are_numbered(self, openai: Bench) -> None:
        one = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        two = {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": {"b": 2}}}
        play(openai, FIRST, self.calls(one, two), LAST, DONE)

        assert joined_calls(await openai.stream()) == [("call_1", "f", {}), ("call_2", "g", {"b": 2})]

    async def test_arguments_missing_in_the_first_delta(self, openai: Bench) -> None:
        one = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f"}}
        play(openai, FIRST, self.calls(one), self.calls({"index": 0, "function": {"arguments": "{}"}}), LAST, DONE)

        chunks = await openai.stream()

        assert deltas(chunks)[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}
        assert joined_calls(chunks) == [("call_1", "f", {})]

    async def test_calls_without_a_finish_reason_finish_as_such(self, openai: Bench) -> None:
        one = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        play(openai, FIRST, self.calls(one), DONE)

        assert (await openai.stream())[-1].finish_reason == "tool_calls"

    async def test_custom_calls_are_left_as_they_are(self, openai: Bench) -> None:
        one = {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "f", "input": ""}}
        two = {"index": 0, "custom": {"input": "x"}}
        play(openai, FIRST, self.calls(one), self.calls(two), LAST, DONE)

        sent = [orjson.loads(chunk.data)["choices"][0]["delta"] for chunk in await openai.stream()]

        assert sent[1:3] == [{"tool_calls": [one]}, {"tool_calls": [two]}]

    async def test_what_is_written_in_a_call_is_counted(self, openai: Bench) -> None:
        one = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        play(openai, FIRST, self.calls(one), LAST, DONE)

        assert [chunk.other_text for chunk in await openai.stream()] == ["", 'f{"a":1}', ""]

    async def test_the_official_sdk_puts_a_repaired_stream_together(self, openai: Bench) -> None:
        part = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a"'}}
        rest = {**part, "function": {"name": "f", "arguments": ":1}"}}
        play(openai, self.calls(part), self.calls(rest), frame(choice({"role": "assistant"}, "tool_calls")), DONE)
        state = ChatCompletionStreamState()

        for payload in forwarded(await openai.stream()):
            state.handle_chunk(ChatCompletionChunk.model_validate(payload))

        message = state.get_final_completion().choices[0].message
        assert message.role == "assistant"
        assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()] == [
            ("call_1", "f", '{"a":1}')
        ]


class TestFastPath:
    """Chunks that look alike are not decoded; nobody may notice."""

    @pytest.mark.parametrize(
        "content",
        [
            'quoted "words"',
            "back\\slash",
            "line\nbreak",
            "Ünï©ødé 🗼",
            "",
            '"},"finish_reason":"stop"}],"usage":null}',
            '","role":"user',
            "plain",
        ],
    )
    async def test_any_content_is_read_as_it_is_written(self, openai: Bench, content: str) -> None:
        contents = ["alpha", "beta", content, "gamma", content]
        openai.upstream.play(Scenario(pieces=tuple(contents)))

        chunks = await openai.stream()

        assert [chunk.text for chunk in chunks[1:6]] == contents
        assert [delta.get("content") for delta in deltas(chunks)[1:6]] == contents

    async def test_what_differs_elsewhere_is_decoded(self, openai: Bench) -> None:
        pieces = [frame(choice({"content": word})) for word in ("alpha", "beta")]
        other = frame(choice({"content": "c"}), id="other")
        late = frame(choice({"content": "d"}, "stop"))
        play(openai, FIRST, *pieces, other, late, DONE)

        chunks = await openai.stream()

        assert [chunk.text for chunk in chunks] == ["", "alpha", "beta", "c", "d"]
        assert {payload["id"] for payload in forwarded(chunks)} == {"chatcmpl-1"}
        assert chunks[-1].finish_reason == "stop"

    async def test_a_repaired_chunk_is_no_pattern(self, openai: Bench) -> None:
        bare = {"index": 0, "delta": {"content": "alpha"}}
        play(openai, FIRST, frame(bare), frame(bare), frame(bare), LAST, DONE)

        reasons = [payload["choices"][0]["finish_reason"] for payload in forwarded(await openai.stream())]

        assert reasons == [None, None, None, None, "stop"]

    async def test_bytes_that_are_no_text_are_broken(self, openai: Bench) -> None:
        good = frame(choice({"content": "alpha"}))
        play(openai, FIRST, good, good.replace(b"alpha", b"\xff\xfe"), LAST, DONE)

        with pytest.raises(UpstreamBroken, match="malformed"):
            await openai.stream()


class TestAccount:
    @pytest.mark.parametrize("code", ["insufficient_quota", "billing_not_active"])
    async def test_an_empty_account_is_not_a_rate_limit(self, openai: Bench, code: str) -> None:
        openai.upstream.play(Scenario(status=429, error_code=code))

        with pytest.raises(UpstreamUnauthenticated) as caught:
            await openai.complete()

        assert caught.value.upstream_code == code
        assert not caught.value.is_retryable


class TestOpenRouter:
    async def test_usage_accounting_and_attribution(self, openrouter: Bench) -> None:
        await openrouter.complete()

        assert openrouter.asked["usage"] == {"include": True}
        assert openrouter.upstream.received[-1].headers["x-title"] == "Portico"

    async def test_attribution_can_be_overruled(self, openrouter: Bench) -> None:
        extra = {"X-Title": "Ours", "HTTP-Referer": "https://ai.example.com"}
        openrouter.target = make_target("openrouter", openrouter.upstream.origin, extra_headers=extra)

        await openrouter.complete()

        headers = openrouter.upstream.received[-1].headers
        assert (headers["x-title"], headers["http-referer"]) == ("Ours", "https://ai.example.com")
