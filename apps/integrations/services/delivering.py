"""Send what an endpoint's queue holds: claim, commit, talk to the remote side, record.

No transaction and no connection is held while the remote side takes its time. A sender may be killed between any two
lines: its lease runs out and the delivery goes again under the same webhook id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.utils import timezone

from apps.core.actor import system_actor
from apps.core.context import bound
from apps.core.outbound import breaker
from apps.core.outbound.breaker import Circuit
from apps.core.outbound.client import OutboundClient
from apps.core.outbound.errors import CircuitOpen, FailureKind, OutboundFailed, OutboundRefused
from apps.events.services import publish
from apps.integrations.choices import DeliveryState, DisabledReason
from apps.integrations.events import WebhookEndpointDisabled
from apps.integrations.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from apps.integrations.services.queueing import Claim, claim_next, give_back, lock_endpoint, settle, still_claimed
from apps.integrations.services.schedule import DISABLE_AFTER, next_due
from apps.integrations.services.signing import mask_signature, sign

logger = structlog.get_logger(__name__)

CLIENT = OutboundClient(purpose="webhooks", connect_seconds=5, read_seconds=15, total_seconds=15, max_bytes=16 * 1024)
# A name look-up and a whole call, with room to spare: with less of its lease left a sender does not begin.
SEND_SECONDS = 30
# After so many deliveries a sender lets other endpoints have its thread.
SHIFT = 20
GONE = 410
KEPT_RESPONSE_HEADERS = ("content-type", "content-length", "date", "location", "retry-after", "server", "x-request-id")
# How often a success is written to an endpoint that was well before.
HEALTH_INTERVAL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt brought."""

    started_at: datetime
    duration_ms: int
    headers: dict[str, str]
    status: int | None = None
    response_headers: dict[str, str] | None = None
    response_body: str = ""
    is_truncated: bool = False
    error_kind: str = ""
    error: str = ""

    @property
    def is_success(self) -> bool:
        """Tell whether the receiver took it: 2xx and nothing else, redirects are failures."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def summary(self) -> str:
        """Return the failure in a few words."""
        return "" if self.is_success else self.error or f"The receiver answered {self.status}."


def circuit_of(endpoint_id: UUID) -> Circuit:
    """Return the breaker of an endpoint. Only silence trips it: a receiver that refuses at once costs nobody a thread."""
    return Circuit(f"webhook:{endpoint_id}", threshold=4, trips_on=frozenset({FailureKind.TIMEOUT}))


def deliver_queue(*, endpoint_id: UUID, leave_database: Callable[[], None] = lambda: None) -> bool:
    """Send what is due at an endpoint, one after the other; tell whether there may be more.

    `leave_database` is called before every wait for the remote side, and at the end.
    """
    circuit = circuit_of(endpoint_id)
    for _ in range(SHIFT):
        if breaker.is_open(circuit):
            return False
        claim = claim_next(endpoint_id=endpoint_id)
        leave_database()
        if claim is None:
            return False
        is_tried = deliver(claim=claim)
        leave_database()
        if not is_tried:
            return False
    return True


def deliver(*, claim: Claim) -> bool:
    """Send a claimed delivery and record what came of it; tell whether it was tried at all."""
    with bound(
        actor=system_actor(organization_id=claim.endpoint.organization_id), request_id=claim.delivery.request_id
    ):
        try:
            outcome = attempt_delivery(claim)
        except CircuitOpen:
            give_back(claim=claim)
            return False
        if outcome is None:
            return False
        record_outcome(claim=claim, outcome=outcome)
        return True


def attempt_delivery(claim: Claim) -> Outcome | None:
    """Send the request; None when the lease does not last long enough for it. Raise CircuitOpen."""
    if claim.seconds_left() < SEND_SECONDS:
        logger.warning("webhook_lease_too_short", delivery=claim.delivery.public_id)
        return None
    started_at = timezone.now()
    headers = {
        "content-type": "application/json",
        **sign(
            webhook_id=claim.delivery.webhook_id,
            sent_at=started_at,
            body=claim.delivery.body,
            valid_secrets=claim.endpoint.valid_secrets(started_at),
        ),
    }
    shown = mask_signature(headers)
    try:
        response = CLIENT.send(
            "POST",
            claim.endpoint.url,
            headers=headers,
            body=claim.delivery.body.encode(),
            circuit=circuit_of(claim.endpoint.id),
        )
    except CircuitOpen:
        raise
    except (OutboundRefused, OutboundFailed) as error:
        duration = timezone.now() - started_at
        return Outcome(
            started_at=started_at,
            duration_ms=max(0, round(duration.total_seconds() * 1000)),
            headers=shown,
            error_kind=error.kind.value,
            error=error.message[:500],
        )
    return Outcome(
        started_at=started_at,
        duration_ms=response.duration_ms,
        headers=shown,
        status=response.status,
        response_headers={name: response.headers[name] for name in KEPT_RESPONSE_HEADERS if name in response.headers},
        response_body=response.text,
        is_truncated=response.is_truncated,
    )


def record_outcome(*, claim: Claim, outcome: Outcome) -> None:
    """Keep the attempt and move the delivery, its ordering key and the endpoint's health on, all at once."""
    with transaction.atomic():
        endpoint = lock_endpoint(claim.endpoint.id)
        if endpoint is None:
            return
        delivery = still_claimed(claim)
        number = (delivery or claim.delivery).attempt_count + 1
        _keep_attempt(claim, outcome, number)
        if delivery is None:
            logger.warning("webhook_lease_lost", delivery=claim.delivery.public_id, status=outcome.status)
            return
        delivery.attempt_count, delivery.last_error = number, outcome.summary[:500]
        if outcome.is_success:
            settle(delivery, state=DeliveryState.SUCCEEDED)
            _note_success(endpoint, outcome)
        else:
            _settle_failure(delivery, outcome)
            _note_failure(endpoint, outcome)


