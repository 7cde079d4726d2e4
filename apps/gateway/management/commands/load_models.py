"""`manage.py load_models`: models, prices and the environment's providers into the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from apps.core.actor import system_actor
from apps.core.context import bound
from apps.gateway.services.loading import discover_models, load_catalogue


class Command(BaseCommand):
    help = "Load the model catalogue and the providers that the environment names. Safe to repeat: what staff edited stays."

    def handle(self, *args: Any, **options: Any) -> None:
        actor = system_actor()
        # Row changes are recorded as those of whom the events name.
        with bound(actor=actor):
            found = load_catalogue(actor=actor, discovered=discover_models())
        self.stdout.write(
            f"{found.providers} providers, {found.models} models, {found.deployments} deployments, {found.changed} changed"
        )
