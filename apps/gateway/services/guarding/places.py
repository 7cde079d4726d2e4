"""Where texts are in a canonical request and in an answer, and the same object with other texts in their places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from apps.gateway.services.guarding.json_texts import JsonText, read_json

Path = tuple[str | int, ...]
TRUSTED_ROLES = frozenset({"system", "developer"})
"""Whose messages are the operator's own: nobody injects anything into a prompt by writing it."""
_NAMING = ("user", "safety_identifier", "prompt_cache_key")
_DESCRIBING = ("tools", "functions", "response_format")
_FORMAL = frozenset({"type", "name", "format", "pattern", "required", "$ref", "$id", "$schema", "cache_control"})
"""Fields of tools and schemas that are form: another text there would be another tool."""


class Place(NamedTuple):
    """One text of a request or an answer."""

    path: Path
    text: str
    """What is said there."""
    role: str = "user"
    json: JsonText | None = None
    """For a text that is JSON itself, as the arguments of tool calls are: the way back to it."""

    @property
    def source(self) -> str:
        """Return what stands there."""
        return self.text if self.json is None else self.json.source


def request_places(request: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the texts of a canonical request that are for the model; images and the like are passed over."""
    messages = request.get("messages")
    for index, message in enumerate(messages) if isinstance(messages, list) else ():
        if isinstance(message, dict):
            role = message.get("role")
            yield from _message_places(message, ("messages", index), role if isinstance(role, str) else "user")
    for name in ("input", "prompt", "suffix", "instructions", "query"):
        yield from _content_places(request.get(name), (name,), "user")
    system = request.get("system")
    if system is not None:
        yield from _content_places(system, ("system",), "system")
    for name in _NAMING:
        yield from _content_places(request.get(name), (name,), "system")
    for name in _DESCRIBING:
        if request.get(name):
            yield from _described_places(request[name], (name,))
    if request.get("metadata"):
        yield from _described_places(request["metadata"], ("metadata",))
    prediction = request.get("prediction")
    if isinstance(prediction, dict):
        yield from _content_places(prediction.get("content"), ("prediction", "content"), "assistant")


def asks_for_json(request: Mapping[str, Any]) -> bool:
    """Tell whether the answer to a request is to be JSON."""
    wanted = request.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") in {"json_object", "json_schema"}


def answer_places(payload: Mapping[str, Any], *, is_json: bool = False) -> Iterator[Place]:
    """Yield the texts of a chat completion: of every choice what it says, thinks, refuses and calls.

    `is_json`: what it says was asked for as JSON.
    """
    choices = payload.get("choices")
    for index, choice in enumerate(choices) if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            if isinstance(choice.get("message"), dict):
                for place in _message_places(choice["message"], ("choices", index, "message"), "assistant"):
                    is_said = is_json and place.path[3:] == ("content",)
                    yield _json_place(place.path, place.text, place.role) if is_said else place
            if isinstance(choice.get("text"), str):
                yield Place(("choices", index, "text"), choice["text"], "assistant")


def holds_tokens(request: Mapping[str, Any]) -> bool:
    """Tell whether texts are given as numbers of tokens, which nobody can look through."""
    for name in ("input", "prompt"):
        value = request.get(name)
        if isinstance(value, list) and value:
            first = value[0]
            if (isinstance(first, int) and not isinstance(first, bool)) or isinstance(first, list):
                return True
    return False


def replace_texts(source: Mapping[str, Any], texts: Mapping[Path, str]) -> dict[str, Any]:
    """Return a copy with other texts; what does not change is shared, and the source stays as it is."""
    copies: dict[Path, Any] = {(): dict(source)}
    for path, text in texts.items():
        for length in range(1, len(path)):
            if path[:length] not in copies:
                parent = copies[path[: length - 1]]
                found = parent[path[length - 1]]
                copies[path[:length]] = parent[path[length - 1]] = (
                    dict(found) if isinstance(found, dict) else list(found)
                )
        copies[path[:-1]][path[-1]] = text
    whole: dict[str, Any] = copies[()]
    return whole


def _message_places(message: Mapping[str, Any], path: Path, role: str) -> Iterator[Place]:
    yield from _content_places(message.get("content"), (*path, "content"), role)
    for name in ("name", "reasoning_content", "reasoning", "refusal"):
        if isinstance(message.get(name), str) and message[name]:
            yield Place((*path, name), message[name], role)
    calls = message.get("tool_calls")
    for index, call in enumerate(calls) if isinstance(calls, list) else ():
        if isinstance(call, dict):
            for kind, name in (("function", "arguments"), ("custom", "input")):
                inner = call.get(kind)
                if isinstance(inner, dict) and isinstance(inner.get(name), str):
                    place = (*path, "tool_calls", index, kind, name)
                    yield (
                        _json_place(place, inner[name], role) if kind == "function" else Place(place, inner[name], role)
                    )
    legacy = message.get("function_call")
    if isinstance(legacy, dict) and isinstance(legacy.get("arguments"), str):
        yield _json_place((*path, "function_call", "arguments"), legacy["arguments"], role)
    blocks = message.get("thinking_blocks")
    for index, block in enumerate(blocks) if isinstance(blocks, list) else ():
        if isinstance(block, dict) and isinstance(block.get("thinking"), str):
            yield Place((*path, "thinking_blocks", index, "thinking"), block["thinking"], role)
    audio = message.get("audio")
    if isinstance(audio, dict) and isinstance(audio.get("transcript"), str):
        yield Place((*path, "audio", "transcript"), audio["transcript"], role)


def _content_places(content: Any, path: Path, role: str) -> Iterator[Place]:
    if isinstance(content, str):
        if content:
            yield Place(path, content, role)
    elif isinstance(content, list):
        for index, part in enumerate(content):
            if isinstance(part, str) and part:
                yield Place((*path, index), part, role)
            elif isinstance(part, dict):
                for name in ("text", "refusal"):
                    if isinstance(part.get(name), str) and part[name]:
                        yield Place((*path, index, name), part[name], role)
                if isinstance(part.get("content"), list):
                    yield from _content_places(part["content"], (*path, index, "content"), role)


def _json_place(path: Path, source: str, role: str) -> Place:
    said, json = read_json(source)
    return Place(path, said, role, json)


def _described_places(value: Any, path: Path) -> Iterator[Place]:
    """Yield what descriptions of tools and formats say, at any depth: descriptions, choices, examples."""
    if isinstance(value, str):
        if value:
            yield Place(path, value, "system")
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name not in _FORMAL or isinstance(inner, dict):
                yield from _described_places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _described_places(inner, (*path, index))
