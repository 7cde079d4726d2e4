"""The smallest JSON value that fits a JSON schema, for providers that pretend."""

from __future__ import annotations

import math
from typing import Any

MAX_DEPTH = 24
MAX_VALUES = 10_000
MAX_STRING_LENGTH = 10_000

_STRINGS_BY_FORMAT = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "00:00:00Z",
    "duration": "PT0S",
    "email": "person@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def build_sample(schema: object, text: str = "sandbox") -> Any:
    """Return a value valid under `schema`; free strings hold `text`.

    Honours types, enum, const, references within the schema, combinations, required properties and the bounds of
    lengths and numbers. `pattern` and `not` are not solved. Raises ValueError for a schema that is malformed or asks for
    more than 10,000 values.
    """
    try:
        return _Sampler(schema if isinstance(schema, dict) else {}, text).sample(schema, 0)
    except (TypeError, AttributeError, KeyError, RecursionError, OverflowError) as error:
        # Whoever writes the schema is a stranger: any keyword may hold a value of any type.
        raise ValueError("The JSON schema is malformed.") from error


class _Sampler:
    def __init__(self, root: dict[str, Any], text: str) -> None:
        self._root = root
        self._text = text
        self._values = 0

    def sample(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return None
        self._values += 1
        if self._values > MAX_VALUES:
            raise ValueError(f"The JSON schema asks for more than {MAX_VALUES} values.")
        schema = self._resolve(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for name in ("anyOf", "oneOf"):
            if schema.get(name):
                return self.sample(self._shallowest(schema[name]), depth + 1)
        match _type_of(schema):
            case "object":
                return self._sample_object(schema, depth)
            case "array":
                count = schema.get("minItems", 0)
                return [self.sample(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "string":
                return self._sample_string(schema)
            case "integer" | "number" as kind:
                return _sample_number(schema, is_integer=kind == "integer")
            case "boolean":
                return True
            case _:
                return None

    def _sample_object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        names = schema.get("required", ())
        return {name: self.sample(properties.get(name, {"type": "string"}), depth + 1) for name in names}

    def _sample_string(self, schema: dict[str, Any]) -> str:
        known = _STRINGS_BY_FORMAT.get(schema.get("format", ""))
        if known is not None:
            return known
        if schema.get("minLength", 0) > MAX_STRING_LENGTH:
            raise ValueError(f"The JSON schema asks for a string of more than {MAX_STRING_LENGTH} characters.")
        text = self._text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]

    def _resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        for _ in range(MAX_DEPTH):
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                break
            schema = {**self._look_up(reference), **{name: schema[name] for name in schema if name != "$ref"}}
        for choice in schema.get("allOf", ()):
            part = self._resolve(choice)
            schema = {
                **part,
                **{name: schema[name] for name in schema if name != "allOf"},
                "properties": {**part.get("properties", {}), **schema.get("properties", {})},
                "required": [*part.get("required", ()), *schema.get("required", ())],
            }
        return schema

    def _look_up(self, reference: str) -> dict[str, Any]:
        found: Any = self._root
        for step in reference.lstrip("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, dict) else {}

    def _shallowest(self, choices: list[Any]) -> Any:
        # A choice that refers on may refer to itself; one that doesn't ends the recursion.
        return next((choice for choice in choices if isinstance(choice, dict) and "$ref" not in choice), choices[0])


def _type_of(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def _sample_number(schema: dict[str, Any], *, is_integer: bool) -> int | float:
    step = schema.get("multipleOf", 1 if is_integer else 0)
    lowest = schema.get("minimum", -math.inf)
    above = schema.get("exclusiveMinimum", -math.inf)
    highest = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    value: float = max(lowest, above) if max(lowest, above) > 0 else min(0.0, highest)
    value = max(value, lowest)
    if step:
        value = math.ceil(value / step) * step
    if value <= above:
        value = value + step if step else (above + min(highest, above + 2)) / 2
    if value > highest or value >= schema.get("exclusiveMaximum", math.inf):
        value = value - step if step else (max(lowest, above, highest - 2) + highest) / 2
    return int(value) if is_integer or float(value).is_integer() else value
