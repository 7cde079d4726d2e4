"""`manage.py relay`, killed at every step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from apps.core.actor import Actor
from apps.core.ids import uuid7
from apps.events.models import Delivery, Event
from apps.events.services import publish, register_sweep, subscribe
from apps.events.services.subscriptions import unsubscribe
from apps.events.services.sweeping import Sweep, run_sweep, sweeps
from tests.support.events import LampLit
from tests.support.threads import run_together

# The relay of another process: it hears lamps, writes what it heard into a table of its own, and dies where it is told.
RELAY = """
import os, sys
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from apps.events.services import subscribe
from tests.support.events import LampLit

die_before, die_after = sys.argv[1] == "before", sys.argv[1] == "after"

def write(event):
    if die_before and event.payload["brightness"] == 3:
        os.kill(os.getpid(), 9)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO heard (version) VALUES (%s)", [event.aggregate_version])
    if die_after and event.payload["brightness"] == 3:
        os.kill(os.getpid(), 9)

subscribe("tests.listener", to=[LampLit], handler=write)
call_command("relay", *sys.argv[2:])
"""


@pytest.fixture
def heard(transactional_db: None) -> Iterator[None]:
    subscribe("tests.listener", to=[LampLit], handler=lambda event: None)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE heard (number serial, version int)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE heard")
    unsubscribe("tests.listener")


def versions() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version FROM heard ORDER BY number")
        return [row[0] for row in cursor.fetchall()]


def start_relay(*arguments: str) -> subprocess.Popen[bytes]:
    database = settings.DATABASES["default"]
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database)
    return subprocess.Popen(
        [sys.executable, "-c", RELAY, *arguments],
        env={**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "project.settings.test", "PYTHONPATH": "."},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def publish_five(actor: Actor) -> None:
    lamp = uuid7()
    for brightness in range(1, 6):
        with transaction.atomic():
            publish(LampLit(aggregate_id=lamp, brightness=brightness), actor=actor)


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_relay_killed_while_it_delivers_loses_and_doubles_nothing(actor: Actor, heard: None, step: str) -> None:
    publish_five(actor)
    assert start_relay(step, "--once").wait(timeout=60) == -signal.SIGKILL
    assert versions() == [1, 2]
    assert start_relay("never", "--once").wait(timeout=60) == 0
    assert versions() == [1, 2, 3, 4, 5]
    assert (Delivery.objects.count(), Event.objects.filter(type="lamp.lit").count()) == (0, 5)


def test_a_running_relay_hears_at_once_and_stops_on_sigterm(actor: Actor, heard: None) -> None:
    relay = start_relay("never")
    publish_five(actor)
    deadline = time.monotonic() + 60
    while len(versions()) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    relay.send_signal(signal.SIGTERM)
    assert relay.wait(timeout=15) == 0
    assert versions() == [1, 2, 3, 4, 5]


def test_once_delivers_sweeps_and_ends(actor: Actor, heard: None) -> None:
    register_sweep("tests.sweep", every_seconds=60, run=lambda: 2)
    publish_five(actor)
    out = StringIO()
    call_command("relay", "--once", stdout=out)
    sweeps().pop("tests.sweep")
    assert out.getvalue() == "5 delivered, 2 mended\n"


def test_a_failing_sweep_mends_nothing_and_frees_its_lock(db: None) -> None:
    results = iter([ZeroDivisionError("x"), 3])

    def sweep() -> int:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    register_sweep("tests.sweep", every_seconds=60, run=sweep)
    entry = sweeps().pop("tests.sweep")
    assert [run_sweep(entry), run_sweep(entry)] == [0, 3]


def test_a_sweep_that_another_process_is_at_is_left_to_it(db: None) -> None:
    theirs = Sweep("tests.sweep", 60, lambda: 5)
    found: list[object] = []

    def sweep() -> int:
        found.extend(run_together(lambda: run_sweep(theirs), count=1))
        return 1

    assert (run_sweep(Sweep("tests.sweep", 60, sweep)), found) == (1, [None])
    assert run_together(lambda: run_sweep(theirs), count=1) == [5]


def test_a_sweep_whose_connection_was_lost_leaves_no_lock_behind(transactional_db: None) -> None:
    def sweep() -> int:
        connection.close()
        return 3

    entry = Sweep("tests.sweep", 60, sweep)
    assert run_sweep(entry) == 3
    assert run_together(lambda: run_sweep(Sweep("tests.sweep", 60, lambda: 4)), count=1) == [4]
