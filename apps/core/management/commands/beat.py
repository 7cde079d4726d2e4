"""`manage.py beat`: ring for what is scheduled."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Enqueue scheduled tasks until told to stop. A second one does no harm: every task may run twice."

    def handle(self, *args: Any, **options: Any) -> None:
        current_app.start(["--quiet", "beat", "--loglevel=WARNING", "--pidfile="])
