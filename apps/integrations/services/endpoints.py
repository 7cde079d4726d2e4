"""Manage endpoints: create, change, delete, rotate secrets, send a test."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from apps.core.actor import Actor
from apps.core.context import current_request_id
from apps.core.errors import NotFound, PreconditionFailed
from apps.core.ids import uuid7
from apps.core.locks import lock
from apps.core.outbound import breaker
from apps.core.outbound.errors import OutboundRefused
from apps.core.outbound.guard import inspect_url
from apps.events.services import publish
from apps.integrations.choices import DeliveryState, DisabledReason
from apps.integrations.errors import EndpointDisabled, EventTypeUnknown, TooManyEndpoints, UrlRefused
from apps.integrations.events import (
    WebhookEndpointCreated,
    WebhookEndpointDeleted,
    WebhookEndpointUpdated,
    WebhookSecretRotated,
)
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.selectors.catalogue import build_body, public_event_types
from apps.integrations.services.delivering import circuit_of
from apps.integrations.services.signing import new_secret

# Every public event is written down once per endpoint that hears it: without a bound, one organization could multiply
# the work of all.
MAX_ENDPOINTS = 50
TEST_TYPE = "webhook.test"
OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=7)


def find_endpoint(*, actor: Actor, endpoint_id: UUID) -> WebhookEndpoint:
    """Return a visible endpoint with its queue locked. Needs a transaction; raise NotFound."""
    endpoint = WebhookEndpoint.objects.visible_to(actor).filter(id=endpoint_id).locked().first()
    if endpoint is None:
        raise NotFound("There is no such webhook endpoint.")
    return endpoint


@transaction.atomic
def create_endpoint(
    *,
    actor: Actor,
    organization_id: UUID,
    url: str,
    description: str = "",
    event_types: Sequence[str] = (),
) -> WebhookEndpoint:
    """Create an endpoint with a fresh secret, which the caller shows once.

    Raise UrlRefused, EventTypeUnknown, or TooManyEndpoints when the organization has 50.
    """
    _require_callable(url)
    _require_known(event_types)
    lock(f"webhook_endpoints:{organization_id}")
    if WebhookEndpoint.objects.kept().filter(organization_id=organization_id).count() >= MAX_ENDPOINTS:
        raise TooManyEndpoints(f"An organization has {MAX_ENDPOINTS} webhook endpoints at the most; delete one first.")
    endpoint: WebhookEndpoint = WebhookEndpoint.objects.create(
        organization_id=organization_id,
        url=url,
        description=description,
        event_types=sorted(set(event_types)),
        secret=new_secret(),
    )
    publish(
        WebhookEndpointCreated(
            aggregate_id=endpoint.id, organization_id=organization_id, event_types=tuple(endpoint.event_types)
        ),
        actor=actor,
    )
    return endpoint


@transaction.atomic
def update_endpoint(
    *, actor: Actor, endpoint_id: UUID, changes: dict[str, Any], expected_version: int | None = None
) -> WebhookEndpoint:
    """Change `url`, `description`, `event_types` or `is_active`.

    Another URL, and switching on, forget the failures and make what waits for a retry due at once. Raise NotFound,
    PreconditionFailed, UrlRefused, EventTypeUnknown.
    """
    endpoint = find_endpoint(actor=actor, endpoint_id=endpoint_id)
    if expected_version is not None and endpoint.version != expected_version:
        raise PreconditionFailed(
            f"{endpoint.public_id} is at version {endpoint.version}, If-Match named {expected_version}; "
            "GET it and try again.",
            headers={"ETag": endpoint.etag},
        )
    if "event_types" in changes:
        changes = changes | {"event_types": sorted(set(changes["event_types"]))}
    changed = sorted(name for name, value in changes.items() if getattr(endpoint, name) != value)
    if "url" in changed:
        _require_callable(changes["url"])
    if "event_types" in changed:
        _require_known(changes["event_types"])
    if not changed:
        return endpoint
    for name in changed:
        setattr(endpoint, name, changes[name])
    endpoint.disabled_reason = "" if endpoint.is_active else endpoint.disabled_reason or DisabledReason.MANUAL
    if "url" in changed or ("is_active" in changed and endpoint.is_active):
        _start_afresh(endpoint)
    endpoint.version += 1
    endpoint.save()
    publish(
        WebhookEndpointUpdated(
            aggregate_id=endpoint.id, organization_id=endpoint.organization_id, changed=tuple(changed)
        ),
        actor=actor,
    )
    return endpoint


@transaction.atomic
def delete_endpoint(*, actor: Actor, endpoint_id: UUID, expected_version: int | None = None) -> None:
    """Delete an endpoint: URL and secrets are wiped and nothing more is sent. Raise NotFound, PreconditionFailed."""
    endpoint = find_endpoint(actor=actor, endpoint_id=endpoint_id)
    if expected_version is not None and endpoint.version != expected_version:
        raise PreconditionFailed(f"{endpoint.public_id} is at version {endpoint.version}; GET it and try again.")
    now = timezone.now()
    WebhookDelivery.objects.of_endpoint(endpoint.id).open().update(
        state=DeliveryState.DEAD, lease_token=None, lease_until=None, finished_at=now, last_error="endpoint deleted"
    )
    endpoint.url, endpoint.description, endpoint.secret, endpoint.previous_secret = "", "", "", ""
    endpoint.previous_secret_valid_until = None
    endpoint.is_active, endpoint.disabled_reason, endpoint.deleted_at = False, DisabledReason.MANUAL, now
    endpoint.version += 1
    endpoint.save()
    publish(WebhookEndpointDeleted(aggregate_id=endpoint.id, organization_id=endpoint.organization_id), actor=actor)


@transaction.atomic
def rotate_secret(*, actor: Actor, endpoint_id: UUID, overlap: timedelta = OVERLAP) -> WebhookEndpoint:
    """Give an endpoint a new secret; the one before signs as well during the overlap, an older one no longer."""
    endpoint = find_endpoint(actor=actor, endpoint_id=endpoint_id)
    endpoint.previous_secret, endpoint.secret = endpoint.secret, new_secret()
    endpoint.previous_secret_valid_until = timezone.now() + overlap
    endpoint.version += 1
    endpoint.save()
    publish(
        WebhookSecretRotated(
            aggregate_id=endpoint.id,
            organization_id=endpoint.organization_id,
            overlap_seconds=int(overlap.total_seconds()),
        ),
        actor=actor,
    )
    return endpoint


@transaction.atomic
def send_test(*, actor: Actor, endpoint_id: UUID) -> WebhookDelivery:
    """Queue a test event for one endpoint, whatever it subscribed to. Raise NotFound, EndpointDisabled."""
    endpoint = find_endpoint(actor=actor, endpoint_id=endpoint_id)
    if not endpoint.is_active:
        raise EndpointDisabled("Switch the endpoint on before you test it.")
    now, event_id = timezone.now(), uuid7()
    body = build_body(
        event_type=TEST_TYPE,
        occurred_at=now,
        aggregate_type="webhook_endpoint",
        aggregate_id=endpoint.id,
        aggregate_version=1,
        organization_id=endpoint.organization_id,
        payload={"message": "This is a test. Verify the signature, answer 204, and you are done."},
    )
    delivery: WebhookDelivery = WebhookDelivery.objects.create(
        endpoint=endpoint,
        event_id=event_id,
        event_type=TEST_TYPE,
        occurred_at=now,
        request_id=actor.request_id or current_request_id(),
        ordering_key=f"test:{event_id}",
        sequence=1,
        body=orjson.dumps(body).decode(),
        due_at=now,
    )
    return delivery


def _start_afresh(endpoint: WebhookEndpoint) -> None:
    endpoint.consecutive_failures, endpoint.first_failed_at, endpoint.last_error = 0, None, ""
    queued = WebhookDelivery.objects.of_endpoint(endpoint.id).open().exclude(state=DeliveryState.SENDING)
    queued.update(attempt_count=0, due_at=timezone.now())
    transaction.on_commit(lambda: breaker.record_success(circuit_of(endpoint.id)))


def _require_callable(url: str) -> None:
    try:
        inspect_url(url)
    except OutboundRefused as error:
        raise UrlRefused(error.message, errors={"url": [error.message]}) from error


def _require_known(event_types: Sequence[str]) -> None:
    unknown = sorted(set(event_types) - set(public_event_types()))
    if unknown:
        message = f"There is no public event {', '.join(unknown)[:300]}; see GET /api/v3/webhooks/event-types."
        raise EventTypeUnknown(message, errors={"event_types": [message]})
