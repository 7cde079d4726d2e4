"""What the gateway hears of lower houses."""

from __future__ import annotations

from apps.events.services import StoredEvent
from apps.gateway.services.announcing import announce_catalogue_change


def refresh_prices(event: StoredEvent) -> None:
    """Let running processes take a new price into account."""
    announce_catalogue_change()
