"""What the gateway hears of lower houses."""

from __future__ import annotations

from uuid import UUID

from apps.events.services import StoredEvent
from apps.gateway.services.announcing import announce_catalogue_change
from apps.gateway.services.caching.policies import forget_person


def refresh_prices(event: StoredEvent) -> None:
    """Let running processes take a new price into account."""
    announce_catalogue_change()


def forget_cached_answers(event: StoredEvent) -> None:
    """Forget the answers to the questions of somebody who has left an organization."""
    if event.organization_id is not None:
        forget_person(user_id=UUID(event.payload["user_id"]), organization_id=event.organization_id)
