"""What the commands that prove the books share: how a report is told, and the exit code."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser

from apps.billing.selectors.books import CheckReport


class CheckCommand(BaseCommand):
    """Tells what `check` found, line by line or as one JSON object; ends with 1 when something is wrong."""

    holds: ClassVar[str]
    """What is said when nothing is wrong."""

    def check_all(self, options: dict[str, Any]) -> CheckReport:
        """Return what is to be told."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        report = self.check_all(options)
        if options["json"]:
            findings = [asdict(finding) for finding in report.findings]
            self.stdout.write(json.dumps({"ok": report.is_clean, **report.counted, "findings": findings}))
        else:
            for finding in report.findings:
                self.stdout.write(f"{finding.defect} {finding.subject}: {finding.detail}")
            counted = ", ".join(f"{count} {name}" for name, count in report.counted.items())
            self.stdout.write(f"{self.holds if report.is_clean else f'{len(report.findings)} defects'}: {counted}")
        if not report.is_clean:
            sys.exit(1)
