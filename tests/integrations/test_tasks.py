"""The doorbell: useful when it works, not needed when it does not."""

from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from apps.events.services.sweeping import run_sweep, sweeps
from apps.integrations import tasks
from apps.integrations.models import WebhookEndpoint
from tests.factories.integrations import WebhookDeliveryFactory
from tests.support.lanterns import light, relay
from tests.support.sink import Sink


@pytest.fixture(autouse=True)
def _broker_well(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "_broker", {"rests_until": 0.0})


def test_the_relay_rings_for_each_endpoint_after_its_commit(
    endpoint: WebhookEndpoint, sink: Sink, django_capture_on_commit_callbacks
) -> None:
    light(endpoint.organization_id)
    with django_capture_on_commit_callbacks() as callbacks:
        relay()
    assert (len(callbacks), sink.received) == (1, [])
    callbacks[0]()
    assert len(sink.received) == 1


def test_the_sweep_finds_what_nobody_rang_for(endpoint: WebhookEndpoint, sink: Sink) -> None:
    WebhookDeliveryFactory(endpoint=endpoint)
    assert run_sweep(sweeps()["integrations.webhooks"]) == 1
    assert len(sink.received) == 1
    assert run_sweep(sweeps()["integrations.webhooks"]) == 0


def test_a_broken_broker_is_asked_once_in_a_while_and_fails_nobody(endpoint: WebhookEndpoint, monkeypatch) -> None:
    asked = []

    def fail(*args, **kwargs):
        asked.append(kwargs)
        raise OperationalError("broker is down")

    monkeypatch.setattr(tasks.deliver_endpoint, "apply_async", fail)
    for _ in range(5):
        tasks.ring_endpoint(endpoint.id)
    assert [call["expires"] for call in asked] == [30]


def test_in_a_worker_the_task_only_rings_the_dispatcher(endpoint: WebhookEndpoint, sink: Sink, monkeypatch) -> None:
    rung = []

    class Bell:
        def ring(self, endpoint_id):
            rung.append(endpoint_id)

    monkeypatch.setattr(tasks, "get_dispatcher", Bell)
    WebhookDeliveryFactory(endpoint=endpoint)
    tasks.deliver_endpoint.run(str(endpoint.id))
    assert (rung, sink.received) == ([endpoint.id], [])


def test_a_worker_that_ends_lets_what_is_being_sent_end(monkeypatch) -> None:
    closed = []
    monkeypatch.setattr(tasks, "close_dispatcher", lambda *, seconds: closed.append(seconds))
    tasks.worker_process_shutdown.send(sender=None)
    assert closed == [5.0]
