"""Items of a responses request as messages of a chat, and thoughts as they travel in between."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from apps.core.nesting import load_shallow
from apps.gateway.dialects.responses.tools import LOCAL_SHELL, Toolbox, encode_custom, encode_shell, function_named
from apps.gateway.errors import ParameterInvalid, ParameterMissing

Item = dict[str, Any]
Message = dict[str, Any]

ROLES = {"system": "system", "developer": "developer", "user": "user", "assistant": "assistant"}
SEAL = "portico1:"
"""Before the thoughts that we gave out and take back; whatever else is sealed belongs to another provider."""
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
_RECORDS = frozenset(
    {
        "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "computer_call",
        "computer_call_output", "mcp_list_tools", "mcp_call", "mcp_approval_request", "mcp_approval_response",
        "tool_search_call", "tool_search_output", "compaction",
    }
)  # fmt: skip
"""What hosted tools of another provider left behind: a history may hold it, a chat has no place for it."""
_PLAIN_PARTS = frozenset({"input_text", "output_text", "text", "summary_text"})


def read_items(given: Any) -> list[Item]:
    """Return `input` as items. Raise ParameterMissing or ParameterInvalid."""
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    if not isinstance(given, list):
        raise ParameterInvalid("`input` has to be a string or an array of items.", param="input")
    items: list[Item] = []
    for index, item in enumerate(given):
        if not isinstance(item, dict):
            raise ParameterInvalid(f"`input[{index}]` has to be an object.", param=f"input[{index}]")
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference"
        if not isinstance(kind, str):
            raise ParameterInvalid(f"`input[{index}].type` has to be a string.", param=f"input[{index}].type")
        items.append(_normalize_message(item, index) if kind == "message" else {**item, "type": kind})
    return items


def write_messages(items: list[Item], toolbox: Toolbox, *, param: str = "input") -> list[Message]:
    """Return the chat that items stand for.

    What an assistant says, thinks and calls in a row becomes one message, since results of calls have to follow it.
    Pictures and files in results come after them in a message of the user: a result takes only text everywhere.
    """
    writer = _ChatWriter(toolbox)
    for index, item in enumerate(items):
        writer.take(item, f"{param}[{index}]")
    return writer.finish()


def seal_thoughts(blocks: list[dict[str, Any]]) -> str:
    """Return blocks of thinking with their signatures as one opaque text."""
    return SEAL + base64.b64encode(orjson.dumps(blocks)).decode()


def open_thoughts(sealed: Any) -> list[dict[str, Any]]:
    """Return the blocks that we sealed; none for what others did."""
    if not isinstance(sealed, str) or not sealed.startswith(SEAL):
        return []
    try:
        found = load_shallow(base64.b64decode(sealed[len(SEAL) :], validate=True).decode())
    except ValueError:
        # No base64, not even ASCII, no UTF-8, or no JSON.
        return []
    return [block for block in found if isinstance(block, dict)] if isinstance(found, list) else []


def _normalize_message(item: Item, index: int) -> Item:
    where = f"input[{index}]"
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise ParameterInvalid(f"`{where}.role` has to be one of {known}.", param=f"{where}.role")
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if role == "assistant" else "input_text"
        content = [{"type": kind, "text": content}]
    if not isinstance(content, list):
        raise ParameterInvalid(f"`{where}.content` has to be a string or an array.", param=f"{where}.content")
    for at, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise ParameterMissing(f"`{where}.content[{at}].type` is missing.", param=f"{where}.content[{at}].type")
    return {**item, "type": "message", "content": content}


class _ChatWriter:
    """Gathers messages; what the assistant does in a row is pending until somebody else speaks."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._messages: list[Message] = []
        self._assistant: Message | None = None
        self._thoughts: list[dict[str, Any]] = []
        self._reasoning: list[str] = []
        self._attachments: list[dict[str, Any]] = []

    def take(self, item: Item, where: str) -> None:
        kind = item["type"]
        if kind == "message":
            self._take_message(item, where)
        elif kind in _CALLS:
            self._take_call(item, kind, where)
        elif kind in _RESULTS:
            self._take_result(item, where)
        elif kind == "reasoning":
            self._take_reasoning(item)
        elif kind not in _RECORDS:
            raise ParameterInvalid(
                f"Items of the type `{kind[:64]}` cannot be used through Portico.", param=f"{where}.type"
            )

    def finish(self) -> list[Message]:
        self._end_turn()
        self._end_results()
        return self._messages

    def _take_message(self, item: Item, where: str) -> None:
        parts = [
            part for at, part in enumerate(item["content"]) for part in _translate_part(part, f"{where}.content[{at}]")
        ]
        if item["role"] == "assistant":
            self._end_results()
            text = "".join(part.get("text", "") for part in parts)
            turn = self._turn()
            turn["content"] = f"{turn['content']}\n\n{text}" if turn.get("content") else text
            return
        self._end_turn()
        self._end_results()
        is_text = all(part["type"] == "text" for part in parts)
        content: Any = "".join(part["text"] for part in parts) if is_text and len(parts) <= 1 else parts
        self._messages.append({"role": ROLES[item["role"]], "content": content})

    def _take_call(self, item: Item, kind: str, where: str) -> None:
        self._end_results()
        call_id = _text(item, "call_id", where)
        if kind == "function_call":
            name = function_named(self._toolbox, _text(item, "name", where), item.get("namespace"))
            arguments = item.get("arguments")
            arguments = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
        elif kind == "custom_tool_call":
            name = function_named(self._toolbox, _text(item, "name", where), item.get("namespace"))
            arguments = encode_custom(str(item.get("input") or ""))
        else:
            name, arguments = LOCAL_SHELL, encode_shell(item.get("action"))
        call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        self._turn().setdefault("tool_calls", []).append(call)

    def _take_result(self, item: Item, where: str) -> None:
        self._end_turn()
        output = item.get("output")
        call_id = item.get("call_id") or item.get("id")
        if not isinstance(call_id, str) or not call_id:
            raise ParameterMissing(f"`{where}.call_id` is missing.", param=f"{where}.call_id")
        if isinstance(output, list):
            parts = [
                part for at, entry in enumerate(output) for part in _translate_part(entry, f"{where}.output[{at}]")
            ]
            self._attachments.extend(part for part in parts if part["type"] != "text")
            output = "\n".join(part["text"] for part in parts if part["type"] == "text")
        elif not isinstance(output, str):
            output = orjson.dumps(output).decode()
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": output})

    def _take_reasoning(self, item: Item) -> None:
        self._end_results()
        blocks = open_thoughts(item.get("encrypted_content"))
        if blocks:
            self._turn()
            self._thoughts.extend(blocks)
            return
        for name in ("content", "summary"):
            parts = item.get(name)
            texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
            if any(texts):
                self._turn()
                self._reasoning.extend(str(text) for text in texts if text)
                return

    def _turn(self) -> Message:
        if self._assistant is None:
            self._assistant = {"role": "assistant", "content": None}
        return self._assistant

    def _end_turn(self) -> None:
        turn, self._assistant = self._assistant, None
        thoughts, self._thoughts = self._thoughts, []
        reasoning, self._reasoning = self._reasoning, []
        if turn is None or not (turn["content"] or turn.get("tool_calls")):
            return
        if thoughts:
            turn["thinking_blocks"] = thoughts
        elif reasoning and turn.get("tool_calls"):
            # Between a call and its result models go on thinking; elsewhere many servers refuse to be told thoughts.
            turn["reasoning_content"] = "\n\n".join(reasoning)
        self._messages.append(turn)

    def _end_results(self) -> None:
        if self._attachments:
            self._messages.append({"role": "user", "content": self._attachments})
            self._attachments = []


