"""When two requests are the same, and which answers are worth keeping."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import orjson

from apps.gateway.providers.base import CAPABILITY_EMBEDDINGS
from apps.gateway.selectors.cache import CacheTerms

WITHOUT_EFFECT = frozenset(
    {
        "fallbacks", "metadata", "model", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
        "service_tier", "store", "stream", "stream_options", "user",
    }
)  # fmt: skip
"""Fields that do not change the answer; of `model`, the one that was found for the name counts."""
UNCACHEABLE = frozenset({"audio", "web_search_options"})
"""Fields that ask for what a cache cannot give: sound, and news."""
COMPLETE = "stop"
"""How every choice of an answer ends that is kept: a cut one is no answer, and a tool call is an act, not a text."""


def may_be_cached(request: dict[str, Any], terms: CacheTerms, kind: str) -> bool:
    """Tell whether the policy lets the answer to a request be given again."""
    if kind == CAPABILITY_EMBEDDINGS:
        return terms.is_exact
    temperature = request.get("temperature")
    if (
        terms.max_temperature is not None
        and isinstance(temperature, (int, float))
        and temperature > terms.max_temperature
    ):
        return False
    return not any(request.get(name) is not None for name in UNCACHEABLE)


def identify(
    request: dict[str, Any], *, organization_id: UUID, terms: CacheTerms, guard: str, model: str, kind: str
) -> bytes:
    """Return the hash (32 bytes) under which the answer to a request is found.

    It covers the organization, the policy and its generation, whose answers are shared, the guardrail policy, the model
    that was found, and every field that can change the answer, in whatever order they came.
    """
    fields = {name: value for name, value in request.items() if name not in WITHOUT_EFFECT and value is not None}
    place = (organization_id.hex, terms.policy_id.hex, terms.generation, terms.subject, guard, model, kind)
    text = orjson.dumps((place, fields), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(text, digest_size=32, person=b"portico-cache").digest()


def split_question(request: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return the text of the last user messages and the request without them.

    None when the end of the conversation is not a person's text alone: then there is no question to compare.
    """
    messages: list[dict[str, Any]] = request.get("messages") or []
    first = len(messages)
    while first and messages[first - 1].get("role") == "user":
        first -= 1
    texts = [_plain_text(message) for message in messages[first:]]
    if not texts or None in texts:
        return None
    question = "\n".join(filter(None, texts)).strip()
    return (question, {**request, "messages": messages[:first]}) if question else None


def is_complete(payload: dict[str, Any], kind: str) -> bool:
    """Tell whether an answer is worth keeping."""
    if kind == CAPABILITY_EMBEDDINGS:
        return bool(payload.get("data"))
    choices: list[dict[str, Any]] = payload.get("choices") or []
    return bool(choices) and all(
        choice.get("finish_reason") == COMPLETE and not (choice.get("message") or {}).get("tool_calls")
        for choice in choices
    )


def _plain_text(message: dict[str, Any]) -> str | None:
    content: Any = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or any(part.get("type") != "text" for part in content):
        return None
    return "\n".join(str(part.get("text", "")) for part in content)
