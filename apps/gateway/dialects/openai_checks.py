"""Fields that the gateway knows, checked before a call costs anything. What it does not know is passed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apps.gateway.errors import ParameterInvalid, ParameterMissing

Check = Callable[[Any, str], None]

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
MAX_CHOICES = 128
MAX_INPUTS = 2048
_JSON_TYPES = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def check_chat(request: dict[str, Any]) -> None:
    """Raise ParameterMissing or ParameterInvalid for the first field of a chat request that is wrong."""
    check_model(request)
    if "messages" not in request:
        raise ParameterMissing("Send the conversation in `messages`.", param="messages")
    _check_messages(request["messages"])
    check_known(request, _CHAT)


def check_embedding(request: dict[str, Any]) -> None:
    """Raise ParameterMissing or ParameterInvalid for the first field of an embeddings request that is wrong."""
    check_model(request)
    if "input" not in request:
        raise ParameterMissing("Send the text to embed in `input`.", param="input")
    check_input(request["input"])
    check_known(request, _EMBEDDING)


def check_model(request: dict[str, Any]) -> None:
    """Raise ParameterMissing or ParameterInvalid unless a model is named."""
    model = request.get("model")
    if model is None:
        raise ParameterMissing("Name a model in `model`.", param="model")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if not model:
        raise ParameterMissing("Name a model in `model`.", param="model")


def check_known(request: dict[str, Any], checks: dict[str, Check]) -> None:
    """Raise ParameterInvalid or ParameterMissing for the first field that its check refuses. Null is as good as absent."""
    for name, value in request.items():
        check = checks.get(name)
        if check is not None and value is not None:
            check(value, name)


def _check_messages(messages: Any) -> None:
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise ParameterInvalid("`messages` has to hold at least one message.", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object", message)
        role = message.get("role")
        if not isinstance(role, str) or role not in ROLES:
            _refuse_role(role, index)
        content = message.get("content")
        if content is not None and not isinstance(content, str):
            _check_parts(content, f"messages[{index}].content")
        calls = message.get("tool_calls")
        if calls is not None:
            check_objects(calls, f"messages[{index}].tool_calls")


def _refuse_role(role: Any, index: int) -> None:
    name = f"messages[{index}].role"
    if role is None:
        raise ParameterMissing(f"`{name}` is missing.", param=name)
    if not isinstance(role, str):
        raise wrong_type(name, "a string", role)
    known = ", ".join(sorted(ROLES))
    raise ParameterInvalid(f"`{name}` is {role[:50]!r}; it has to be one of {known}.", param=name)


def _check_parts(content: Any, name: str) -> None:
    if not isinstance(content, list):
        raise wrong_type(name, "a string or an array of objects", content)
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong_type(f"{name}[{index}]", "an object", part)
        if not isinstance(part.get("type"), str):
            raise ParameterMissing(f"`{name}[{index}].type` is missing.", param=f"{name}[{index}].type")


def check_input(value: Any) -> None:
    """Refuse what is neither text nor tokens, nor a list of either."""
    if isinstance(value, str):
        if not value:
            raise ParameterInvalid("`input` is empty.", param="input")
        return
    if not isinstance(value, list):
        raise wrong_type("input", "a string, or an array of strings or tokens", value)
    if not value:
        raise ParameterInvalid("`input` is empty.", param="input")
    kind = type(value[0])
    if kind not in {str, int, list} or any(type(item) is not kind for item in value):
        raise ParameterInvalid(
            "`input` has to be a string, an array of strings, an array of integers or an array of such arrays.",
            param="input",
        )
    if kind is not int and len(value) > MAX_INPUTS:
        raise ParameterInvalid(f"`input` has {len(value)} items; at most {MAX_INPUTS} are accepted.", param="input")
    if kind is list and any(not item or any(type(token) is not int for token in item) for item in value):
        raise ParameterInvalid("Every item of `input` has to be a non-empty array of integers.", param="input")


def check_objects(value: Any, name: str) -> None:
    """Refuse what is no array of objects."""
    if not isinstance(value, list):
        raise wrong_type(name, "an array of objects", value)
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            raise wrong_type(f"{name}[{index}]", "an object", item)


def _check_typed(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    if not isinstance(value.get("type"), str):
        raise ParameterMissing(f"`{name}.type` is missing.", param=f"{name}.type")


def _check_tools(value: Any, name: str) -> None:
    check_objects(value, name)
    for index, tool in enumerate(value):
        where = f"{name}[{index}]"
        _check_typed(tool, where)
        function = tool.get("function")
        if tool["type"] == "function" and not (isinstance(function, dict) and isinstance(function.get("name"), str)):
            raise ParameterMissing(f"`{where}.function.name` is missing.", param=f"{where}.function.name")


def check_stop(value: Any, name: str) -> None:
    """Refuse what is neither a text nor texts."""
    if isinstance(value, str):
        return
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        raise wrong_type(name, "a string or an array of strings", value)


def _check_tool_choice(value: Any, name: str) -> None:
    if not isinstance(value, str):
        _check_typed(value, name)


def is_a(expected: type, words: str) -> Check:
    """Return a check for a JSON type, told in `words`."""

    def check(value: Any, name: str) -> None:
        # bool is an int to Python, never to JSON.
        if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
            raise wrong_type(name, words, value)

    return check


def integer(lowest: int | None = None, highest: int | None = None) -> Check:
    """Return a check for an integer within bounds."""

    def check(value: Any, name: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(name, "an integer", value)
        if lowest is not None and value < lowest:
            raise ParameterInvalid(f"`{name}` is {value}; it has to be at least {lowest}.", param=name)
        if highest is not None and value > highest:
            raise ParameterInvalid(f"`{name}` is {value}; it has to be at most {highest}.", param=name)

    return check


def check_number(value: Any, name: str) -> None:
    """Refuse what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(name, "a number", value)


