"""`manage.py ledger_check`: prove that the books balance and match the usage, or say precisely where they don't."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.management.base import CommandParser

from apps.billing.management.checking import CheckCommand
from apps.billing.management.commands.usage_export import parse_moment
from apps.billing.selectors.books import CheckReport, check_books


class Command(CheckCommand):
    help = (
        "Check that postings sum to zero, that every usage record and adjustment has exactly one debit of its amount and no "
        "debit is without one, and that balances and hourly sums are right. Exit code 1 when not. Works while the services "
        "run."
    )
    holds: ClassVar[str] = "the books balance"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--since",
            type=parse_moment,
            help="only what was forwarded since then, without the balances of the accounts",
        )

    def check_all(self, options: dict[str, Any]) -> CheckReport:
        return check_books(since=options["since"])