def _keep_attempt(claim: Claim, outcome: Outcome, number: int) -> None:
    WebhookAttempt.objects.create(
        delivery_id=claim.delivery.id,
        number=number,
        started_at=outcome.started_at,
        duration_ms=outcome.duration_ms,
        url=claim.endpoint.url,
        request_headers=outcome.headers,
        response_status=outcome.status,
        response_headers=outcome.response_headers or {},
        response_body=outcome.response_body,
        is_body_truncated=outcome.is_truncated,
        is_success=outcome.is_success,
        error_kind=outcome.error_kind,
        error=outcome.error,
    )


def _settle_failure(delivery: WebhookDelivery, outcome: Outcome) -> None:
    retry_after = (outcome.response_headers or {}).get("retry-after", "")
    due_at = next_due(attempts=delivery.attempt_count, now=timezone.now(), retry_after=retry_after)
    settle(delivery, state=DeliveryState.PENDING if due_at else DeliveryState.DEAD, due_at=due_at)
    log = logger.info if due_at else logger.error
    log(
        "webhook_failed" if due_at else "webhook_dead",
        delivery=delivery.public_id,
        endpoint=str(delivery.endpoint_id),
        attempts=delivery.attempt_count,
        status=outcome.status,
        kind=outcome.error_kind,
    )


def _note_success(endpoint: WebhookEndpoint, outcome: Outcome) -> None:
    last = endpoint.last_succeeded_at
    if not endpoint.consecutive_failures and last is not None and outcome.started_at - last < HEALTH_INTERVAL:
        return
    endpoint.consecutive_failures, endpoint.first_failed_at, endpoint.last_error = 0, None, ""
    endpoint.last_succeeded_at = outcome.started_at
    endpoint.save(update_fields=["consecutive_failures", "first_failed_at", "last_error", "last_succeeded_at"])


def _note_failure(endpoint: WebhookEndpoint, outcome: Outcome) -> None:
    endpoint.consecutive_failures += 1
    endpoint.first_failed_at = endpoint.first_failed_at or outcome.started_at
    endpoint.last_error = outcome.summary[:500]
    endpoint.save(update_fields=["consecutive_failures", "first_failed_at", "last_error"])
    if outcome.status == GONE:
        _disable(endpoint, DisabledReason.GONE)
    elif timezone.now() - endpoint.first_failed_at >= DISABLE_AFTER:
        _disable(endpoint, DisabledReason.FAILING)


def _disable(endpoint: WebhookEndpoint, reason: DisabledReason) -> None:
    if not endpoint.is_active:
        return
    endpoint.is_active, endpoint.disabled_reason = False, reason
    endpoint.version += 1
    endpoint.save(update_fields=["is_active", "disabled_reason", "version", "updated_at"])
    publish(
        WebhookEndpointDisabled(
            aggregate_id=endpoint.id, organization_id=endpoint.organization_id, reason=reason.value
        ),
        actor=system_actor(organization_id=endpoint.organization_id),
    )
    logger.warning("webhook_endpoint_disabled", endpoint=endpoint.public_id, reason=reason.value)
