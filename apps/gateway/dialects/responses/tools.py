"""Tools of a responses request as functions, and the names under which their calls go back.

| tool | is |
| --- | --- |
| function | a function |
| custom | a function with one text, `input` |
| local_shell | a function of that name; its calls go back as local_shell_call |
| namespace | its functions, named NAMESPACE__NAME |
| web_search…, image_generation | dropped where other tools remain and the model is free to call none; else refused |
| any other hosted tool | refused: an answer without it would not be the one that was asked for |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from apps.core.nesting import load_shallow
from apps.gateway.errors import ParameterInvalid, ParameterMissing

CUSTOM_INPUT = "input"
LOCAL_SHELL = "local_shell"
_OPTIONAL_PREFIXES = ("web_search", "image_generation")
_CUSTOM_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {CUSTOM_INPUT: {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": [CUSTOM_INPUT],
    "additionalProperties": False,
}
_SHELL: dict[str, Any] = {
    "name": LOCAL_SHELL,
    "description": "Run a command on the user's machine and return what it prints.",
    "parameters": {
        "type": "object",
        "properties": {
            "command": {"type": "array", "items": {"type": "string"}, "description": "Program and arguments."},
            "workdir": {"type": "string", "description": "Directory to run it in."},
            "timeout_ms": {"type": "integer", "description": "Milliseconds after which it is ended."},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True, slots=True)
class ToolName:
    """How calls of a function are told to the client."""

    kind: str
    """The type of the item: function_call, custom_tool_call or local_shell_call."""
    name: str
    namespace: str | None = None


@dataclass(slots=True)
class Toolbox:
    """The functions of a request. `dropped` are the types of tools that the model does not get."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    names: dict[str, ToolName] = field(default_factory=dict)
    choice: Any = None
    dropped: tuple[str, ...] = ()

    def name_of(self, function: str) -> ToolName:
        """Return how a call is told; a function that nobody offered is told as it is."""
        return self.names.get(function) or ToolName("function_call", function)


def read_tools(tools: list[Any], choice: Any) -> Toolbox:
    """Return the functions that stand for a request's tools. Raise ParameterMissing or ParameterInvalid."""
    box = Toolbox()
    dropped: list[tuple[str, str]] = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise ParameterMissing(f"`{where}.type` is missing.", param=f"{where}.type")
        read = _READERS.get(tool["type"])
        if read is not None:
            read(box, tool, where)
        elif tool["type"].startswith(_OPTIONAL_PREFIXES):
            dropped.append((tool["type"], where))
        else:
            raise _refusal(tool["type"], where)
    if dropped and (not box.functions or not _leaves_free(choice)):
        raise _refusal(*dropped[0])
    box.dropped = tuple(dict.fromkeys(kind for kind, _ in dropped))
    _read_choice(box, choice)
    return box


def function_named(box: Toolbox, name: str, namespace: str | None = None) -> str:
    """Return the function that a tool's name stands for."""
    return f"{namespace}__{name}" if namespace else name


