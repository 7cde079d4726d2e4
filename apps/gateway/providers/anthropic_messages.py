"""OpenAI's messages in Anthropic's words: a system prompt and turns of blocks that alternate."""

from __future__ import annotations

import re
from typing import Any

import orjson

from apps.core.nesting import load_shallow
from apps.gateway.providers.base import UpstreamRejected

Block = dict[str, Any]

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+=-]+)*?;base64,", re.IGNORECASE)
_FOREIGN_IN_ID = re.compile(r"[^A-Za-z0-9_-]")


def translate_messages(messages: object) -> tuple[list[Block], list[dict[str, Any]]]:
    """Return the system blocks and the turns.

    System and developer messages are gathered in front, wherever they stood. Neighbours of one role become one turn,
    so that the results of parallel tool calls come together, as Anthropic demands.
    Raises `UpstreamRejected` for what Anthropic has no words for.
    """
    if not isinstance(messages, list):
        raise UpstreamRejected("messages must be a list.", param="messages")
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        param = f"messages.{index}"
        if not isinstance(message, dict):
            raise UpstreamRejected("Every message must be an object.", param=param)
        match message.get("role"):
            case "system" | "developer":
                system.extend(_translate_content(message.get("content"), param))
            case "user":
                _append(turns, "user", _translate_content(message.get("content"), param))
            case "assistant":
                _append(turns, "assistant", _translate_assistant(message, param))
            case "tool":
                _append(turns, "user", [_translate_result(message, param)])
            case role:
                raise UpstreamRejected(f"Role {role!r} is not supported by this provider.", param=f"{param}.role")
    return _open_with_user(system, turns)


def _append(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"].extend(blocks)
    else:
        turns.append({"role": role, "content": blocks})


def _open_with_user(system: list[Block], turns: list[dict[str, Any]]) -> tuple[list[Block], list[dict[str, Any]]]:
    if not turns:
        if not system:
            raise UpstreamRejected("messages must hold at least one message with content.", param="messages")
        # OpenAI answers a system prompt alone; here somebody has to speak first.
        return [], [{"role": "user", "content": system}]
    if turns[0]["role"] == "assistant":
        turns.insert(0, {"role": "user", "content": [{"type": "text", "text": "(The assistant speaks first.)"}]})
    last = turns[-1]
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        # A prefilled answer must not end in white space, nor be empty.
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip() or "."
    return system, turns


def _translate_content(content: object, param: str) -> list[Block]:
    if content is None:
        return []
    if isinstance(content, str):
        return _text_blocks({"text": content})
    if not isinstance(content, list):
        raise UpstreamRejected("content must be a text or a list of parts.", param=f"{param}.content")
    blocks: list[Block] = []
    for index, part in enumerate(content):
        blocks.extend(_translate_part(part, f"{param}.content.{index}"))
    return blocks


def _translate_part(part: object, param: str) -> list[Block]:
    if isinstance(part, str):
        return _text_blocks({"text": part})
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict):
        raise UpstreamRejected("Every content part must be an object.", param=param)
    match kind:
        case "text":
            return _text_blocks(part)
        case "refusal":
            return _text_blocks({"text": part.get("refusal")})
        case "image_url":
            return [_keep_cache_control(part, {"type": "image", "source": _image_source(part, param)})]
        case "file":
            return [_keep_cache_control(part, _document(part.get("file"), param))]
        case "thinking" | "redacted_thinking" | "document" | "image":
            # Anthropic's own blocks inside OpenAI's envelope: they need no translation.
            return [part]
    raise UpstreamRejected(f"Content of type {kind!r} is not supported by this provider.", param=param)


def _text_blocks(part: dict[str, Any]) -> list[Block]:
    # Anthropic refuses empty text blocks; OpenAI's clients send them.
    text = part.get("text")
    return [_keep_cache_control(part, {"type": "text", "text": text})] if isinstance(text, str) and text else []


def _keep_cache_control(part: dict[str, Any], block: Block) -> Block:
    if isinstance(part.get("cache_control"), dict):
        block["cache_control"] = part["cache_control"]
    return block


def _image_source(part: dict[str, Any], param: str) -> dict[str, str]:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str) or not url:
        raise UpstreamRejected("An image needs a URL.", param=f"{param}.image_url")
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    match = _DATA_URL.match(url)
    if match is None:
        raise UpstreamRejected("An image's URL must be https or base64 data.", param=f"{param}.image_url")
    media_type = (match[1] or "image/png").lower().replace("image/jpg", "image/jpeg")
    return {"type": "base64", "media_type": media_type, "data": url[match.end() :]}


def _document(file: object, param: str) -> Block:
    data = file.get("file_data") if isinstance(file, dict) else None
    match = _DATA_URL.match(data) if isinstance(data, str) else None
    if not isinstance(file, dict) or not isinstance(data, str) or match is None:
        raise UpstreamRejected("A file must be given as base64 data to this provider.", param=f"{param}.file")
    media_type = (match[1] or "application/pdf").lower()
    source = {"type": "base64", "media_type": media_type, "data": data[match.end() :]}
    document: Block = {"type": "document", "source": source}
    if file.get("filename"):
        document["title"] = str(file["filename"])
    return document


def _translate_assistant(message: dict[str, Any], param: str) -> list[Block]:
    blocks: list[Block] = []
    for block in _list(message.get("thinking_blocks")):
        # Given out by our answers; signatures are checked, so that the rest must come back unchanged.
        if isinstance(block, dict) and block.get("type") in ("thinking", "redacted_thinking"):
            blocks.append({name: value for name, value in block.items() if name != "index"})
    blocks.extend(_translate_content(message.get("content"), param))
    for index, call in enumerate(_list(message.get("tool_calls"))):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise UpstreamRejected("A tool call needs a function with a name.", param=f"{param}.tool_calls.{index}")
        blocks.append(
            {
                "type": "tool_use",
                "id": _tool_id(call.get("id")),
                "name": function["name"],
                "input": _decode_arguments(function.get("arguments")),
            }
        )
    return blocks


def _translate_result(message: dict[str, Any], param: str) -> Block:
    content = _translate_content(message.get("content"), param)
    result: Block = {"type": "tool_result", "tool_use_id": _tool_id(message.get("tool_call_id"))}
    if content:
        result["content"] = content
    return _keep_cache_control(message, result)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _tool_id(value: object) -> str:
    # Ids of other providers may hold signs that Anthropic refuses; both ends of a pair change alike.
    return _FOREIGN_IN_ID.sub("_", str(value or "")) or "call"


def _decode_arguments(arguments: object) -> dict[str, Any]:
    if isinstance(arguments, dict):
        return arguments
    try:
        decoded = load_shallow(arguments) if isinstance(arguments, str) and arguments.strip() else {}
    except orjson.JSONDecodeError:
        # What the model wrote in an earlier turn was no JSON. It should still see its own mistake.
        return {"arguments": arguments}
    return decoded if isinstance(decoded, dict) else {"arguments": decoded}
