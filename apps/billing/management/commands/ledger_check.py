"""`manage.py ledger_check`: prove that the books balance and match the usage, or say precisely where they don't."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.billing.management.commands.usage_export import parse_moment
from apps.billing.selectors.books import BooksReport, check_books


class Command(BaseCommand):
    help = (
        "Check that postings sum to zero, that every usage record and adjustment has exactly one debit of its amount and no "
        "debit is without one, and that balances and hourly sums are right. Exit code 1 when not. Works while the services "
        "run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=parse_moment,
            help="only what was forwarded since then, without the balances of the accounts",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        report = check_books(since=options["since"])
        if options["json"]:
            findings = [asdict(finding) for finding in report.findings]
            self.stdout.write(json.dumps({"ok": report.is_clean, **report.counted, "findings": findings}))
        else:
            self._print(report)
        if not report.is_clean:
            sys.exit(1)

    def _print(self, report: BooksReport) -> None:
        for finding in report.findings:
            self.stdout.write(f"{finding.defect} {finding.subject}: {finding.detail}")
        counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
        verdict = "the books balance" if report.is_clean else f"{len(report.findings)} defects"
        self.stdout.write(f"{verdict}: {counted}")
