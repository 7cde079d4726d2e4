"""Turns of content blocks in the canonical form, where results of tools are messages of their own.

| block | becomes |
| --- | --- |
| text | text, with its cache mark |
| image (base64, url) | image_url |
| document (base64, text, content) | file, or the text itself |
| search_result, tool_reference | text |
| tool_use | tool_calls of the assistant's message |
| tool_result | a message of the tool; its images follow in the user's message, the only place where all providers take them |
| thinking, redacted_thinking | thinking_blocks; what no Claude has signed: reasoning_content |

Anything else only Anthropic understands: it is noted, and such a request goes to a provider of that format or nowhere.
"""

from __future__ import annotations

from typing import Any

import orjson

from apps.gateway.dialects.anthropic.checks import check_blocks, wrong_type
from apps.gateway.errors import ParameterInvalid, ParameterMissing
from apps.gateway.providers.anthropic_origin import UNSIGNED

_SILENT = frozenset({"type", "id", "tool_use_id", "file_id", "data", "signature", "media_type"})
_SILENT_PREFIX = "encrypted_"
"""Fields of a block that say nothing to a reader."""

Part = dict[str, Any]
Message = dict[str, Any]


class ContentReader:
    """Translates the messages of one request; `foreign` names what it met that only Anthropic understands."""

    def __init__(self, shorten_name: Any) -> None:
        self.foreign: list[str] = []
        self.has_unsigned = False
        """Whether a turn holds thinking that we have sent without a signature: no Claude may get it back."""
        self._shorten_name = shorten_name

    def read(self, messages: list[Message]) -> list[Message]:
        """Return the canonical messages. Raise ParameterInvalid or ParameterMissing for a block that is wrong."""
        found: list[Message] = []
        for index, message in enumerate(messages):
            content, name = message["content"], f"messages.{index}.content"
            role = message["role"]
            if isinstance(content, str):
                found.append({"role": role, "content": content})
            elif role == "assistant":
                self._read_assistant(content, name, found)
            elif role == "user":
                self._read_user(content, name, found)
            else:
                found.append({"role": role, "content": join_parts(self._parts(content, name))})
        return found

    def _read_user(self, blocks: list[Part], name: str, found: list[Message]) -> None:
        parts: list[Part] = []
        for index, block in enumerate(blocks):
            where = f"{name}.{index}"
            if block["type"] == "tool_result":
                found.append(self._result(block, where, parts))
            else:
                parts.extend(self._part(block, where))
        if parts:
            found.append({"role": "user", "content": join_parts(parts)})

    def _result(self, block: Part, name: str, beside: list[Part]) -> Message:
        content = block.get("content")
        if content is None or isinstance(content, str):
            text = content or ""
        else:
            texts: list[str] = []
            for part in self._parts(check_blocks(content, f"{name}.content"), f"{name}.content"):
                if part["type"] == "text":
                    texts.append(part["text"])
                else:
                    beside.append(
                        {"type": "text", "text": f"Beside the result of tool call {block.get('tool_use_id')}:"}
                    )
                    beside.append(part)
            text = "\n".join(texts)
        if block.get("is_error") is True:
            text = f"Error: {text}"
        message = {"role": "tool", "tool_call_id": _text(block, "tool_use_id", name), "content": text}
        return _marked(block, message)

    def _read_assistant(self, blocks: list[Part], name: str, found: list[Message]) -> None:
        parts: list[Part] = []
        calls: list[Part] = []
        signed: list[Part] = []
        thoughts: list[str] = []
        for index, block in enumerate(blocks):
            where = f"{name}.{index}"
            match block["type"]:
                case "tool_use":
                    calls.append(self._call(block, where))
                case "thinking" if is_unsigned(block):
                    thoughts.append(_text(block, "thinking", where))
                case "thinking" | "redacted_thinking":
                    signed.append(block)
                case _:
                    parts.extend(self._part(block, where))
        message: Message = {"role": "assistant", "content": join_parts(parts) if parts else None}
        if thoughts:
            self.has_unsigned = True
            message["reasoning_content"] = "".join(thoughts)
        if signed:
            message["thinking_blocks"] = signed
        if calls:
            message["tool_calls"] = calls
        if parts or calls:
            found.append(message)

    def _call(self, block: Part, name: str) -> Part:
        given = block.get("input")
        if given is not None and not isinstance(given, dict):
            raise wrong_type(f"{name}.input", "an object", given)
        function = {
            "name": self._shorten_name(_text(block, "name", name)),
            "arguments": orjson.dumps(given or {}).decode(),
        }
        return {"id": _text(block, "id", name), "type": "function", "function": function}

    def _parts(self, blocks: list[Part], name: str) -> list[Part]:
        return [part for index, block in enumerate(blocks) for part in self._part(block, f"{name}.{index}")]

    def _part(self, block: Part, name: str) -> list[Part]:
        match block["type"]:
            case "text":
                text = _text(block, "text", name)
                return [_marked(block, {"type": "text", "text": text})] if text else []
            case "image":
                return self._image(block, name)
            case "document":
                return self._document(block, name)
            case "search_result":
                texts = [str(block.get("title") or ""), str(block.get("source") or "")]
                inner = check_blocks(block.get("content"), f"{name}.content")
                texts.extend(part["text"] for part in self._parts(inner, f"{name}.content") if part["type"] == "text")
                return [_marked(block, {"type": "text", "text": "\n".join(filter(None, texts))})]
            case "tool_reference":
                return [{"type": "text", "text": f"Tool: {block.get('tool_name')}"}]
        return self._note(f"content of type {block['type'][:50]!r}", block)

    def _image(self, block: Part, name: str) -> list[Part]:
        source = _source(block, name)
        match source["type"]:
            case "base64":
                media_type, data = (
                    _text(source, "media_type", f"{name}.source"),
                    _text(source, "data", f"{name}.source"),
                )
                url = f"data:{media_type};base64,{data}"
            case "url":
                url = _text(source, "url", f"{name}.source")
            case kind:
                return self._note(f"an image from a source of type {kind[:50]!r}", source)
        return [_marked(block, {"type": "image_url", "image_url": {"url": url}})]

    def _document(self, block: Part, name: str) -> list[Part]:
        source = _source(block, name)
        where = f"{name}.source"
        title = block.get("title")
        named = [said for said in (title, block.get("context")) if isinstance(said, str) and said]
        heading = "".join(f"{said}\n\n" for said in named)
        match source["type"]:
            case "base64":
                media_type, data = _text(source, "media_type", where), _text(source, "data", where)
                name = title if isinstance(title, str) and title else "document.pdf"
                file = {"filename": name, "file_data": f"data:{media_type};base64,{data}"}
                context = [{"type": "text", "text": block["context"]}] if block.get("context") in named else []
                return [*context, _marked(block, {"type": "file", "file": file})]
            case "text":
                return [_marked(block, {"type": "text", "text": heading + _text(source, "data", where)})]
            case "content":
                inner = source.get("content")
                if isinstance(inner, str):
                    return [_marked(block, {"type": "text", "text": heading + inner})]
                return self._parts(check_blocks(inner, f"{where}.content"), f"{where}.content")
            case kind:
                return self._note(f"a document from a source of type {kind[:50]!r}", block)

    def _note(self, what: str, block: Part) -> list[Part]:
        """Note a block that has no counterpart. What it says still stands in the canonical form: guardrails read that."""
        self.foreign.append(what)
        said = "\n".join(_texts_within(block))
        return [{"type": "text", "text": said}] if said else []


