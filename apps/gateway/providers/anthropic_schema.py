"""JSON schemas as Anthropic's structured output takes them."""

from __future__ import annotations

from typing import Any

_NESTED = ("items", "not", "if", "then", "else", "contains")
_NESTED_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NESTED_MAPS = ("properties", "$defs", "definitions")
# Refused by the decoder; what they mean is told to the model in words instead.
_BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)


def restrict_schema(schema: Any) -> Any:
    """Return a copy in which objects are closed and bounds have moved into descriptions; anything else is kept."""
    if not isinstance(schema, dict):
        return schema
    restricted: dict[str, Any] = {}
    bounds: list[str] = []
    for name, value in schema.items():
        if name in _BOUNDS or (name == "minItems" and value not in (0, 1)):
            bounds.append(f"{name}: {value}")
        elif name in _NESTED:
            restricted[name] = restrict_schema(value)
        elif name in _NESTED_LISTS and isinstance(value, list):
            restricted["anyOf" if name == "oneOf" else name] = [restrict_schema(item) for item in value]
        elif name in _NESTED_MAPS and isinstance(value, dict):
            restricted[name] = {key: restrict_schema(item) for key, item in value.items()}
        else:
            restricted[name] = value
    if schema.get("type") == "object" or "properties" in schema:
        restricted["additionalProperties"] = False
    if bounds:
        restricted["description"] = " ".join(filter(None, [schema.get("description"), f"({', '.join(bounds)})"]))
    return restricted
