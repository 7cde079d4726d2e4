"""Counts of tokens as servers send them: nothing that is not a number, nothing below zero, nothing beyond belief."""

from __future__ import annotations

from typing import Any

import pytest

from apps.gateway.providers.anthropic_answer import parse_anthropic_usage
from apps.gateway.providers.base import MAX_COUNT
from apps.gateway.providers.ollama_stream import parse_ollama_usage
from apps.gateway.providers.openai_usage import parse_usage

HUGE = 2**64 - 1


@pytest.mark.parametrize(("sent", "read"), [(7, 7), (MAX_COUNT, MAX_COUNT), (HUGE, MAX_COUNT), (-5, 0), ("7", 0)])
def test_of_answers(sent: Any, read: int) -> None:
    openai = parse_usage({"prompt_tokens": 3, "completion_tokens": sent})
    anthropic = parse_anthropic_usage({"input_tokens": 3, "output_tokens": sent})
    ollama = parse_ollama_usage({"prompt_eval_count": 3, "eval_count": sent})
    assert [found.completion_tokens for found in (openai, anthropic, ollama)] == [read] * 3


def test_of_prompts() -> None:
    assert parse_usage({"prompt_tokens": HUGE, "completion_tokens": 1}).prompt_tokens == MAX_COUNT
    assert parse_anthropic_usage({"input_tokens": HUGE, "output_tokens": 1}).prompt_tokens == MAX_COUNT
    assert parse_ollama_usage({"prompt_eval_count": HUGE, "eval_count": 1}).prompt_tokens == MAX_COUNT
