"""Fields of a responses request that we know, checked before a call costs anything."""

from __future__ import annotations

from typing import Any

from apps.gateway.dialects.openai_checks import (
    BOOLEAN,
    OBJECT,
    TEXT,
    Check,
    check_known,
    check_model,
    check_number,
    integer,
    is_a,
    one_of,
    wrong_type,
)
from apps.gateway.errors import ParameterInvalid, ParameterMissing

MAX_METADATA = 16
MAX_METADATA_NAME = 64
MAX_METADATA_VALUE = 512
FORMATS = ("text", "json_object", "json_schema")


def check_response(body: dict[str, Any]) -> None:
    """Raise ParameterMissing or ParameterInvalid for the first field of a responses request that is wrong."""
    check_model(body)
    if body.get("input") is None:
        raise ParameterMissing("Send the text or the items to answer in `input`.", param="input")
    check_known(body, _RESPONSE)


def _check_metadata(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    if len(value) > MAX_METADATA:
        raise ParameterInvalid(f"`{name}` has {len(value)} entries; at most {MAX_METADATA} are accepted.", param=name)
    for key, text in value.items():
        if not isinstance(text, str):
            raise wrong_type(f"{name}.{key}", "a string", text)
        if len(key) > MAX_METADATA_NAME or len(text) > MAX_METADATA_VALUE:
            raise ParameterInvalid(
                f"Names in `{name}` have at most {MAX_METADATA_NAME} characters, values {MAX_METADATA_VALUE}.",
                param=name,
            )


def _check_text(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    check_known({f"{name}.{key}": found for key, found in value.items()}, _TEXT_FIELDS)


def _check_format(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    kind = value.get("type")
    one_of(*FORMATS)(kind, f"{name}.type")
    if kind == "json_schema":
        for key in ("name", "schema"):
            if value.get(key) is None:
                raise ParameterMissing(f"`{name}.{key}` is missing.", param=f"{name}.{key}")
        TEXT(value["name"], f"{name}.name")
        OBJECT(value["schema"], f"{name}.schema")


def _check_reasoning(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    check_known({f"{name}.{key}": found for key, found in value.items()}, _REASONING_FIELDS)


def _check_choice(value: Any, name: str) -> None:
    if not isinstance(value, str | dict):
        raise wrong_type(name, "a string or an object", value)


def _check_include(value: Any, name: str) -> None:
    if not isinstance(value, list) or any(not isinstance(entry, str) for entry in value):
        raise wrong_type(name, "an array of strings", value)


_TEXT_FIELDS: dict[str, Check] = {"text.format": _check_format, "text.verbosity": TEXT}
_REASONING_FIELDS: dict[str, Check] = {
    "reasoning.effort": TEXT,
    "reasoning.summary": TEXT,
    "reasoning.generate_summary": TEXT,
}
_RESPONSE: dict[str, Check] = {
    "background": BOOLEAN,
    "include": _check_include,
    "instructions": TEXT,
    "max_output_tokens": integer(1),
    "max_tool_calls": integer(1),
    "metadata": _check_metadata,
    "parallel_tool_calls": BOOLEAN,
    "previous_response_id": TEXT,
    "prompt_cache_key": TEXT,
    "reasoning": _check_reasoning,
    "safety_identifier": TEXT,
    "service_tier": TEXT,
    "store": BOOLEAN,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "temperature": check_number,
    "text": _check_text,
    "tool_choice": _check_choice,
    "tools": is_a(list, "an array of objects"),
    "top_logprobs": integer(0, 20),
    "top_p": check_number,
    "truncation": one_of("auto", "disabled"),
    "user": TEXT,
}
