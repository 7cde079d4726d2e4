"""Fields of Anthropic's format that the gateway knows, checked before a call costs anything. Unknown ones are accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.gateway.errors import ParameterInvalid, ParameterMissing

Check = Callable[[Any, str], None]

ROLES = ("user", "assistant", "system")
_JSON_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def check_message_request(body: dict[str, Any]) -> None:
    """Raise ParameterMissing or ParameterInvalid for the first field of a request for a message that is wrong."""
    check_prompt(body)
    bound = body.get("max_tokens")
    if bound is None:
        raise ParameterMissing("max_tokens: Say how long the answer may be, in tokens.", param="max_tokens")
    _integer(1)(bound, "max_tokens")


def check_prompt(body: dict[str, Any]) -> None:
    """Raise ParameterMissing or ParameterInvalid for the first field of a prompt that is wrong."""
    model = body.get("model")
    if model is None or model == "":
        raise ParameterMissing("model: Name a model.", param="model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if body.get("messages") is None:
        raise ParameterMissing("messages: Send the conversation.", param="messages")
    _check_messages(body["messages"])
    for name, check in _KNOWN.items():
        value = body.get(name)
        if value is not None:
            check(value, name)


def check_blocks(value: Any, name: str) -> list[dict[str, Any]]:
    """Return a list of typed blocks. Raise ParameterInvalid or ParameterMissing for anything else."""
    if not isinstance(value, list):
        raise wrong_type(name, "a string or an array of content blocks", value)
    for index, block in enumerate(value):
        _check_typed(block, f"{name}.{index}")
    return value


def wrong_type(name: str, expected: str, value: Any) -> ParameterInvalid:
    """Return the failure of a field with a value of another type."""
    found = _JSON_TYPES.get(type(value), "something else")
    return ParameterInvalid(f"{name}: This has to be {expected}, not {found}.", param=name)


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise ParameterInvalid("messages: At least one message is needed.", param="messages")
    for index, message in enumerate(messages):
        name = f"messages.{index}"
        if not isinstance(message, dict):
            raise wrong_type(name, "an object", message)
        role = message.get("role")
        if role is None:
            raise ParameterMissing(f"{name}.role: This is missing.", param=f"{name}.role")
        if role not in ROLES:
            raise ParameterInvalid(f"{name}.role: This has to be one of {', '.join(ROLES)}.", param=f"{name}.role")
        if message.get("content") is None:
            raise ParameterMissing(f"{name}.content: This is missing.", param=f"{name}.content")
        if not isinstance(message["content"], str):
            check_blocks(message["content"], f"{name}.content")


def _check_system(value: Any, name: str) -> None:
    if isinstance(value, str):
        return
    for index, block in enumerate(check_blocks(value, name)):
        if not isinstance(block.get("text"), str):
            where = f"{name}.{index}.text"
            raise ParameterInvalid(f"{where}: A system prompt consists of blocks of text.", param=where)


def _check_tools(value: Any, name: str) -> None:
    if not isinstance(value, list):
        raise wrong_type(name, "an array of objects", value)
    for index, tool in enumerate(value):
        where = f"{name}.{index}"
        if not isinstance(tool, dict):
            raise wrong_type(where, "an object", tool)
        kind = tool.get("type")
        if kind is not None and not isinstance(kind, str):
            raise wrong_type(f"{where}.type", "a string", kind)
        if kind not in (None, "custom"):
            continue
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            raise ParameterMissing(f"{where}.name: This is missing.", param=f"{where}.name")
        if not isinstance(tool.get("input_schema"), dict):
            raise ParameterMissing(f"{where}.input_schema: This is missing.", param=f"{where}.input_schema")


def _check_choice(value: Any, name: str) -> None:
    _check_typed(value, name)
    if value["type"] == "tool" and not isinstance(value.get("name"), str):
        raise ParameterMissing(f"{name}.name: This is missing.", param=f"{name}.name")


def _check_stops(value: Any, name: str) -> None:
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        raise wrong_type(name, "an array of strings", value)


def _check_metadata(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    user_id = value.get("user_id")
    if user_id is not None and not isinstance(user_id, str):
        raise wrong_type(f"{name}.user_id", "a string", user_id)


def _check_typed(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    if not isinstance(value.get("type"), str):
        raise ParameterMissing(f"{name}.type: This is missing.", param=f"{name}.type")


def _check_object(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)


def _check_boolean(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)


def _check_number(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, "a number", value)


def _integer(lowest: int) -> Check:
    def check(value: Any, name: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(name, "an integer", value)
        if value < lowest:
            raise ParameterInvalid(f"{name}: This has to be at least {lowest}.", param=name)

    return check


_KNOWN: dict[str, Check] = {
    "system": _check_system,
    "tools": _check_tools,
    "tool_choice": _check_choice,
    "stream": _check_boolean,
    "stop_sequences": _check_stops,
    "temperature": _check_number,
    "top_p": _check_number,
    "top_k": _integer(0),
    "metadata": _check_metadata,
    "thinking": _check_typed,
    "output_config": _check_object,
    "output_format": _check_typed,
}