def is_unsigned(block: Part) -> bool:
    """Tell whether a block of thinking is one that we have sent for a model without signatures."""
    return block.get("type") == "thinking" and block.get("signature") in (UNSIGNED, "", None)


def join_parts(parts: list[Part]) -> str | list[Part]:
    """Return one text for parts that are only text without marks: every provider takes it, and it is the shortest."""
    if all(len(part) == 2 and part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _texts_within(value: Any) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _texts_within(item)]
    if not isinstance(value, dict):
        return []
    found: list[str] = []
    for name, inner in value.items():
        if isinstance(inner, str):
            if inner and not name.startswith(_SILENT_PREFIX) and name not in _SILENT:
                found.append(inner)
        else:
            found.extend(_texts_within(inner))
    return found


def _marked(block: Part, part: Part) -> Part:
    if isinstance(block.get("cache_control"), dict):
        part["cache_control"] = block["cache_control"]
    return part


def _source(block: Part, name: str) -> Part:
    source = block.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("type"), str):
        raise ParameterMissing(f"{name}.source.type: This is missing.", param=f"{name}.source.type")
    return source


def _text(holder: Part, field: str, name: str) -> str:
    value = holder.get(field)
    where = f"{name}.{field}"
    if value is None:
        raise ParameterMissing(f"{where}: This is missing.", param=where)
    if not isinstance(value, str):
        raise ParameterInvalid(f"{where}: This has to be a string.", param=where)
    return value
