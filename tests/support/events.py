"""An event of no house, for tests of the event store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from apps.events.events import DomainEvent


@dataclass(frozen=True, kw_only=True)
class LampLit(DomainEvent):
    """A lamp was lit."""

    type: ClassVar[str] = "lamp.lit"
    aggregate_type: ClassVar[str] = "lamp"
    example: ClassVar[dict[str, Any]] = {"brightness": 3, "by": []}
    unheard_because: ClassVar[str] = "only tests light lamps"

    brightness: int
    by: tuple[UUID | None, ...] = ()
