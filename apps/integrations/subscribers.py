"""What this house does about events: every public one goes into the queues of the endpoints that want it."""

from __future__ import annotations

from apps.events.events import DomainEvent
from apps.events.services import StoredEvent
from apps.integrations.services.queueing import enqueue_event
from apps.integrations.tasks import ring_on_commit


def is_offered(event: DomainEvent) -> bool:
    """Tell whether endpoints can subscribe to the event."""
    return event.is_public


def queue_webhooks(event: StoredEvent) -> None:
    """Queue the event for its organization's endpoints and ring for each."""
    for endpoint_id in enqueue_event(event=event):
        ring_on_commit(endpoint_id)