def _translate_part(part: Any, where: str) -> list[dict[str, Any]]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise ParameterMissing(f"`{where}.type` is missing.", param=f"{where}.type")
    if kind in _PLAIN_PARTS:
        return [{"type": "text", "text": _text(part, "text", where, may_be_empty=True)}]
    if kind == "refusal":
        return [{"type": "text", "text": _text(part, "refusal", where, may_be_empty=True)}]
    if kind == "input_image":
        return [_translate_image(part, where)]
    if kind == "input_file":
        return [_translate_file(part, where)]
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return [{"type": "input_audio", "input_audio": part["input_audio"]}]
    raise ParameterInvalid(f"Content of the type `{kind[:64]}` is not supported.", param=f"{where}.type")


def _translate_image(part: dict[str, Any], where: str) -> dict[str, Any]:
    if part.get("file_id"):
        raise ParameterInvalid("Portico keeps no files: send the image in `image_url`.", param=f"{where}.file_id")
    image = {"url": _text(part, "image_url", where)}
    if isinstance(part.get("detail"), str):
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _translate_file(part: dict[str, Any], where: str) -> dict[str, Any]:
    for name in ("file_id", "file_url"):
        if part.get(name):
            raise ParameterInvalid(
                "Portico keeps and fetches no files: send the file in `file_data`.", param=f"{where}.{name}"
            )
    file = {"file_data": _text(part, "file_data", where)}
    if isinstance(part.get("filename"), str):
        file["filename"] = part["filename"]
    return {"type": "file", "file": file}


def _text(holder: dict[str, Any], name: str, where: str, *, may_be_empty: bool = False) -> str:
    value = holder.get(name)
    if not isinstance(value, str):
        raise ParameterMissing(f"`{where}.{name}` has to be a string.", param=f"{where}.{name}")
    if not value and not may_be_empty:
        raise ParameterMissing(f"`{where}.{name}` is empty.", param=f"{where}.{name}")
    return value
