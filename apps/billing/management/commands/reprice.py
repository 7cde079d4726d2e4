"""`manage.py reprice`: let calls cost what the prices valid at their time say, and book the differences."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.billing.management.commands.usage_export import parse_moment
from apps.billing.models import Repricing
from apps.billing.services.repricing import RepricingReport, Scope, reprice_usage
from apps.core.actor import system_actor
from apps.core.ids import encode_id
from apps.core.money import from_micros

FIGURES = ("records", "unpriced", "adjusted", "old_cost_micros", "new_cost_micros")


class Command(BaseCommand):
    help = (
        "Compute the cost of calls anew, each by the price that was valid when it was forwarded, and book the differences "
        "as adjustments; records are never changed. May be stopped and run again at any time, and while the services run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--from",
            dest="since",
            type=parse_moment,
            required=True,
            help="calls forwarded at or after this date or time",
        )
        parser.add_argument(
            "--to", dest="until", type=parse_moment, help="calls forwarded before this date or time; default: now"
        )
        parser.add_argument("--provider", default="", help="only this provider's, by its slug")
        parser.add_argument("--model", default="", help="only this model, by its own or its upstream name")
        parser.add_argument("--dry-run", action="store_true", help="write nothing, only say what would change")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        scope = Scope(
            since=options["since"],
            until=options["until"] or datetime.now(UTC),
            provider=options["provider"],
            model=options["model"],
        )
        if scope.since >= scope.until:
            raise CommandError("--from must lie before --to.")
        report = reprice_usage(
            scope=scope, actor=system_actor(), is_dry_run=options["dry_run"], on_progress=self._show_progress
        )
        named = [f"{name} {options[name]!r}" for name in ("provider", "model") if options[name]]
        if named and not report.total("records"):
            self.stderr.write(f"No call of {' and '.join(named)} was made in that time: is the name right?")
        if options["json"]:
            self._print_json(report, is_dry_run=options["dry_run"])
        else:
            self._print(report, is_dry_run=options["dry_run"])

    def _show_progress(self, records: int, adjusted: int) -> None:
        self.stderr.write(f"{records:,} records looked at, {adjusted:,} differ")

    def _print_json(self, report: RepricingReport, *, is_dry_run: bool) -> None:
        repricing = report.repricing_id
        document = {
            "dry_run": is_dry_run,
            "repricing": encode_id(Repricing.ID_PREFIX, repricing) if repricing else None,
            **{name: report.total(name) for name in FIGURES},
            "models": [asdict(report.models[key]) for key in sorted(report.models)],
        }
        self.stdout.write(json.dumps(document))

    def _print(self, report: RepricingReport, *, is_dry_run: bool) -> None:
        for key in sorted(report.models):
            found = report.models[key]
            text = f"{found.provider}/{found.model}: {found.adjusted:,} of {found.records:,} records differ"
            if found.adjusted:
                text += f", {from_micros(found.old_cost_micros):f} becomes {from_micros(found.new_cost_micros):f}"
            if found.unpriced:
                text += f"; {found.unpriced:,} had no price at their time and stay"
            self.stdout.write(text)
        difference = from_micros(report.total("new_cost_micros") - report.total("old_cost_micros"))
        verb = "would be adjusted" if is_dry_run else "adjusted"
        self.stdout.write(
            f"{report.total('adjusted'):,} of {report.total('records'):,} records {verb}, {difference:+f} in all"
        )
