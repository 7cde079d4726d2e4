"""Facts about webhook endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from apps.events.events import DomainEvent

AUDIT_ONLY = "the audit trail keeps it; nobody acts on it"


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointCreated(DomainEvent):
    """An organization named an endpoint for webhooks."""

    type: ClassVar[str] = "webhook_endpoint.created"
    aggregate_type: ClassVar[str] = "webhook_endpoint"
    example: ClassVar[dict[str, Any]] = {"event_types": ["conversation.created"]}
    unheard_because: ClassVar[str] = AUDIT_ONLY

    event_types: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointUpdated(DomainEvent):
    """Somebody changed an endpoint; the names of the changed fields say what."""

    type: ClassVar[str] = "webhook_endpoint.updated"
    aggregate_type: ClassVar[str] = "webhook_endpoint"
    example: ClassVar[dict[str, Any]] = {"changed": ["url"]}
    unheard_because: ClassVar[str] = AUDIT_ONLY

    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointDeleted(DomainEvent):
    """Somebody removed an endpoint; what was queued for it is no longer sent."""

    type: ClassVar[str] = "webhook_endpoint.deleted"
    aggregate_type: ClassVar[str] = "webhook_endpoint"
    unheard_because: ClassVar[str] = AUDIT_ONLY


@dataclass(frozen=True, kw_only=True)
class WebhookSecretRotated(DomainEvent):
    """An endpoint got a new secret; the old one signs as well until the overlap ends."""

    type: ClassVar[str] = "webhook_endpoint.secret_rotated"
    aggregate_type: ClassVar[str] = "webhook_endpoint"
    example: ClassVar[dict[str, Any]] = {"overlap_seconds": 86400}
    unheard_because: ClassVar[str] = AUDIT_ONLY

    overlap_seconds: int


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointDisabled(DomainEvent):
    """The platform stopped sending to an endpoint, because it failed for days or answered 410 Gone."""

    type: ClassVar[str] = "webhook_endpoint.disabled"
    aggregate_type: ClassVar[str] = "webhook_endpoint"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {"reason": "failing"}

    reason: str


@dataclass(frozen=True, kw_only=True)
class WebhookDeliveriesReplayed(DomainEvent):
    """Somebody had finished deliveries of an endpoint sent again."""

    type: ClassVar[str] = "webhook_endpoint.deliveries_replayed"
    aggregate_type: ClassVar[str] = "webhook_endpoint"
    example: ClassVar[dict[str, Any]] = {"count": 12}
    unheard_because: ClassVar[str] = AUDIT_ONLY

    count: int
