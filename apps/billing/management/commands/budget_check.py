"""`manage.py budget_check`: prove that budgets have spent what their calls cost and never more than they allow."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from apps.billing.selectors.budget_check import BudgetsReport, check_budgets


class Command(BaseCommand):
    help = (
        "Check that what every budget has spent is the sum of its usage records, that what is leased is what processes hold, "
        "and that both together pass no hard limit. Exit code 1 when not. Works while the services run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        report = check_budgets()
        if options["json"]:
            findings = [asdict(finding) for finding in report.findings]
            self.stdout.write(json.dumps({"ok": report.is_clean, **report.counted, "findings": findings}))
        else:
            self._print(report)
        if not report.is_clean:
            sys.exit(1)

    def _print(self, report: BudgetsReport) -> None:
        for finding in report.findings:
            self.stdout.write(f"{finding.defect} {finding.budget}: {finding.detail}")
        counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
        verdict = "the budgets hold" if report.is_clean else f"{len(report.findings)} defects"
        self.stdout.write(f"{verdict}: {counted}")
