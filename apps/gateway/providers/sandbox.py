"""A provider without a network: deterministic, free, and obedient to prompts that ask for trouble."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any, ClassVar

from apps.core.http import HttpSession
from apps.gateway.providers.base import (
    CAPABILITY_CHAT,
    CAPABILITY_EMBEDDINGS,
    CAPABILITY_MODELS,
    Chunk,
    Completion,
    Target,
    UpstreamBroken,
    UpstreamRejected,
    UpstreamTimedOut,
    Usage,
)
from apps.gateway.providers.chunk_writer import ChunkWriter, wants_usage
from apps.gateway.providers.embeddings import encode_vector
from apps.gateway.providers.refusals import error_from_object
from apps.gateway.providers.sandbox_answer import (
    EMBEDDING_DIMENSIONS,
    MAX_EMBEDDING_DIMENSIONS,
    Answer,
    build_answer,
    build_embedding,
    count_input,
)

MODELS = ("sandbox-small", "sandbox-large", "sandbox-embedding")
RETRY_AFTER_SECONDS = 1.0


class SandboxProvider:
    """Answers in the process itself. What prompts can ask of it: see `sandbox_prompt.Directives`.

    `n` is taken as 1; `max_tokens`, `stop`, `tools`, `tool_choice`, `parallel_tool_calls`, `response_format` and
    `reasoning_effort` are honoured, all else is without effect. Usage is counted in tokens of its own (see
    `sandbox_answer.split_tokens`), exactly those that it streams.
    """

    kind: ClassVar[str] = "sandbox"
    capabilities: ClassVar[frozenset[str]] = frozenset({CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, CAPABILITY_MODELS})

    async def complete(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer a chat-completions request in one piece."""
        answer = build_answer(request)
        await _obey(answer, target)
        if answer.directives.cut_after is not None:
            raise _cut(target)
        message: dict[str, Any] = {"role": "assistant", "content": "".join(answer.tokens) if not answer.calls else None}
        if answer.reasoning:
            message["reasoning_content"] = "".join(answer.reasoning)
        if answer.calls:
            message["tool_calls"] = answer.calls
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
        payload = {
            "id": _completion_id(request_id),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": target.upstream_model,
            "choices": [choice],
            "usage": answer.usage.as_openai(),
        }
        return Completion(None, payload, answer.usage, answer.finish_reason, None)

    async def stream(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> AsyncIterator[list[Chunk]]:
        """Yield the answer token by token, each in a list of its own."""
        answer = build_answer(request)
        await _obey(answer, target)
        writer = ChunkWriter(
            model=target.upstream_model, completion_id=_completion_id(request_id), has_usage=wants_usage(request)
        )
        pace = answer.directives.pace_seconds
        for at, chunk in enumerate(_chunks(writer, answer)):
            if answer.directives.cut_after is not None and at > answer.directives.cut_after:
                raise _cut(target)
            yield [chunk]
            # Even without a pace others get their turn, and a closed stream ends here.
            await asyncio.sleep(pace if at else 0)
        if answer.directives.cut_after is not None:
            raise _cut(target)
        yield [writer.write_finish(answer.finish_reason), writer.write_usage(answer.usage)]

    async def embed(
        self, *, session: HttpSession, target: Target, request: dict[str, Any], request_id: str
    ) -> Completion:
        """Answer an embeddings request; `dimensions` (256 when silent) and `encoding_format` are honoured."""
        inputs = _inputs(request.get("input"))
        dimensions = request.get("dimensions") or EMBEDDING_DIMENSIONS
        if not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_EMBEDDING_DIMENSIONS:
            raise UpstreamRejected(f"dimensions must be 1 to {MAX_EMBEDDING_DIMENSIONS}.", param="dimensions")
        is_base64 = request.get("encoding_format") == "base64"
        data = []
        for index, value in enumerate(inputs):
            vector = build_embedding(value, dimensions)
            shown = encode_vector(vector) if is_base64 else vector
            data.append({"object": "embedding", "index": index, "embedding": shown})
        usage = Usage(prompt_tokens=max(1, sum(count_input(value) for value in inputs)))
        counts = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
        payload = {"object": "list", "data": data, "model": target.upstream_model, "usage": counts}
        return Completion(None, payload, usage, None, None)

    async def list_models(self, *, session: HttpSession, target: Target) -> list[str]:
        """Return the sandbox's model names; any other name works as well."""
        return list(MODELS)


async def _obey(answer: Answer, target: Target) -> None:
    stall = answer.directives.stall_seconds
    if stall:
        await asyncio.sleep(min(stall, target.read_timeout_seconds))
        if stall > target.read_timeout_seconds:
            raise UpstreamTimedOut(f"Provider {target.provider!r} sent nothing for too long.")
    status = answer.directives.fail_status
    if status is not None:
        error = {"message": f"The prompt asked the sandbox to fail with status {status}.", "code": "sandbox_failure"}
        raise error_from_object(target=target, status=status, error=error, retry_after=RETRY_AFTER_SECONDS)


def _cut(target: Target) -> UpstreamBroken:
    return UpstreamBroken(f"Provider {target.provider!r} cut its answer short.")


def _completion_id(request_id: str) -> str:
    return f"chatcmpl-{hashlib.blake2b(request_id.encode(), digest_size=12).hexdigest()}"


def _chunks(writer: ChunkWriter, answer: Answer) -> list[Chunk]:
    chunks = [writer.write_role()]
    chunks.extend(writer.write_reasoning(token) for token in answer.reasoning)
    for index, call in enumerate(answer.calls):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        chunks.append(writer.write_call(index, call["id"], name))
        # In two halves, so that clients meet arguments in fragments.
        middle = len(arguments) // 2
        chunks.append(writer.write_arguments(index, arguments[:middle]))
        chunks.append(writer.write_arguments(index, arguments[middle:]))
    chunks.extend(writer.write_text(token) for token in answer.tokens)
    return chunks


def _inputs(value: object) -> list[str | list[int]]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, int) for item in value):
            return [value]
        if all(isinstance(item, (str, list)) for item in value):
            return value
    raise UpstreamRejected("input must be a text, a list of texts, or lists of tokens.", param="input")
