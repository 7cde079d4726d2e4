"""`manage.py usage_export`: every usage record, one line each, while everything runs."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from apps.billing.selectors.exporting import export_usage, write_csv


def parse_moment(text: str) -> datetime:
    """Return an ISO 8601 date or time as a time; UTC where it names no zone. Raise ArgumentTypeError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"'{text}' is not an ISO 8601 date or time, for example 2026-11-01 or 2026-11-01T12:00Z."
        ) from None


class Command(BaseCommand):
    help = (
        "Print every usage record, oldest first, with its cost in micro-units. request_id is the x-portico-request-id "
        "of the answer. Works while the services run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=["ndjson", "csv"], default="ndjson", help="default: ndjson")
        parser.add_argument("--since", type=parse_moment, help="calls forwarded at or after this ISO 8601 date or time")
        parser.add_argument("--until", type=parse_moment, help="calls forwarded before this ISO 8601 date or time")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._print(options)
        except BrokenPipeError:
            # Whoever reads (`head`, say) has enough. What is left in the buffer must not fail at the exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _print(self, options: dict[str, Any]) -> None:
        # The server-side cursor lives in the transaction, behind a pooler too, and is closed before it ends.
        with transaction.atomic(), closing(export_usage(since=options["since"], until=options["until"])) as rows:
            if options["format"] == "csv":
                write_csv(rows, self.stdout)
                return
            for row in rows:
                self.stdout.write(orjson.dumps(row).decode())
