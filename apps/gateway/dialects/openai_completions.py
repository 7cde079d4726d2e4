"""OpenAI's completions of a text, over chats: the prompt is what the user says, the completion what the model answers.

| field | becomes |
| --- | --- |
| prompt | one message; of several prompts, one call each. Tokens are made text where the model's vocabulary is public |
| suffix | a request to write what belongs in between |
| echo | the prompt before the text |
| best_of | as many choices; the likeliest `n` where the provider gives logprobs, else the first |
| logprobs | logprobs, top_logprobs |
| max_tokens, temperature, top_p, stop, seed, penalties, logit_bias, n, user, stream | themselves |

Without `max_tokens` the length is the model's, not 16 tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from apps.core.errors import AppError
from apps.gateway.dialects.base import Answering, Asked
from apps.gateway.dialects.openai_chat import DONE, END, PING, PREFIX
from apps.gateway.dialects.openai_checks import (
    BOOLEAN,
    MAX_CHOICES,
    OBJECT,
    TEXT,
    Check,
    check_known,
    check_model,
    check_number,
    check_stop,
    integer,
)
from apps.gateway.dialects.openai_errors import OpenAIErrors, encode_error
from apps.gateway.errors import ParameterInvalid, ParameterMissing
from apps.gateway.providers.base import CAPABILITY_CHAT, Chunk, Completion, Usage
from apps.gateway.providers.chunk_writer import wants_usage
from apps.gateway.providers.tokens import decode_tokens, known_encoding

MAX_PROMPTS = 20
MAX_LOGPROBS = 5
GAP = "\n[…]\n"
FILL_IN = (
    "The user sends a text with a gap, marked […] on a line of its own. Write exactly what belongs into the gap, "
    "and nothing else: no quotes, no explanation, none of the text around it."
)
_PASSED_ON = (
    "model", "temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
    "n", "user", "stream", "stream_options",
)  # fmt: skip
_CHECKS: dict[str, Check] = {
    "best_of": integer(1, 20),
    "echo": BOOLEAN,
    "frequency_penalty": check_number,
    "logit_bias": OBJECT,
    "logprobs": integer(0, MAX_LOGPROBS),
    "max_tokens": integer(1),
    "n": integer(1, MAX_CHOICES),
    "presence_penalty": check_number,
    "seed": integer(),
    "stop": check_stop,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "suffix": TEXT,
    "temperature": check_number,
    "top_p": check_number,
    "user": TEXT,
}


@dataclass(frozen=True, slots=True)
class TextOptions:
    """What the way back needs to know. `first_index` is the number of this prompt's first choice."""

    prompt: str
    choices: int
    has_echo: bool
    wants_logprobs: bool
    wants_usage: bool
    first_index: int = 0


class OpenAICompletions(OpenAIErrors):
    """POST /v1/completions with one prompt."""

    name: ClassVar[str] = "openai.completions"
    endpoint: ClassVar[str] = "completions"
    kind: ClassVar[str] = CAPABILITY_CHAT

    def read(self, body: dict[str, Any]) -> Asked:
        """Understand a request for one prompt."""
        return read_prompts(body)[0]

    def write(self, completion: Completion, call: Answering, asked: Asked) -> bytes:
        """Return the answer."""
        return orjson.dumps(describe_answer(completion, call, asked.options))

    def writer(self, call: Answering, asked: Asked) -> TextWriter:
        """Return the writer of a stream."""
        return TextWriter(call, asked.options)


