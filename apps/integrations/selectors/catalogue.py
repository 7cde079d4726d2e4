"""The catalogue of public events, generated from the event classes: words, JSON Schema and an example of each.

It is also where a stored event becomes what receivers see: ids in the form in which the API shows them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, get_type_hints
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from apps.core.ids import encode_id
from apps.core.models import Entity
from apps.events.events import DomainEvent, event_types

ID_PATTERN = "_[0-7][0-9a-hjkmnp-tv-z]{25}$"
EXAMPLE_ID = UUID("0192f0c1-2a3b-7c4d-8e5f-60718293a4b5")
EXAMPLE_TIME = "2026-03-01T12:00:00Z"


@dataclass(frozen=True, slots=True)
class PublicEvent:
    """One type of event that endpoints can subscribe to; `schema` and `example` describe the whole body."""

    type: str
    description: str
    aggregate_type: str
    schema: dict[str, Any]
    example: dict[str, Any]


def public_event_types() -> list[str]:
    """Return the types that endpoints can subscribe to, by name."""
    return [name for name, event in event_types().items() if event.is_public]


def catalogue() -> list[PublicEvent]:
    """Return every public event, by type."""
    return [describe_event(event) for event in event_types().values() if event.is_public]


def describe_event(event: type[DomainEvent]) -> PublicEvent:
    """Return the catalogue's entry of one event class."""
    example = build_body(
        event_type=event.type,
        occurred_at=EXAMPLE_TIME,
        aggregate_type=event.aggregate_type,
        aggregate_id=EXAMPLE_ID,
        aggregate_version=1,
        organization_id=EXAMPLE_ID,
        payload=_example_payload(event),
    )
    return PublicEvent(
        type=event.type,
        description=inspect.cleandoc(event.__doc__ or ""),
        aggregate_type=event.aggregate_type,
        schema=_schema_of(event),
        example=example,
    )


def build_body(
    *,
    event_type: str,
    occurred_at: datetime | str,
    aggregate_type: str,
    aggregate_id: UUID,
    aggregate_version: int,
    organization_id: UUID | None,
    payload: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what receivers get: `type`, `timestamp`, and in `data` the facts, the aggregate and the organization."""
    when = occurred_at if isinstance(occurred_at, str) else occurred_at.isoformat().replace("+00:00", "Z")
    return {
        "type": event_type,
        "timestamp": when,
        "data": {
            "aggregate": {
                "type": aggregate_type,
                "id": _show_id(aggregate_type, str(aggregate_id)),
                "version": aggregate_version,
            },
            "organization_id": organization_id and _show_id("organization", str(organization_id)),
            **{name: _show(name, value) for name, value in payload.items()},
        },
    }


@lru_cache(maxsize=1)
def _prefixes() -> dict[str, str]:
    """Return the id prefix of every noun: `api_key` → `key`. A request is known by its usage record, no entity."""
    found = {"request": "req"}
    queue: list[type[Entity]] = [Entity]  # type: ignore[type-abstract]
    while queue:
        for child in queue.pop().__subclasses__():
            found[re.sub(r"(?<!^)(?=[A-Z])", "_", child.__name__).lower()] = child.ID_PREFIX
            queue.append(child)
    return found


def _show(name: str, value: Any) -> Any:
    """Return a payload value with ids as the API shows them: in `user_id` and `user_ids` those of users."""
    noun = re.sub(r"_ids?$", "", name)
    if noun == name:
        return value
    if isinstance(value, list):
        return [_show_id(noun, item) for item in value]
    return _show_id(noun, value)


def _show_id(noun: str, value: Any) -> Any:
    prefix = _prefixes().get(noun)
    if prefix is None or not isinstance(value, str):
        return value
    try:
        return encode_id(prefix, UUID(value))
    except ValueError:
        return value


def _example_payload(event: type[DomainEvent]) -> dict[str, Any]:
    """Return the declared example, as it would be stored; a field without one shows its default."""
    found = {
        field.name: event.example.get(field.name, field.default)
        for field in event.payload_fields()
        if field.name in event.example or field.default is not MISSING
    }
    stored: dict[str, Any] = orjson.loads(orjson.dumps(found, default=list))
    return stored


def _schema_of(event: type[DomainEvent]) -> dict[str, Any]:
    hints = get_type_hints(event)
    facts = {field.name: _field_schema(field.name, hints[field.name]) for field in event.payload_fields()}
    data = {
        "aggregate": {
            "type": "object",
            "required": ["type", "id", "version"],
            "properties": {
                "type": {"const": event.aggregate_type},
                "id": _id_schema(event.aggregate_type),
                "version": {"type": "integer", "minimum": 1},
            },
        },
        "organization_id": {"anyOf": [_id_schema("organization"), {"type": "null"}]},
        **facts,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": event.type,
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": event.type},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"type": "object", "required": list(data), "properties": data},
        },
    }


def _field_schema(name: str, hint: Any) -> dict[str, Any]:
    schema: dict[str, Any] = TypeAdapter(hint).json_schema(mode="serialization")
    noun = re.sub(r"_ids?$", "", name)
    shown: dict[str, Any] = _replace_uuids(schema, noun if noun != name else "")
    return shown


def _replace_uuids(schema: Any, noun: str) -> Any:
    if isinstance(schema, list):
        return [_replace_uuids(item, noun) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "uuid":
        return _id_schema(noun)
    return {key: _replace_uuids(value, noun) for key, value in schema.items()}


def _id_schema(noun: str) -> dict[str, Any]:
    prefix = _prefixes().get(noun)
    return {"type": "string", "pattern": f"^{prefix}{ID_PATTERN}"} if prefix else {"type": "string", "format": "uuid"}
