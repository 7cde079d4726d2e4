"""2,000 events while every worker is killed every 10 seconds: none lost, order kept per aggregate."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from django.conf import settings

from apps.core.ids import encode_id, uuid7
from apps.events.models import Delivery, Event
from apps.integrations.models import WebhookDelivery
from apps.integrations.services.queueing import PARALLEL_PER_ENDPOINT
from tests.factories.integrations import WebhookEndpointFactory
from tests.support.lanterns import light
from tests.support.sink import Received, Reply, Sink
from tests.support.waiting import wait_until
from tests.support.webhook_journal import read_journal

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

LANTERNS, ROUNDS, WORKERS = 50, 40, 2
KILL_EVERY_SECONDS = 10.0
ROUND_SECONDS = 1.0

# The processes of the product, on the services of the test session, with a pool as in production.
SET_UP = """
import sys
import django
from django.conf import settings
settings.DATABASES["default"]["OPTIONS"]["pool"] = {"min_size": 0, "max_size": 20, "timeout": 10}
settings.CELERY_TASK_ALWAYS_EAGER = False
django.setup()
from tests.support import lanterns
"""
RELAY = SET_UP + "from django.core.management import call_command\ncall_command('relay')\n"
WORKER = SET_UP + "from project.celery import app\napp.worker_main(sys.argv[1:])\n"
OPTIONS = [
    "worker",
    "--loglevel=WARNING",
    "--concurrency=2",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
]


class Processes:
    """A relay and workers; workers are killed with their children and started again."""

    def __init__(self) -> None:
        self.relay = self._start(RELAY)
        self.workers = [self._start_worker(number) for number in range(WORKERS)]
        self.kills = 0
        self._stop = threading.Event()
        self._killer = threading.Thread(target=self._keep_killing)

    def start_killing(self) -> None:
        """Kill every worker each 10 seconds."""
        self._killer.start()

    def stop_killing(self) -> None:
        """Let the workers live."""
        self._stop.set()
        self._killer.join()

    def end(self) -> None:
        """Leave nothing running."""
        self._stop.set()
        for process in [self.relay, *self.workers]:
            self._kill(process)

    def _keep_killing(self) -> None:
        while not self._stop.wait(KILL_EVERY_SECONDS):
            for number, worker in enumerate(self.workers):
                self._kill(worker)
                self.workers[number] = self._start_worker(number)
            self.kills += 1

    def _start_worker(self, number: int) -> subprocess.Popen[bytes]:
        return self._start(WORKER, *OPTIONS, f"--hostname=chaos{number}@%h")

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @staticmethod
    def _start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
        url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**settings.DATABASES["default"])
        environment = {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "project.settings.test",
            "PYTHONPATH": ".",
            "PORTICO_OUTBOUND_ALLOW": "127.0.0.1/32",
        }
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


@pytest.fixture
def processes(transactional_db: None) -> Iterator[Processes]:
    running = Processes()
    yield running
    running.end()


def take_a_moment(request: Received) -> Reply:
    time.sleep(0.01)
    return Reply()


def test_killed_workers_lose_nothing_and_keep_the_order(processes: Processes) -> None:
    with Sink(take_a_moment) as sink:
        endpoint = WebhookEndpointFactory(url=sink.url)
        lanterns = [uuid7() for _ in range(LANTERNS)]
        processes.start_killing()
        for number in range(1, ROUNDS + 1):
            begun = time.monotonic()
            for lantern in lanterns:
                light(endpoint.organization_id, lantern=lantern, brightness=number)
            time.sleep(max(0.0, ROUND_SECONDS - (time.monotonic() - begun)))
        wait_until(lambda: processes.kills >= 4, seconds=400)
        processes.stop_killing()
        wait_until(lambda: not Delivery.objects.exists(), seconds=400)
        wait_until(lambda: not WebhookDelivery.objects.open().exists(), seconds=400)
        journal = read_journal(sink.received, secret=endpoint.secret)
    expected = {encode_id("evt", event_id) for event_id in Event.objects.values_list("id", flat=True)}
    assert len(expected) == LANTERNS * ROUNDS
    assert journal.ids == expected
    assert (journal.misordered, journal.overlapping) == ([], [])
    assert journal.doubled <= processes.kills * PARALLEL_PER_ENDPOINT
    assert WebhookDelivery.objects.exclude(state="succeeded").count() == 0
