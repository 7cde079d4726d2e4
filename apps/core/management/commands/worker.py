"""`manage.py worker`: run tasks."""

from __future__ import annotations

import os
import warnings
from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand, CommandParser

MOST_PROCESSES = 4
# What takes Celery seconds at its start and is of use only between many workers.
OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat")


class Command(BaseCommand):
    help = "Run tasks until told to stop. Start as many as you like; they share the queues."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=int,
            default=min(os.cpu_count() or 1, MOST_PROCESSES),
            help=f"number of processes; default one for each core, {MOST_PROCESSES} at the most",
        )
        parser.add_argument("--queues", help="comma-separated; default all")

    def handle(self, *args: Any, **options: Any) -> None:
        queues = [f"--queues={options['queues']}"] if options["queues"] else []
        concurrency = f"--concurrency={options['concurrency']}"
        # Root is warned at every start; who runs containers knows.
        warnings.filterwarnings("ignore", category=UserWarning, module="celery.platforms")
        current_app.worker_main(["--quiet", "worker", "--loglevel=WARNING", concurrency, *OPTIONS, *queues])
