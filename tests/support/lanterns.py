"""A public event of no house, for tests of webhooks. Import it only where the catalogue may hold it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction

from apps.core.actor import system_actor
from apps.core.ids import uuid7
from apps.events.events import DomainEvent
from apps.events.models import Event
from apps.events.services import publish
from apps.events.services.delivering import deliver_next


@dataclass(frozen=True, kw_only=True)
class LanternLit(DomainEvent):
    """A lantern was lit."""

    type: ClassVar[str] = "lantern.lit"
    aggregate_type: ClassVar[str] = "lantern"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "brightness": 3,
        "user_id": "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5",
        "watcher_ids": [],
        "until": "2026-03-01T12:00:00Z",
    }

    brightness: int
    user_id: UUID | None = None
    watcher_ids: tuple[UUID, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LanternStolen(DomainEvent):
    """A lantern was stolen, which is nobody's business."""

    type: ClassVar[str] = "lantern.stolen"
    aggregate_type: ClassVar[str] = "lantern"
    unheard_because: ClassVar[str] = "only tests steal lanterns"


def light(organization_id: UUID, *, lantern: UUID | None = None, times: int = 1, **facts: Any) -> list[Event]:
    """Light a lantern of an organization, brighter every time; return the stored events."""
    lantern = lantern or uuid7()
    actor = system_actor(organization_id=organization_id, request_id="req_lantern")
    with transaction.atomic():
        return [
            publish(
                LanternLit(aggregate_id=lantern, organization_id=organization_id, **{"brightness": number, **facts}),
                actor=actor,
            )
            for number in range(1, times + 1)
        ]


def relay() -> int:
    """Deliver what waits in the outbox; return how much there was."""
    count = 0
    while deliver_next():
        count += 1
    return count
