"""`manage.py partitions`: keep the months ahead in existence and drop what retention lets go."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.core.partitions import drop_expired, ensure_partitions


class Command(BaseCommand):
    help = "Create the monthly partitions ahead and drop those past retention. Safe to run at any time, also twice."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        made, dropped = ensure_partitions(), drop_expired()
        if options["json"]:
            self.stdout.write(json.dumps({"created": made, "dropped": dropped}))
            return
        for name in made:
            self.stdout.write(f"created {name}")
        for name in dropped:
            self.stdout.write(f"dropped {name}")
        self.stdout.write(f"{len(made)} created, {len(dropped)} dropped")