def one_of(*words: str) -> Check:
    """Return a check for a text among these."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(name, "a string", value)
        if value not in words:
            raise ParameterInvalid(f"`{name}` is {value[:50]!r}; it has to be one of {', '.join(words)}.", param=name)

    return check


def wrong_type(name: str, expected: str, value: Any) -> ParameterInvalid:
    """Return the refusal of a field of another type than `expected`."""
    found = _JSON_TYPES.get(type(value), "something else")
    return ParameterInvalid(f"`{name}` has to be {expected}, not {found}.", param=name)


BOOLEAN = is_a(bool, "a boolean")
TEXT = is_a(str, "a string")
OBJECT = is_a(dict, "an object")

_CHAT: dict[str, Check] = {
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "temperature": check_number,
    "top_p": check_number,
    "presence_penalty": check_number,
    "frequency_penalty": check_number,
    "n": integer(1, MAX_CHOICES),
    "max_tokens": integer(1),
    "max_completion_tokens": integer(1),
    "seed": integer(),
    "stop": check_stop,
    "logprobs": BOOLEAN,
    "top_logprobs": integer(0),
    "logit_bias": OBJECT,
    "tools": _check_tools,
    "tool_choice": _check_tool_choice,
    "parallel_tool_calls": BOOLEAN,
    "functions": check_objects,
    "response_format": _check_typed,
    "reasoning_effort": TEXT,
    "verbosity": TEXT,
    "prediction": OBJECT,
    "metadata": OBJECT,
    "store": BOOLEAN,
    "service_tier": TEXT,
    "user": TEXT,
    "safety_identifier": TEXT,
    "prompt_cache_key": TEXT,
    "modalities": is_a(list, "an array of strings"),
}
_EMBEDDING: dict[str, Check] = {
    "encoding_format": one_of("float", "base64"),
    "dimensions": integer(1),
    "user": TEXT,
}