def read_prompts(body: dict[str, Any]) -> list[Asked]:
    """Understand a request: one chat for each prompt. Raise ParameterMissing or ParameterInvalid."""
    check_model(body)
    check_known(body, _CHECKS)
    prompts = _list_prompts(body)
    count = body.get("n") or 1
    best_of = body.get("best_of") or count
    if best_of < count:
        raise ParameterInvalid("`best_of` has to be at least `n`.", param="best_of")
    if best_of > count and body.get("stream"):
        raise ParameterInvalid("`best_of` cannot be streamed: what is best is known in the end.", param="best_of")
    common = {name: body[name] for name in _PASSED_ON if body.get(name) is not None}
    if best_of > 1:
        common["n"] = best_of
    logprobs = body.get("logprobs")
    if logprobs is not None or best_of > count:
        common["logprobs"] = True
        if logprobs:
            common["top_logprobs"] = logprobs
    return [
        Asked(
            {**common, "messages": _write_messages(prompt, body.get("suffix"))},
            options=TextOptions(
                prompt=prompt,
                choices=count,
                has_echo=bool(body.get("echo")),
                wants_logprobs=logprobs is not None,
                wants_usage=wants_usage(body),
                first_index=at * count,
            ),
        )
        for at, prompt in enumerate(prompts)
    ]


def describe_answer(completion: Completion, call: Answering, options: TextOptions) -> dict[str, Any]:
    """Return the answer object."""
    payload = completion.payload if completion.payload is not None else orjson.loads(completion.body or b"{}")
    chosen = sorted(payload.get("choices") or (), key=_unlikelihood)[: options.choices]
    return {
        **_head(call),
        "choices": [_describe_choice(choice, options, at) for at, choice in enumerate(chosen)],
        "usage": call.settled_usage().as_openai(),
    }


def merge_answers(answers: list[dict[str, Any]], usages: list[Usage]) -> dict[str, Any]:
    """Return the answers to several prompts as one."""
    total = Usage()
    for usage in usages:
        total.prompt_tokens += usage.prompt_tokens
        total.completion_tokens += usage.completion_tokens
        total.cached_tokens += usage.cached_tokens
        total.reasoning_tokens += usage.reasoning_tokens
        total.cache_write_tokens += usage.cache_write_tokens
    choices = [choice for answer in answers for choice in answer["choices"]]
    return {**answers[0], "choices": choices, "usage": total.as_openai()}


def stream_answer(answer: dict[str, Any], *, has_usage: bool) -> bytes:
    """Return a whole answer as the events of a stream."""
    usage = answer.pop("usage")
    events = [{**answer, "choices": [choice]} for choice in answer["choices"]]
    if has_usage:
        events = [{**event, "usage": None} for event in events]
        events.append({**answer, "choices": [], "usage": usage})
    return b"".join(PREFIX + orjson.dumps(event) + END for event in events) + DONE


class TextWriter:
    """Server-sent events of one streamed completion."""

    def __init__(self, call: Answering, options: TextOptions) -> None:
        self.ping = PING
        self._call = call
        self._options = options
        self._offsets: dict[int, int] = {}

    def write(self, batch: list[Chunk]) -> bytes:
        """Return the events of one network read."""
        events: list[dict[str, Any]] = []
        for chunk in batch:
            if chunk.data and not chunk.is_usage_chunk:
                payload = orjson.loads(chunk.data)
                events += [event for choice in payload.get("choices") or () for event in self._translate(choice)]
        return b"".join(self._encode({"choices": [event]}) for event in events)

    def close(self) -> bytes:
        """Return the usage where it was asked for, and the mark of the end."""
        if not self._options.wants_usage:
            return DONE
        event = {**_head(self._call), "choices": [], "usage": self._call.settled_usage().as_openai()}
        return PREFIX + orjson.dumps(event) + END + DONE

    def fail(self, error: AppError) -> bytes:
        """Return the event of a failure."""
        return PREFIX + encode_error(error) + END

    def _translate(self, choice: dict[str, Any]) -> list[dict[str, Any]]:
        index = choice.get("index") or 0
        said = (choice.get("delta") or {}).get("content")
        text = said if isinstance(said, str) else ""
        found: list[dict[str, Any]] = []
        if index not in self._offsets:
            self._offsets[index] = len(self._options.prompt) if self._options.has_echo else 0
            if self._options.has_echo:
                found.append(self._choice(index, self._options.prompt, None, None))
        finish = _finish(choice.get("finish_reason"))
        if text or finish:
            logprobs = None
            if self._options.wants_logprobs and text:
                logprobs = _translate_logprobs(choice.get("logprobs"), self._offsets[index])
            found.append(self._choice(index, text, finish, logprobs))
        self._offsets[index] += len(text)
        return found

    def _choice(self, index: int, text: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}

    def _encode(self, fields: dict[str, Any]) -> bytes:
        event = {**_head(self._call), **fields}
        if self._options.wants_usage:
            event["usage"] = None
        return PREFIX + orjson.dumps(event) + END


