"""Whatever a client sends: its own error, or a request that every adapter can take or refuse in words. Never a crash."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.errors import AppError
from apps.gateway.dialects.anthropic.checks import check_message_request
from apps.gateway.dialects.anthropic.counting import count_input
from apps.gateway.dialects.anthropic.request import fit_request, read_request
from apps.gateway.dialects.openai_checks import check_chat
from apps.gateway.providers.anthropic_origin import make_plain
from apps.gateway.providers.anthropic_request import translate_request
from apps.gateway.providers.base import Target, UpstreamError
from apps.gateway.providers.ollama_request import translate_chat
from apps.gateway.providers.sandbox_answer import build_answer
from apps.gateway.providers.tokens import estimate_prompt
from apps.gateway.services.facts import gather_facts

TARGET = Target("acme", "anthropic", "http://127.0.0.1:1", "", "claude-sonnet-4-5")

_scalars = st.sampled_from([None, True, False, 0, 1, -1, 2.5, "", "x", "user", "text", "auto", "tool", "data:;base64,"])
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "name", "content", "source", "id", "effort"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_words = st.sampled_from(["", "x", "a b", "{}", "data:;base64,"])
_marks = st.none() | _values


def _block(kind: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.just(kind), **required}, optional={"cache_control": _marks, "citations": _values, **optional}
    )


_sources = st.one_of(
    st.fixed_dictionaries({"type": st.just("base64"), "media_type": _words, "data": _words}),
    st.fixed_dictionaries({"type": st.just("url"), "url": _words}),
    st.fixed_dictionaries({"type": st.just("text"), "data": _words}),
    st.fixed_dictionaries({"type": st.just("content"), "content": _words}),
    st.fixed_dictionaries({"type": st.just("file")}, optional={"file_id": _values}),
)
_texts = _block("text", {"text": _words})
_blocks = st.one_of(
    _texts,
    _block("image", {"source": _sources}),
    _block("document", {"source": _sources}, title=_values, context=_values),
    _block("search_result", {"content": st.lists(_texts, max_size=2)}, title=_values, source=_values),
    _block("tool_use", {"id": _words, "name": _words, "input": st.dictionaries(_words, _values, max_size=2)}),
    _block("tool_result", {"tool_use_id": _words}, content=st.lists(_texts, max_size=2) | _words, is_error=_values),
    _block("thinking", {"thinking": _words}, signature=_values),
    _block("redacted_thinking", {}, data=_values),
    _block("tool_reference", {}, tool_name=_values),
    _block("server_tool_use", {}, input=_values, content=_values),
)
_turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.lists(_blocks, max_size=3) | _words}
)
_tools = st.fixed_dictionaries(
    {"name": st.sampled_from(["look", "x" * 100]), "input_schema": st.dictionaries(_words, _values, max_size=2)},
    optional={
        "type": st.sampled_from([None, "custom", "bash_20250124"]),
        "description": _values,
        "strict": _values,
        "cache_control": _marks,
    },
)
_choices = st.fixed_dictionaries(
    {"type": st.sampled_from(["auto", "any", "none", "tool", "other"]), "name": _words},
    optional={"disable_parallel_tool_use": _values},
)
_fields = {
    "messages": st.lists(_turns, min_size=1, max_size=4),
    "system": st.lists(_texts, max_size=2) | _words,
    "tools": st.lists(_tools, max_size=2),
    "tool_choice": _choices,
    "metadata": st.fixed_dictionaries(
        {}, optional={"user_id": st.sampled_from([None, "u", "{1", "[]", "{}"]), "tags": _values}
    ),
    "output_config": st.fixed_dictionaries({}, optional={"effort": _values, "format": _values}),
    "thinking": st.fixed_dictionaries(
        {"type": st.sampled_from(["enabled", "disabled", "adaptive", "other"])}, optional={"budget_tokens": _values}
    ),
    "stop_sequences": st.lists(_words, max_size=2),
    **dict.fromkeys(
        ["service_tier", "cache_control", "mcp_servers", "fallbacks", "disable_fallbacks", "unknown"], _values
    ),
}


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({}, optional=_fields))
def test_nothing_breaks(fields: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], **fields}
    with suppress(AppError):
        _go_through(body)


def _go_through(body: dict[str, Any]) -> None:
    before = orjson.dumps(body)
    check_message_request(body)
    asked = read_request(body)
    assert orjson.dumps(body) == before
    request = asked.request
    check_chat(request)
    gather_facts(request, model=request["model"])
    assert estimate_prompt(request) > 0
    fit_request(request, max_output_tokens=5, can_reason=False)
    assert count_input(body, request, "claude-sonnet-4-5") > 0
    orjson.dumps(make_plain(request, "gpt-5"))
    build_answer(request)
    for translate in (translate_request, translate_chat):
        with suppress(UpstreamError):
            orjson.dumps(translate(request, TARGET))
