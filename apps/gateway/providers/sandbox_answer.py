"""What the sandbox says: a function of the request and nothing else."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import orjson

from apps.gateway.providers.base import UpstreamRejected, Usage
from apps.gateway.providers.sandbox_prompt import Directives, parse_directives
from apps.gateway.providers.schema_sample import build_sample

QUOTE_LENGTH = 200
EMBEDDING_DIMENSIONS = 256
MAX_EMBEDDING_DIMENSIONS = 4096

# A token of the sandbox is at most eight letters or digits, or one other sign, with the white space before it.
_TOKEN = re.compile(r"\s*(?:\w{1,8}|[^\w\s])|\s+")
_FILLER = (
    "The sandbox keeps on writing because it was asked for a long answer, and it has nothing to say but this. "
    "Every sentence of it is the same, so that two runs can be compared. "
)
_ENDINGS = (
    "",
    "\n\nThings to try next:\n\n- ask for a tool\n- ask for a **long** answer\n- stop me half-way",
    "\n\n```python\nprint('hello from the sandbox')\n```",
    "\n\n| you sent | I counted |\n| --- | --- |\n| messages | {messages} |\n| prompt tokens | {tokens} |",
)


@dataclass(slots=True)
class Answer:
    """All that one call to the sandbox brings about."""

    directives: Directives
    tokens: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)


def split_tokens(text: str) -> list[str]:
    """Return the sandbox's tokens of a text; joined they are the text."""
    return _TOKEN.findall(text)


def build_answer(request: dict[str, Any]) -> Answer:
    """Return the answer to a chat-completions request."""
    messages = [message for message in _list(request.get("messages")) if isinstance(message, dict)]
    asked = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    directives = parse_directives(_text_of(messages[asked]) if asked >= 0 else "")
    prompt_tokens = _count_prompt(request, messages)
    answer = Answer(directives=directives)
    results = [message for message in messages[asked + 1 :] if message.get("role") == "tool"]
    answer.calls = [] if results else _build_calls(request, directives)
    if request.get("reasoning_effort") not in (None, "none"):
        answer.reasoning = split_tokens("The sandbox does not think, but it can show where thoughts would be.")
    if answer.calls:
        answer.finish_reason = "tool_calls"
    else:
        text = _write(request, directives, results, len(messages), prompt_tokens)
        answer.tokens, answer.finish_reason = _limit(request, directives, text)
    called = sum(len(split_tokens(call["function"]["name"] + call["function"]["arguments"])) for call in answer.calls)
    answer.usage = Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=len(answer.tokens) + len(answer.reasoning) + called,
        reasoning_tokens=len(answer.reasoning),
    )
    return answer


def build_embedding(value: str | list[int], dimensions: int) -> list[float]:
    """Return a unit vector for a text or its tokens. Texts that share words are near to each other."""
    words = re.findall(r"\w+", value.lower()) if isinstance(value, str) else [str(token) for token in value]
    vector = [0.0] * dimensions
    for word in words or [""]:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=32).digest()
        for at in range(0, 32, 4):
            slot = int.from_bytes(digest[at : at + 4], "little")
            vector[(slot >> 1) % dimensions] += 1.0 if slot & 1 else -1.0
    norm = math.sqrt(sum(number * number for number in vector))
    if norm == 0.0:
        # Every feature met its opposite.
        vector[0] = norm = 1.0
    return [number / norm for number in vector]


def count_input(value: str | list[int]) -> int:
    """Return the sandbox's tokens of one embeddings input."""
    return len(split_tokens(value)) if isinstance(value, str) else len(value)


def _write(
    request: dict[str, Any], directives: Directives, results: list[dict[str, Any]], messages: int, tokens: int
) -> str:
    if directives.echo is not None:
        return directives.echo
    wanted = request.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        described = wanted.get("json_schema")
        schema = described.get("schema") if isinstance(described, dict) else None
        return orjson.dumps(_sample(schema)).decode()
    if isinstance(wanted, dict) and wanted.get("type") == "json_object":
        return orjson.dumps({"answer": f"sandbox: {directives.text[:QUOTE_LENGTH]}"}).decode()
    if results:
        shown = "\n".join(f"> {_text_of(result)[:QUOTE_LENGTH]}" for result in results)
        return f"The sandbox called its tools, and they answered:\n\n{shown}"
    quote = " ".join(directives.text.split())
    if len(quote) > QUOTE_LENGTH:
        quote = f"{quote[:QUOTE_LENGTH]}…"
    ending = _ENDINGS[hashlib.blake2b(quote.encode("utf-8", "replace"), digest_size=1).digest()[0] % len(_ENDINGS)]
    said = f"You wrote:\n\n> {quote}" if quote else "You wrote nothing that I could repeat."
    return (
        f"This is Portico's **sandbox**: no model was asked, and its price is made up. {said}"
        f"{ending.format(messages=messages, tokens=tokens)}"
    )


def _limit(request: dict[str, Any], directives: Directives, text: str) -> tuple[list[str], str]:
    stops = request.get("stop")
    for stop in [stops] if isinstance(stops, str) else _list(stops):
        if isinstance(stop, str) and stop:
            text = text.split(stop, 1)[0]
    tokens = split_tokens(text)
    if directives.length is not None:
        tokens = list(islice(cycle(split_tokens(_FILLER)), directives.length))
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if isinstance(limit, int) and 0 < limit < len(tokens):
        return tokens[:limit], "length"
    return tokens, "stop"


def _build_calls(request: dict[str, Any], directives: Directives) -> list[dict[str, Any]]:
    offered: dict[str, Any] = {}
    for tool in _list(request.get("tools")):
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            offered[function["name"]] = function.get("parameters") or {}
    choice = request.get("tool_choice")
    if choice == "none" or not offered:
        return []
    wanted = [(name, arguments) for name, arguments in directives.tools if name in offered]
    named = choice.get("function") if isinstance(choice, dict) else None
    forced = named.get("name") if isinstance(named, dict) else None
    if isinstance(forced, str) and forced in offered:
        given = next((arguments for name, arguments in wanted if name == forced), None)
        wanted = [(forced, _sample(offered[forced]) or {} if given is None else given)]
    elif choice == "required" and not wanted:
        name = next(iter(offered))
        wanted = [(name, _sample(offered[name]) or {})]
    if request.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    return [_build_call(at, name, arguments) for at, (name, arguments) in enumerate(wanted)]


def _build_call(at: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    text = orjson.dumps(arguments).decode()
    digest = hashlib.blake2b(f"{at} {name} {text}".encode(), digest_size=12).hexdigest()
    return {"id": f"call_{digest}", "type": "function", "function": {"name": name, "arguments": text}}


def _count_prompt(request: dict[str, Any], messages: list[dict[str, Any]]) -> int:
    total = sum(len(split_tokens(_text_of(message))) for message in messages)
    for name in ("tools", "response_format"):
        if request.get(name):
            total += len(split_tokens(orjson.dumps(request[name]).decode()))
    for message in messages:
        if message.get("tool_calls"):
            total += len(split_tokens(orjson.dumps(message["tool_calls"]).decode()))
    # The provider's own count is never zero, nor is ours.
    return max(1, total)


def _sample(schema: object) -> Any:
    try:
        return build_sample(schema)
    except ValueError as error:
        raise UpstreamRejected(str(error), param="response_format") from error


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    texts = [part.get("text") for part in _list(content) if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
