"""`manage.py relay`: deliver the outbox and run the sweeps until told to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import Error as DatabaseError
from django.db import connection
from psycopg_pool import PoolTimeout

from apps.events.services.delivering import deliver_next
from apps.events.services.publishing import CHANNEL
from apps.events.services.sweeping import run_sweep, sweeps

logger = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
RECONNECT_SECONDS = 1.0


class Command(BaseCommand):
    help = "Deliver events from the outbox and run the sweeps. Start as many as you like; they share the work."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="deliver what is due, run every sweep once, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            delivered = 0
            while deliver_next():
                delivered += 1
            mended = sum(run_sweep(sweep) or 0 for sweep in sweeps().values())
            self.stdout.write(f"{delivered} delivered, {mended} mended")
            return
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        sweeper = threading.Thread(target=_keep_going, args=(stop, _sweep_round), name="sweeps", daemon=True)
        sweeper.start()
        _keep_going(stop, _deliver_round)
        sweeper.join(timeout=5)


def _keep_going(stop: threading.Event, run: Callable[[threading.Event], None]) -> None:
    """Run a round after the other; a database that does not answer is waited for."""
    while not stop.is_set():
        try:
            run(stop)
        except (DatabaseError, psycopg.Error, PoolTimeout) as error:
            logger.warning("relay_waits_for_database", error=str(error)[:200])
            stop.wait(RECONNECT_SECONDS)
        finally:
            connection.close()


def _deliver_round(stop: threading.Event) -> None:
    """Deliver until nothing is due, then listen for the next NOTIFY, a second at the most."""
    parameters = {**connection.get_connection_params()}
    for ours in ("cursor_factory", "context", "pool", "prepare_threshold"):
        parameters.pop(ours, None)
    with psycopg.connect(**parameters, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        while not stop.is_set():
            while not stop.is_set() and deliver_next():
                pass
            for _ in listener.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass


def _sweep_round(stop: threading.Event) -> None:
    """Run each sweep when its time has come."""
    due = dict.fromkeys(sweeps(), 0.0)
    while not stop.is_set():
        now = time.monotonic()
        for name, sweep in sweeps().items():
            if due[name] <= now and not stop.is_set():
                run_sweep(sweep)
                due[name] = time.monotonic() + sweep.every_seconds
        stop.wait(0.5)
