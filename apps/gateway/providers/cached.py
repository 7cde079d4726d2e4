"""The pseudo-provider `cache`: gives an answer that was given before, whole or as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from apps.core.http import HttpSession
from apps.gateway.providers.base import (
    CAPABILITY_CHAT,
    CAPABILITY_EMBEDDINGS,
    CAPABILITY_MODELS,
    Chunk,
    Completion,
    Target,
    Usage,
)
from apps.gateway.providers.chunk_writer import CHUNK_OBJECT, wants_usage

KIND = "cache"
PIECE = 400
"""Characters of one event of a replayed stream."""
EVENTS_PER_BATCH = 32
_TOLD = ("content", "reasoning_content", "refusal")


@dataclass(frozen=True, slots=True)
class CachedTarget(Target):
    """A target that carries its answer: an OpenAI completion or embeddings object without `usage`."""

    answer: dict[str, Any] = field(default_factory=dict, repr=False)
    usage: Usage = field(default_factory=Usage)


class CachedProvider:
    """Replays the answer of a CachedTarget. Its usage is that of the call that first brought the answer."""

    kind: ClassVar[str] = KIND
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS})

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Return the answer in one piece."""
        return _completion(target)

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Return the vectors."""
        return _completion(target)

    async def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the answer as a stream: as fast as it is read, in events of some hundred characters."""
        assert isinstance(target, CachedTarget)
        head = {name: target.answer.get(name) for name in ("id", "created", "model")}
        head["object"] = CHUNK_OBJECT
        tail: dict[str, Any] = {"usage": None} if wants_usage(request) else {}
        batch: list[Chunk] = []
        for choice in target.answer.get("choices", ()):
            for delta, text, other_text, finish in _deltas(choice):
                told = {"index": choice.get("index", 0), "delta": delta, "finish_reason": finish, "logprobs": None}
                if finish is not None and choice.get("logprobs") is not None:
                    told["logprobs"] = choice["logprobs"]
                data = orjson.dumps({**head, "choices": [told], **tail})
                is_first = told["index"] == 0
                batch.append(
                    Chunk(data, text if is_first else "", other_text + ("" if is_first else text), None, finish)
                )
                if len(batch) == EVENTS_PER_BATCH:
                    yield batch
                    batch = []
        usage = target.usage
        data = orjson.dumps({**head, "choices": [], "usage": usage.as_openai()})
        yield [*batch, Chunk(data, usage=usage, is_usage_chunk=True)]

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return nothing: a cache has no models of its own."""
        return []


def _completion(target: Target) -> Completion:
    assert isinstance(target, CachedTarget)
    payload = {**target.answer, "usage": target.usage.as_openai()}
    choices = payload.get("choices") or [{}]
    return Completion(None, payload, target.usage, choices[0].get("finish_reason"), None)


def _deltas(choice: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str, str | None]]:
    """Yield deltas that say one choice, each with its text, its other text and, at last, the reason of the end."""
    message = choice.get("message") or {}
    rest = {name: value for name, value in message.items() if name not in _TOLD and value is not None}
    if "thinking_blocks" in rest:
        rest["thinking_blocks"] = [{"index": index, **block} for index, block in enumerate(rest["thinking_blocks"])]
    yield {"content": "", **rest, "role": message.get("role", "assistant")}, "", "", None
    for name in ("reasoning_content", "content", "refusal"):
        text = message.get(name) or ""
        for at in range(0, len(text), PIECE):
            piece = text[at : at + PIECE]
            yield {name: piece}, piece if name == "content" else "", "" if name == "content" else piece, None
    yield {}, "", "", choice.get("finish_reason") or "stop"
