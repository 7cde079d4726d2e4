"""Senders that are killed lose nothing, keep the order, and never send the same thing twice at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django.conf import settings

from apps.core.ids import encode_id, uuid7
from apps.events.models import Event
from apps.integrations import subscribers
from apps.integrations.models import WebhookDelivery
from apps.integrations.services.queueing import PARALLEL_PER_ENDPOINT
from tests.factories.integrations import WebhookEndpointFactory
from tests.integrations.test_delivering import closed_port_url
from tests.support.lanterns import light, relay
from tests.support.sink import Received, Reply, Sink
from tests.support.waiting import wait_until
from tests.support.webhook_journal import read_journal

# A worker of another process, with a lease that runs out within the patience of a test.
WORKER = """
import time
import django
django.setup()
from django.db import connection
from django.utils import timezone
from apps.integrations.selectors.queues import endpoints_with_work
from apps.integrations.services import delivering, queueing
from apps.integrations.services.dispatching import get_dispatcher

queueing.LEASE_SECONDS, delivering.SEND_SECONDS = 2, 1
connection.settings_dict["OPTIONS"]["pool"] = {"min_size": 0, "max_size": 20, "timeout": 10}
while True:
    for endpoint_id in endpoints_with_work(timezone.now()):
        get_dispatcher().ring(endpoint_id)
    time.sleep(0.02)
"""
LANTERNS, ROUNDS = 10, 20
KILLED_IN = {5, 15}  # while events come in, and while the queue is long


def take_a_moment(request: Received) -> Reply:
    time.sleep(0.005)
    return Reply()


def start_worker() -> subprocess.Popen[bytes]:
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings.DATABASES["default"])
    environment = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "project.settings.test", "PYTHONPATH": "."}
    allow = {"PORTICO_OUTBOUND_ALLOW": "127.0.0.1/32"}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env={**os.environ, **environment, **allow},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def workers() -> Iterator[list[subprocess.Popen[bytes]]]:
    running = [start_worker(), start_worker()]
    yield running
    for worker in running:
        worker.kill()
        worker.wait()


@pytest.mark.django_db(transaction=True)
def test_killed_workers_lose_nothing_and_keep_the_order(workers, monkeypatch) -> None:
    monkeypatch.setattr(subscribers, "ring_on_commit", lambda endpoint_id: None)
    with Sink(take_a_moment) as sink:
        endpoint = WebhookEndpointFactory(url=sink.url)
        dead = WebhookEndpointFactory(url=closed_port_url(), organization=endpoint.organization)
        lanterns = [uuid7() for _ in range(LANTERNS)]
        for number in range(1, ROUNDS + 1):
            for lantern in lanterns:
                light(endpoint.organization_id, lantern=lantern, brightness=number)
            relay()
            if number in KILLED_IN:
                sink.wait_for(number * LANTERNS // 2, seconds=90)
                victim = workers.pop(0)
                victim.kill()
                victim.wait()
                workers.append(start_worker())
        mine = WebhookDelivery.objects.of_endpoint(endpoint.id)
        wait_until(lambda: not mine.open().exists(), seconds=90)
        journal = read_journal(sink.received, secret=endpoint.secret)
    expected = {encode_id("evt", event_id) for event_id in Event.objects.values_list("id", flat=True)}
    assert len(expected) == LANTERNS * ROUNDS
    assert journal.ids == expected
    assert (journal.misordered, journal.overlapping) == ([], [])
    assert journal.doubled <= len(KILLED_IN) * PARALLEL_PER_ENDPOINT
    assert mine.exclude(state="succeeded").count() == 0
    assert WebhookDelivery.objects.of_endpoint(dead.id).filter(state="succeeded").count() == 0
