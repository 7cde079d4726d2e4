"""`manage.py bootstrap`: what must exist before anybody can log in."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from apps.core.actor import system_actor
from apps.core.context import bound
from apps.users.errors import BootstrapRefused
from apps.users.services.bootstrapping import Premises, bootstrap


class Command(BaseCommand):
    help = "Make the default organization, its administrator and an API key, where they are missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = system_actor()
        try:
            # Row changes are recorded as those of whom the events name.
            with bound(actor=actor), transaction.atomic():
                premises = bootstrap(
                    actor=actor,
                    email=settings.ADMIN_EMAIL,
                    password=settings.ADMIN_PASSWORD,
                    api_key=settings.BOOTSTRAP_API_KEY,
                )
                # Printed before the commit: a secret that exists was always shown to somebody.
                self.stdout.write(as_json(premises) if options["json"] else as_text(premises))
                self.stdout.flush()
        except BootstrapRefused as error:
            raise CommandError(error.message, returncode=2) from error


def as_json(premises: Premises) -> str:
    """Return the answer for programs; secrets only where they are new or came from the environment."""
    answer = {
        "admin_email": premises.administrator.email,
        "admin_password": premises.admin_password,
        "api_key": premises.api_key_secret,
        "api_key_prefix": premises.api_key.prefix,
        "organization_id": premises.organization.public_id,
    }
    return json.dumps({name: value for name, value in answer.items() if value})


def as_text(premises: Premises) -> str:
    """Return the answer for people."""
    lines = [f"Administrator  {premises.administrator.email}"]
    if premises.admin_password:
        lines.append(f"Password       {premises.admin_password}   (shown this once)")
    if premises.api_key_secret:
        lines.append(f"API key        {premises.api_key_secret}   (shown this once)")
    else:
        lines.append(f"API key        {premises.api_key.prefix}…")
    lines.append(f"Organization   {premises.organization.public_id}")
    return "\n".join(lines)
