"""Counts are exact, estimates are near and never fail."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.providers import tokens
from apps.gateway.providers.tokens import count_answer, count_prompt, count_text, estimate_prompt, estimate_text

PROSE = (
    "The gateway authenticates the key, admits the call under every limit that applies, chooses a deployment and "
    "forwards the request. When the answer has arrived, the cost is settled and the reservation is handed back."
)
SAMPLES = {
    "English": (PROSE, 1.0, 1.7),
    "German": ("Die Anfrage wird geprüft, weitergeleitet und abgerechnet; danach wird die Reserve frei.", 0.95, 1.8),
    "Russian": ("Запрос проверяется, направляется поставщику и оплачивается после ответа модели.", 1.0, 2.5),
    "Chinese": ("请求经过身份验证后转发给模型供应商,然后根据实际使用的词元数量结算费用。", 0.9, 1.8),
    "Japanese": ("リクエストは認証された後、モデルの提供者に転送され、使用量に応じて精算されます。", 0.9, 1.8),
    "Python": ("def settle(*, call, usage):\n    cost = price.multiply(usage)\n    return cost\n" * 5, 0.9, 1.7),
    "JSON": ('{"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "x"}}]}' * 5, 0.75, 1.6),
}


class TestCount:
    @pytest.mark.parametrize(
        ("model", "count"),
        [("gpt-4o", 8), ("gpt-5", 8), ("openai/gpt-4.1", 8), ("claude-x", 8), ("gpt-4", 9), ("gpt-4-turbo", 9)],
    )
    def test_by_vocabulary(self, model: str, count: int) -> None:
        assert count_text("お誕生日おめでとう", model) == count

    def test_known_counts(self) -> None:
        # As OpenAI's own tokenizer counts them.
        assert count_text("hello world", "gpt-4o") == 2
        assert count_text("hello world", "gpt-4") == 2
        assert count_text("tiktoken is great!", "gpt-4") == 6
        assert count_text("", "gpt-4o") == 0

    def test_special_tokens_in_a_text_are_only_text(self) -> None:
        assert count_text("<|endoftext|>", "gpt-4o") > 1

    def test_half_a_character_is_counted_as_a_replacement(self) -> None:
        assert count_text("a\ud800b", "gpt-4o") == count_text("a\ufffdb", "gpt-4o")

    def test_a_prompt_is_its_texts_and_their_overheads(self) -> None:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello world"}]

        assert count_prompt({"messages": messages}, "gpt-4o") == count_text("Be brief.", "gpt-4o") + 2 + 2 * 4 + 3

    def test_an_answer_is_all_that_was_written(self) -> None:
        call = {"function": {"name": "hello", "arguments": " world"}}
        payload = {
            "choices": [
                {"message": {"content": "hello world", "reasoning_content": "hello", "refusal": None}},
                {"message": {"content": None, "tool_calls": [call]}},
            ]
        }

        assert count_answer(payload, "gpt-4o") == 2 + 1 + 2

    def test_tables_are_loaded_only_to_count(self) -> None:
        code = (
            "import sys; from apps.gateway.providers import registry, tokens;"
            "tokens.estimate_prompt({'messages': [{'role': 'user', 'content': 'hi'}]});"
            "before = tokens._load_extension.cache_info().currsize;"
            "tokens.count_text('hi', 'gpt-4o');"
            "print(before, tokens._load_extension.cache_info().currsize, 'bpe_openai' in sys.modules)"
        )

        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert result.stdout.split() == ["0", "1", "False"]


class TestEstimate:
    @pytest.mark.parametrize("language", SAMPLES)
    def test_is_near_the_count(self, language: str) -> None:
        text, lowest, highest = SAMPLES[language]

        assert lowest <= estimate_text(text) / count_text(text, "gpt-4o") <= highest

    def test_every_part_of_a_request_counts(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        additions: list[dict[str, Any]] = [
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
            {"messages": [{"role": "user", "content": "Hi", "name": "Ann"}]},
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi there"}]}]},
            {"messages": [{"role": "user", "content": "Hi", "tool_calls": [call]}]},
            {"messages": [{"role": "user", "content": "Hi", "reasoning_content": "Hm."}]},
            {"messages": [{"role": "user", "content": ["Hi", "there"]}]},
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "user"}]},
        ]
        base = {"messages": [{"role": "user", "content": "Hi"}]}

        assert estimate_prompt(base) == 3 + 4 + 1
        assert [more for more in additions if estimate_prompt({**base, **more}) <= estimate_prompt(base)] == []

    @pytest.mark.parametrize(
        ("part", "expected"),
        [
            ({"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}, 1_100),
            ({"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}}, 85),
            ({"type": "input_audio", "input_audio": {"data": "A" * 10_000, "format": "mp3"}}, 10),
            ({"type": "file", "file": {"file_data": "A" * 16_000}}, 1_000),
            ({"type": "file", "file": {"file_id": "f"}}, 0),
            ({"type": "refusal", "refusal": "No."}, 1),
        ],
    )
    def test_parts_other_than_text(self, part: dict[str, Any], expected: int) -> None:
        assert estimate_prompt({"messages": [{"role": "user", "content": [part]}]}) == 3 + 4 + expected

    @pytest.mark.parametrize(
        ("value", "expected"),
        [("hello world", 4), (["hello", "world"], 4), ([1, 2, 3], 3), ([[1, 2], [3]], 3), (None, 0), ({"a": 1}, 0)],
    )
    def test_embeddings(self, value: Any, expected: int) -> None:
        assert estimate_prompt({"input": value}) == expected

    @settings(deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["messages", "content", "type", "text", "input", "tools", "image_url", "file"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=10,
        ).filter(lambda value: isinstance(value, dict))
    )
    def test_never_fails(self, request: dict[str, Any]) -> None:
        assert estimate_prompt(request) >= 0
        assert estimate_prompt({"messages": [request]}) >= 3

    def test_half_a_character_is_no_problem(self) -> None:
        assert estimate_text("a\ud800b") > 0

    def test_the_documented_overheads(self) -> None:
        assert (tokens.MESSAGE_OVERHEAD_TOKENS, tokens.REPLY_OVERHEAD_TOKENS) == (4, 3)


@pytest.mark.parametrize(
    "message",
    [
        {"function_call": {"name": "f", "arguments": "x" * 1000}},
        {"reasoning_details": [{"text": "x" * 1000}]},
        {"refusal": "x" * 1000},
        {"thinking_blocks": [{"type": "thinking", "thinking": "x" * 1000, "signature": "s"}]},
        {"content": [{"type": "novel", "novel": "x" * 1000}]},
    ],
    ids=["function call", "unknown field", "refusal", "thought", "unknown part"],
)
def test_no_field_of_a_message_is_free(message: dict[str, Any]) -> None:
    assert estimate_prompt({"messages": [{"role": "assistant", **message}]}) >= 320


def test_signatures_and_cache_marks_are_not_said() -> None:
    silent = {
        "thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s" * 1000}, 5],
        "cache_control": {"type": "ephemeral"},
        "tool_call_id": "c" * 100,
    }
    bare = {"role": "tool", "content": "x"}
    assert estimate_prompt({"messages": [{**bare, **silent}]}) == estimate_prompt({"messages": [bare]})


def test_the_vocabulary_that_most_models_share_can_be_loaded_ahead() -> None:
    tokens._tokenizer.cache_clear()
    tokens.load_vocabulary()
    loaded = tokens._tokenizer.cache_info().misses
    count_text("hello", "gpt-5")
    assert (loaded, tokens._tokenizer.cache_info().misses) == (1, 1)
