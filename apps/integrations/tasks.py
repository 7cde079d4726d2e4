"""The doorbell of webhooks. What is lost here is found by the sweep: the queues are rows."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import structlog
from celery import Task, shared_task
from celery.signals import worker_process_shutdown
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from apps.integrations.selectors.queues import endpoints_with_work
from apps.integrations.services.delivering import deliver_queue
from apps.integrations.services.dispatching import close_dispatcher, get_dispatcher

logger = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
# A ring that nobody heard for so long is worthless: the sweep has rung again.
RING_EXPIRES_SECONDS = 30
BROKER_REST_SECONDS = 5.0
SHUTDOWN_SECONDS = 5.0

_broker = {"rests_until": 0.0}


@shared_task(bind=True, name="integrations.deliver_endpoint", ignore_result=True)
def deliver_endpoint(self: Task[Any, Any], endpoint_id: str) -> None:
    """Send what waits in an endpoint's queue, in this process's threads; the task itself ends at once."""
    if self.request.is_eager:  # there is no worker: the caller waits
        deliver_queue(endpoint_id=UUID(endpoint_id))
    else:
        get_dispatcher().ring(UUID(endpoint_id))


def ring_endpoint(endpoint_id: UUID) -> None:
    """Tell a worker that the endpoint has work. A broker that is down holds nobody up."""
    if time.monotonic() < _broker["rests_until"]:
        return
    try:
        deliver_endpoint.apply_async((str(endpoint_id),), retry=False, expires=RING_EXPIRES_SECONDS)
    except OperationalError as error:
        _broker["rests_until"] = time.monotonic() + BROKER_REST_SECONDS
        logger.warning("webhook_bell_broken", error=str(error)[:200])


def ring_on_commit(endpoint_id: UUID) -> None:
    """Ring once the work is there to be seen."""
    transaction.on_commit(lambda: ring_endpoint(endpoint_id))


def ring_endpoints_with_work() -> int:
    """Ring for every endpoint with something due: retries whose time has come, dead senders, lost rings."""
    found = endpoints_with_work(timezone.now())
    for endpoint_id in found:
        ring_endpoint(endpoint_id)
    return len(found)


@worker_process_shutdown.connect
def finish_sending(**_: Any) -> None:
    """Let what is being sent end before a worker process goes."""
    close_dispatcher(seconds=SHUTDOWN_SECONDS)