def decode_custom(arguments: str) -> str:
    """Return the text that a custom tool is called with; the arguments themselves when the model wrote no object."""
    try:
        found = load_shallow(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = found.get(CUSTOM_INPUT) if isinstance(found, dict) else None
    return text if isinstance(text, str) else arguments


def encode_custom(text: str) -> str:
    """Return the arguments of a function that stands for a custom tool."""
    return orjson.dumps({CUSTOM_INPUT: text}).decode()


def decode_shell(arguments: str) -> dict[str, Any]:
    """Return the action of a call of the local shell."""
    try:
        found = load_shallow(arguments)
    except orjson.JSONDecodeError:
        found = None
    found = found if isinstance(found, dict) else {}
    command = found.get("command")
    if isinstance(command, str):
        command = ["bash", "-lc", command]
    return {
        "type": "exec",
        "command": [str(word) for word in command] if isinstance(command, list) else [],
        "env": {},
        "timeout_ms": found.get("timeout_ms"),
        "user": None,
        "working_directory": found.get("workdir"),
    }


def encode_shell(action: Any) -> str:
    """Return the arguments of a call of the local shell."""
    action = action if isinstance(action, dict) else {}
    arguments = {
        "command": action.get("command") or [],
        "workdir": action.get("working_directory"),
        "timeout_ms": action.get("timeout_ms"),
    }
    return orjson.dumps({name: value for name, value in arguments.items() if value is not None}).decode()


def _read_function(box: Toolbox, tool: dict[str, Any], where: str, namespace: str | None = None) -> None:
    name = _name(tool, where)
    parameters = tool.get("parameters")
    function: dict[str, Any] = {
        "name": function_named(box, name, namespace),
        "parameters": parameters if isinstance(parameters, dict) else {"type": "object", "properties": {}},
    }
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    _add(box, function, ToolName("function_call", name, namespace))


def _read_custom(box: Toolbox, tool: dict[str, Any], where: str, namespace: str | None = None) -> None:
    name = _name(tool, where)
    words = [tool["description"]] if isinstance(tool.get("description"), str) else []
    form = tool.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        syntax, definition = form.get("syntax", "lark"), form.get("definition", "")
        words.append(f"`{CUSTOM_INPUT}` has to match this {syntax} grammar:\n{definition}")
    function: dict[str, Any] = {"name": function_named(box, name, namespace), "parameters": _CUSTOM_PARAMETERS}
    if words:
        function["description"] = "\n\n".join(words)
    _add(box, function, ToolName("custom_tool_call", name, namespace))


def _read_shell(box: Toolbox, tool: dict[str, Any], where: str) -> None:
    _add(box, _SHELL, ToolName("local_shell_call", LOCAL_SHELL))


def _read_namespace(box: Toolbox, tool: dict[str, Any], where: str) -> None:
    name = _name(tool, where)
    inner = tool.get("tools")
    for index, entry in enumerate(inner if isinstance(inner, list) else ()):
        place = f"{where}.tools[{index}]"
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind not in ("function", "custom"):
            raise _refusal(str(kind), place)
        (_read_function if kind == "function" else _read_custom)(box, entry, place, name)


_READERS: dict[str, Callable[[Toolbox, dict[str, Any], str], None]] = {
    "function": _read_function,
    "custom": _read_custom,
    LOCAL_SHELL: _read_shell,
    "namespace": _read_namespace,
}


def _name(tool: dict[str, Any], where: str) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise ParameterMissing(f"`{where}.name` is missing.", param=f"{where}.name")
    return name


def _add(box: Toolbox, function: dict[str, Any], name: ToolName) -> None:
    box.functions.append({"type": "function", "function": function})
    box.names[function["name"]] = name


def _leaves_free(choice: Any) -> bool:
    """Tell whether the model may answer without the tool in question."""
    return choice in (None, "auto", "none") or (
        isinstance(choice, dict) and choice.get("type") in ("function", "custom")
    )


def _read_choice(box: Toolbox, choice: Any) -> None:
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise ParameterInvalid(
                f"`tool_choice` is {choice[:50]!r}; it has to be one of none, auto, required, or an object.",
                param="tool_choice",
            )
        box.choice = choice if box.functions else None
        return
    if not isinstance(choice, dict) or not isinstance(choice.get("type"), str):
        raise ParameterInvalid("`tool_choice` has to be a string, or an object with a `type`.", param="tool_choice")
    kind = choice["type"]
    if kind == "allowed_tools":
        _allow(box, choice)
    elif kind in ("function", "custom", LOCAL_SHELL):
        function = LOCAL_SHELL if kind == LOCAL_SHELL else function_named(box, _name(choice, "tool_choice"), None)
        if function not in box.names:
            raise ParameterInvalid(
                f"`tool_choice` names {function[:64]!r}, which is not among `tools`.", param="tool_choice"
            )
        box.choice = {"type": "function", "function": {"name": function}}
    else:
        raise _refusal(kind, "tool_choice")


def _allow(box: Toolbox, choice: dict[str, Any]) -> None:
    listed = choice.get("tools")
    allowed = {
        LOCAL_SHELL if entry.get("type") == LOCAL_SHELL else entry.get("name")
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, dict)
    }
    box.functions = [entry for entry in box.functions if entry["function"]["name"] in allowed]
    box.choice = ("required" if choice.get("mode") == "required" else "auto") if box.functions else None


def _refusal(kind: str, where: str) -> ParameterInvalid:
    return ParameterInvalid(
        f"The tool `{kind[:64]}` runs at its provider and cannot be used through Portico; "
        "offer a `function` or `custom` tool instead.",
        param=where,
    )
