"""The base of every domain event and the register of their types."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

_types: dict[str, type[DomainEvent]] = {}


@dataclass(frozen=True, kw_only=True)
class DomainEvent:
    """A past fact about one aggregate. Subclasses add ids and facts as fields, never personal text.

    `type` is `noun.past_participle` and unique; `aggregate_type` names what `aggregate_id` identifies;
    `is_public` offers it to webhooks of the organization; `example` holds one value per added field, for the catalogue;
    `unheard_because` is the written reason where nobody but the audit trail listens.
    """

    type: ClassVar[str]
    aggregate_type: ClassVar[str]
    is_public: ClassVar[bool] = False
    example: ClassVar[dict[str, Any]] = {}
    unheard_because: ClassVar[str] = ""

    aggregate_id: UUID
    organization_id: UUID | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = _types.setdefault(cls.type, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"Two events are called {cls.type}: {known.__qualname__} and {cls.__qualname__}.")
        _types[cls.type] = cls

    @classmethod
    def payload_fields(cls) -> list[dataclasses.Field[Any]]:
        """Return the fields that a subclass added."""
        return [field for field in dataclasses.fields(cls) if field.name not in {"aggregate_id", "organization_id"}]

    def payload(self) -> dict[str, Any]:
        """Return the added fields as JSON values."""
        return {field.name: _to_json(getattr(self, field.name)) for field in self.payload_fields()}


def _to_json(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list | frozenset):
        return [_to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _to_json(item) for key, item in value.items()}
    return value


def event_types() -> dict[str, type[DomainEvent]]:
    """Return every declared event by its type, in order of name."""
    return dict(sorted(_types.items()))
