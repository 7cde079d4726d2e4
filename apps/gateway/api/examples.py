"""Values that the API document shows."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample

MODEL: dict[str, Any] = {
    "id": "model_01kaf2s8e6e4xvh1w0k5t3q9bz",
    "name": "gpt-4o-mini",
    "tier": "T1",
    "context_window": 128_000,
    "max_output_tokens": 16_384,
    "capabilities": ["chat", "tools", "vision", "json"],
    "owned_by": "openai",
    "provider": "openai",
    "providers": ["openai"],
    "prices": {
        "input": "0.150000",
        "output": "0.600000",
        "cached": "0.075000",
        "cache_write": "0.150000",
        "reasoning": "0.600000",
        "currency": "USD",
    },
    "is_sandbox": False,
    "health": "up",
}
PROVIDER: dict[str, Any] = {
    "id": "prov_01kaf2s8e6e4xvh1w0k5t3q9bz",
    "slug": "openai",
    "name": "OpenAI",
    "kind": "openai",
    "is_active": True,
    "model_count": 35,
    "status": "up",
}
PROVIDER_HEALTH: dict[str, Any] = {
    "id": "prov_01kaf2s8e6e4xvh1w0k5t3q9bz",
    "slug": "openai",
    "name": "OpenAI",
    "status": "up",
    "since": "2026-11-20T18:04:11Z",
    "checked_at": "2026-11-21T09:59:58Z",
    "latency_ms": 212,
    "uptime": 0.9986,
    "deployments": [
        {
            "id": "dep_01kaf2s8e6e4xvh1w0k5t3q9bz",
            "model": "gpt-4o-mini",
            "status": "up",
            "breaker": "closed",
            "retry_after_seconds": None,
        },
        {
            "id": "dep_01kaf2s8e6e4xvh1w0k5t3q9c0",
            "model": "gpt-4o",
            "status": "up",
            "breaker": "open",
            "retry_after_seconds": 7.4,
        },
    ],
}
HEALTH_HISTORY: dict[str, Any] = {
    "since": "2026-11-21T08:00:00Z",
    "until": "2026-11-21T10:00:00Z",
    "bucket": "1h",
    "items": [
        {
            "provider": "openai",
            "begins_at": "2026-11-21T08:00:00Z",
            "checks": 60,
            "failures": 1,
            "uptime": 0.983333,
            "latency_ms": 205.3,
            "slowest_ms": 911,
        }
    ],
}
MODEL_USAGE: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "since": "2026-11-01T00:00:00Z",
    "until": "2026-11-21T09:00:00Z",
    "currency": "USD",
    "totals": {
        "requests": 120,
        "errors": 2,
        "prompt_tokens": 48_000,
        "completion_tokens": 9_600,
        "cached_tokens": 12_000,
        "total_tokens": 57_600,
        "cost": "0.012060",
        "cost_micros": 12_060,
        "latency_ms": 840,
        "first_token_ms": 210,
    },
}
# Of the sandbox, so that "Try it out" works wherever Portico runs.
COMPLETION_REQUEST: dict[str, Any] = {
    "model": "sandbox-small",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-8c1f0e",
    "object": "chat.completion",
    "created": 1_795_250_000,
    "model": "sandbox-small",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Air scatters short waves most.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 13,
        "completion_tokens": 7,
        "total_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
}
COMPLETION_STREAM = (
    'data: {"id":"chatcmpl-8c1f0e","object":"chat.completion.chunk","created":1795250000,"model":"sandbox-small",'
    '"choices":[{"index":0,"delta":{"role":"assistant","content":"Air"},"finish_reason":null}]}\n\n'
    'data: {"id":"chatcmpl-8c1f0e","object":"chat.completion.chunk","created":1795250000,"model":"sandbox-small",'
    '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    "data: [DONE]\n\n"
)
EMBEDDING_REQUEST: dict[str, Any] = {"model": "sandbox-embedding", "input": "Why is the sky blue?"}
EMBEDDING: dict[str, Any] = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}],
    "model": "sandbox-embedding",
    "usage": {"prompt_tokens": 6, "total_tokens": 6},
}
OPENAI_MODEL: dict[str, Any] = {
    "id": "gpt-4o-mini",
    "object": "model",
    "created": 1_795_250_000,
    "owned_by": "openai",
}

COMPARE_REQUEST: dict[str, Any] = {
    "models": ["sandbox-small", "sandbox-large"],
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
}
_COMPARED: dict[str, Any] = {
    "model": "sandbox-small",
    "message": {"role": "assistant", "content": "Air scatters short waves most."},
    "finish_reason": "stop",
    "provider": "sandbox",
    "request_id": "req_01kaf2s8e6e4xvh1w0k5t3q9bz",
    "attempts": 1,
    "usage": COMPLETION["usage"],
    "cost": "0.000020",
    "cost_micros": 20,
    "latency_ms": 412,
    "first_token_ms": 88,
    "cache": "",
    "error": None,
}
COMPARISON: dict[str, Any] = {
    "id": "cmp_01kaf2s8e6e4xvh1w0k5t3q9bz",
    "results": [
        _COMPARED,
        {
            **_COMPARED,
            "model": "sandbox-large",
            "message": {"role": "assistant", "content": "Air scatters short waves of light most."},
        },
    ],
    "differences": [
        {
            "first": "sandbox-small",
            "second": "sandbox-large",
            "similarity": 0.8333,
            "words_only_in_first": 0,
            "words_only_in_second": 2,
        }
    ],
    "cost": "0.000040",
    "cost_micros": 40,
    "currency": "USD",
}
COMPARISON_STREAM = (
    'event: comparison.started\ndata: {"id":"cmp_01kaf2s8e6e4xvh1w0k5t3q9bz"}\n\n'
    'event: model.delta\ndata: {"model":"sandbox-small","delta":"Air scatters"}\n\n'
    'event: model.delta\ndata: {"model":"sandbox-large","delta":"Air scatters"}\n\n'
    'event: model.done\ndata: {"model":"sandbox-small",…}\n\n'
    'event: model.done\ndata: {"model":"sandbox-large",…}\n\n'
    'event: comparison.done\ndata: {"id":"cmp_01kaf2s8e6e4xvh1w0k5t3q9bz",…}\n\n'
)


def sent(value: Any) -> OpenApiExample:
    """Return an example of a request."""
    return OpenApiExample("Request", value=value, request_only=True)


def answered(value: Any, *, media_type: str = "application/json") -> OpenApiExample:
    """Return an example of an answer."""
    name = "Answer" if media_type == "application/json" else "Streamed answer"
    return OpenApiExample(name, value=value, response_only=True, media_type=media_type)