def _head(call: Answering) -> dict[str, Any]:
    return {
        "id": f"cmpl-{call.request_id.hex}",
        "object": "text_completion",
        "created": call.created,
        "model": call.model,
    }


def _list_prompts(body: dict[str, Any]) -> list[str]:
    given = body.get("prompt")
    if given is None:
        raise ParameterMissing("Send the text to complete in `prompt`.", param="prompt")
    if isinstance(given, list) and given and all(type(item) is int for item in given):
        given = [given]
    prompts = given if isinstance(given, list) else [given]
    if not prompts or len(prompts) > MAX_PROMPTS:
        raise ParameterInvalid(f"`prompt` takes 1 to {MAX_PROMPTS} texts.", param="prompt")
    return [_read_prompt(prompt, body["model"]) for prompt in prompts]


def _read_prompt(prompt: Any, model: str) -> str:
    if isinstance(prompt, str) and prompt:
        return prompt
    if not isinstance(prompt, list) or not prompt or any(type(token) is not int for token in prompt):
        raise ParameterInvalid(
            "`prompt` has to be a text that is not empty, tokens, or an array of either.", param="prompt"
        )
    encoding = known_encoding(model)
    text = decode_tokens(prompt, encoding) if encoding else None
    if text is None:
        reason = "are not of its vocabulary" if encoding else "cannot be read, because its vocabulary is not public"
        raise ParameterInvalid(f"The tokens for model {model[:200]!r} {reason}; send the text.", param="prompt")
    return text


def _write_messages(prompt: str, suffix: str | None) -> list[dict[str, Any]]:
    if not suffix:
        return [{"role": "user", "content": prompt}]
    return [{"role": "system", "content": FILL_IN}, {"role": "user", "content": f"{prompt}{GAP}{suffix}"}]


def _unlikelihood(choice: dict[str, Any]) -> float:
    """Return how unlikely a choice is per token; the same for all where nobody says."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    values = [entry["logprob"] for entry in content or () if isinstance(entry.get("logprob"), int | float)]
    return -sum(values) / len(values) if values else 0.0


def _describe_choice(choice: dict[str, Any], options: TextOptions, at: int) -> dict[str, Any]:
    said = (choice.get("message") or {}).get("content")
    text = said if isinstance(said, str) else ""
    offset = len(options.prompt) if options.has_echo else 0
    return {
        "text": f"{options.prompt}{text}" if options.has_echo else text,
        "index": options.first_index + at,
        "logprobs": _translate_logprobs(choice.get("logprobs"), offset) if options.wants_logprobs else None,
        "finish_reason": _finish(choice.get("finish_reason")) or "stop",
    }


def _finish(reason: Any) -> str | None:
    """Return the reason of the end in the words of this endpoint, which knows no tools."""
    return None if not reason else reason if reason in ("length", "content_filter") else "stop"


def _translate_logprobs(given: Any, offset: int) -> dict[str, Any] | None:
    content = given.get("content") if isinstance(given, dict) else None
    if not content:
        return None
    offsets = []
    for entry in content:
        offsets.append(offset)
        offset += len(entry.get("token") or "")
    return {
        "tokens": [entry.get("token") for entry in content],
        "token_logprobs": [entry.get("logprob") for entry in content],
        "top_logprobs": [
            {top.get("token"): top.get("logprob") for top in entry.get("top_logprobs") or ()} for entry in content
        ],
        "text_offset": offsets,
    }
