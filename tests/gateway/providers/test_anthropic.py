"""Anthropic's answers in OpenAI's words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from apps.gateway.providers.base import UpstreamBroken, UpstreamRejected, UpstreamUnauthenticated, Usage
from tests.gateway.providers.conftest import CREDENTIAL, Bench, make_target
from tests.gateway.providers.reading import deltas, forwarded, joined_calls, payload_of
from tests.support.upstreams import AnthropicDialect, Scenario, ToolCall

DIALECT = AnthropicDialect()
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}},
}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}}
STOP = {"type": "message_stop"}


def play(bench: Bench, *events: dict[str, Any]) -> None:
    bench.upstream.play(Scenario(frames=tuple(DIALECT.event(event) for event in events)))


def block(index: int, start: dict[str, Any], *changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": change} for change in changes),
        {"type": "content_block_stop", "index": index},
    ]


class TestRequest:
    @pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
    async def test_the_base_url_may_have_a_version_or_not(self, anthropic: Bench, suffix: str) -> None:
        target = make_target("anthropic", anthropic.upstream.origin)
        anthropic.target = make_target("anthropic", anthropic.upstream.origin, base_url=target.base_url + suffix)

        await anthropic.complete()
        await anthropic.list_models()

        paths = [received.path for received in anthropic.upstream.received]
        assert paths == ["/v1/messages", "/v1/models?limit=1000"]

    async def test_headers(self, anthropic: Bench) -> None:
        await anthropic.complete()

        headers = anthropic.upstream.received[-1].headers
        assert headers["x-api-key"] == CREDENTIAL
        assert headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in headers

    async def test_a_beta_may_be_configured(self, anthropic: Bench) -> None:
        anthropic.target = make_target(
            "anthropic", anthropic.upstream.origin, extra_headers={"anthropic-beta": "x-1", "anthropic-version": "y"}
        )

        await anthropic.complete()

        headers = anthropic.upstream.received[-1].headers
        assert (headers["anthropic-beta"], headers["anthropic-version"]) == ("x-1", "y")

    async def test_an_untranslatable_request_reaches_nobody(self, anthropic: Bench) -> None:
        with pytest.raises(UpstreamRejected):
            await anthropic.complete(messages=[])
        with pytest.raises(UpstreamRejected):
            await anthropic.stream(messages=[])

        assert anthropic.upstream.received == []

    async def test_there_are_no_embeddings(self, anthropic: Bench) -> None:
        with pytest.raises(UpstreamRejected, match="no embeddings"):
            await anthropic.embed(input="a")

        assert "embeddings" not in anthropic.provider.capabilities


class TestAnswer:
    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("pause_turn", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("brand_new", "stop"),
            (None, "stop"),
        ],
    )
    async def test_stop_reasons(self, anthropic: Bench, reason: str | None, expected: str) -> None:
        answer = {**DIALECT.answer(Scenario()), "stop_reason": reason}
        anthropic.upstream.play(Scenario(raw_body=orjson.dumps(answer)))

        completion = await anthropic.complete()

        assert payload_of(completion)["choices"][0]["finish_reason"] == completion.finish_reason == expected

    async def test_a_refusal_explains_itself(self, anthropic: Bench) -> None:
        details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
        answer = {**DIALECT.answer(Scenario()), "content": [], "stop_reason": "refusal", "stop_details": details}
        anthropic.upstream.play(Scenario(raw_body=orjson.dumps(answer)))

        message = payload_of(await anthropic.complete())["choices"][0]["message"]

        assert (message["content"], message["refusal"]) == (None, "Not this.")

    async def test_usage_counts_cached_tokens_as_part_of_the_prompt(self, anthropic: Bench) -> None:
        usage = {
            "input_tokens": 10,
            "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 30,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 20},
        }
        answer = {**DIALECT.answer(Scenario()), "usage": usage}
        anthropic.upstream.play(Scenario(raw_body=orjson.dumps(answer)))

        completion = await anthropic.complete()

        assert completion.usage == Usage(240, 50, cached_tokens=200, reasoning_tokens=20, cache_write_tokens=30)
        assert payload_of(completion)["usage"] == {
            "prompt_tokens": 240,
            "completion_tokens": 50,
            "total_tokens": 290,
            "prompt_tokens_details": {"cached_tokens": 200, "cache_write_tokens": 30},
            "completion_tokens_details": {"reasoning_tokens": 20},
        }

    async def test_identity(self, anthropic: Bench) -> None:
        payload = payload_of(await anthropic.complete())

        assert (payload["id"], payload["model"]) == ("chatcmpl-upstream", "upstream-model-2025")

    async def test_thinking_with_its_signature(self, anthropic: Bench) -> None:
        thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
        hidden = {"type": "redacted_thinking", "data": "eA=="}
        blocks = [thinking, hidden, {"type": "server_tool_use"}, {"type": "text", "text": "a"}, {"type": "text"}]
        answer = {**DIALECT.answer(Scenario()), "content": blocks}
        anthropic.upstream.play(Scenario(raw_body=orjson.dumps(answer)))

        message = payload_of(await anthropic.complete())["choices"][0]["message"]

        assert message["thinking_blocks"] == [thinking, hidden]
        assert (message["reasoning_content"], message["content"]) == ("Hm.", "a")


class TestStream:
    async def test_usage_is_known_from_the_first_event_on(self, anthropic: Bench) -> None:
        play(anthropic, START, *block(0, {"type": "text", "text": "Hi"}), END, STOP)

        chunks = await anthropic.stream()

        assert [chunk.usage for chunk in chunks] == [Usage(9, 1), None, Usage(9, 4), Usage(9, 4)]

    async def test_cached_tokens_survive_to_the_end(self, anthropic: Bench) -> None:
        anthropic.upstream.play(Scenario(prompt_tokens=100, cached_tokens=80))

        assert (await anthropic.stream())[-1].usage == Usage(100, 5, cached_tokens=80)

    async def test_the_last_event_may_correct_the_prompt(self, anthropic: Bench) -> None:
        usage = {"input_tokens": 12, "cache_read_input_tokens": 3, "output_tokens": 4}
        play(anthropic, START, {**END, "usage": usage}, STOP)

        assert (await anthropic.stream())[-1].usage == Usage(15, 4, cached_tokens=3)

    async def test_a_second_message_start_is_not_a_second_answer(self, anthropic: Bench) -> None:
        again = {**START, "message": {**START["message"], "id": "msg_2", "usage": {"input_tokens": 20}}}
        play(anthropic, START, again, *block(0, {"type": "text", "text": "Hi"}), END, STOP)

        chunks = await anthropic.stream()

        assert {payload["id"] for payload in forwarded(chunks)} == {"chatcmpl-1"}
        assert [delta.get("role") for delta in deltas(chunks)] == ["assistant", None, None]
        assert chunks[-1].usage == Usage(20, 4)

    async def test_thinking_with_its_signature(self, anthropic: Bench) -> None:
        anthropic.upstream.play(Scenario(reasoning="Let me think."))

        blocks = [delta["thinking_blocks"] for delta in deltas(await anthropic.stream()) if "thinking_blocks" in delta]

        assert blocks == [[{"index": 0, "type": "thinking", "thinking": "Let me think.", "signature": "c2ln"}]]

    async def test_hidden_thinking(self, anthropic: Bench) -> None:
        hidden = {"type": "redacted_thinking", "data": "eA=="}
        play(anthropic, START, *block(0, hidden), *block(1, {"type": "thinking", "thinking": "Hm."}), END, STOP)

        chunks = await anthropic.stream()

        blocks = [delta["thinking_blocks"][0] for delta in deltas(chunks) if "thinking_blocks" in delta]
        assert blocks == [{"index": 0, **hidden}, {"index": 1, "type": "thinking", "thinking": "Hm."}]
        assert [delta["reasoning_content"] for delta in deltas(chunks) if "reasoning_content" in delta] == ["Hm."]

    @pytest.mark.parametrize(("given", "arguments"), [({}, {}), ({"a": 1}, {"a": 1})])
    async def test_a_call_without_fragments_has_arguments_all_the_same(
        self, anthropic: Bench, given: dict[str, Any], arguments: dict[str, Any]
    ) -> None:
        start = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": given}
        empty = {"type": "input_json_delta", "partial_json": ""}
        play(anthropic, START, *block(0, start, empty), END, STOP)

        assert joined_calls(await anthropic.stream()) == [("toolu_1", "f", arguments)]

    async def test_calls_are_numbered_among_themselves(self, anthropic: Bench) -> None:
        anthropic.upstream.play(
            Scenario(reasoning="Hm.", tool_calls=(ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":1}')))
        )

        assert joined_calls(await anthropic.stream()) == [("a", "f", {}), ("b", "g", {"x": 1})]

    async def test_anthropics_own_tools_are_left_out(self, anthropic: Bench) -> None:
        own = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
        query = {"type": "input_json_delta", "partial_json": '{"q":1}'}
        note = {"type": "citations_delta", "citation": {}}
        play(anthropic, START, *block(0, own, query), *block(1, {"type": "text", "text": "Hi"}, note), END, STOP)

        assert deltas(await anthropic.stream()) == [{"role": "assistant", "content": ""}, {"content": "Hi"}, {}]

    async def test_unknown_events_are_skipped(self, anthropic: Bench) -> None:
        play(anthropic, {"type": "ping"}, START, {"type": "brand_new", "x": 1}, END, STOP)

        assert len(await anthropic.stream()) == 3

    async def test_after_the_end_nothing_counts(self, anthropic: Bench) -> None:
        events = (START, END, STOP, *block(0, {"type": "text", "text": "late"}))
        anthropic.upstream.play(Scenario(frames=(b"".join(map(DIALECT.event, events)),)))

        chunks = await anthropic.stream()

        assert chunks[-1].is_usage_chunk
        assert "".join(chunk.text for chunk in chunks) == ""

    async def test_a_last_event_without_an_empty_line(self, anthropic: Bench) -> None:
        events = [DIALECT.event(event) for event in (START, END, STOP)]
        anthropic.upstream.play(Scenario(frames=(*events[:2], events[2].rstrip())))

        assert (await anthropic.stream())[-1].usage == Usage(9, 4)

    async def test_thinking_given_with_the_start_of_its_block(self, anthropic: Bench) -> None:
        start = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
        play(anthropic, START, *block(0, start), END, STOP)

        chunks = await anthropic.stream()

        assert [delta.get("reasoning_content") for delta in deltas(chunks)] == [None, "Hm.", None, None]
        assert deltas(chunks)[2]["thinking_blocks"] == [{"index": 0, **start}]

    async def test_stop_without_a_reason(self, anthropic: Bench) -> None:
        play(anthropic, START, *block(0, {"type": "text", "text": "Hi"}), STOP)

        assert [chunk.finish_reason for chunk in await anthropic.stream()][-2:] == ["stop", None]

    async def test_a_reason_without_stop_is_an_end(self, anthropic: Bench) -> None:
        play(anthropic, START, END)

        assert (await anthropic.stream())[-1].is_usage_chunk

    @pytest.mark.parametrize("events", [(END, STOP), (STOP,), (*block(0, {"type": "text", "text": "Hi"}), STOP)])
    async def test_an_answer_must_begin_at_its_beginning(self, anthropic: Bench, events: Any) -> None:
        play(anthropic, *events)

        with pytest.raises(UpstreamBroken):
            await anthropic.stream()

    async def test_the_official_sdk_puts_a_stream_together(self, anthropic: Bench) -> None:
        anthropic.upstream.play(Scenario(reasoning="Hm.", tool_calls=(ToolCall("a", "f", '{"x":1}'),)))
        state = ChatCompletionStreamState()

        for payload in forwarded(await anthropic.stream()):
            state.handle_chunk(ChatCompletionChunk.model_validate(payload))

        final = state.get_final_completion()
        assert [(call.id, call.function.arguments) for call in final.choices[0].message.tool_calls or ()] == [
            ("a", '{"x":1}')
        ]
        assert final.choices[0].finish_reason == "tool_calls"
        assert final.usage is not None
        assert final.usage.total_tokens == 16

    @pytest.mark.parametrize(("options", "said"), [({}, set()), ({"include_usage": True}, {None})])
    async def test_other_chunks_speak_of_usage_only_when_asked(
        self, anthropic: Bench, options: dict[str, bool], said: set[None]
    ) -> None:
        *others, last = forwarded(await anthropic.stream(stream_options=options))

        assert {payload["usage"] for payload in others if "usage" in payload} == said
        assert last["usage"]["total_tokens"] == 16


class TestErrors:
    async def test_an_empty_account_is_our_fault(self, anthropic: Bench) -> None:
        words = "Your credit balance is too low to access the Anthropic API."
        anthropic.upstream.play(Scenario(status=400, error_message=words))

        with pytest.raises(UpstreamUnauthenticated):
            await anthropic.complete()

    async def test_its_type_is_kept(self, anthropic: Bench) -> None:
        anthropic.upstream.play(Scenario(status=400))

        with pytest.raises(UpstreamRejected) as caught:
            await anthropic.complete()

        assert caught.value.upstream_type == "invalid_request_error"
