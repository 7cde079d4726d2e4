"""`manage.py reconcile`: compare a provider's bill with what was recorded."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.billing.errors import BillUnreadable
from apps.billing.models import ReconciliationLine
from apps.billing.services.reconciling import DEFAULT_TOLERANCE, Comparison, reconcile_bill
from apps.core.actor import system_actor
from apps.core.money import from_micros


def parse_percent(text: str) -> Decimal:
    """Return a percentage from 0 to 100; raise ArgumentTypeError for anything else."""
    try:
        value = Decimal(text)
        if 0 <= value <= 100:
            return value
    except InvalidOperation:
        pass
    raise ArgumentTypeError(f"'{text}' is not a percentage from 0 to 100, for example 0.5.")


class Command(BaseCommand):
    help = (
        "Compare a provider's bill (CSV: OpenAI usage or cost export, Anthropic usage or cost export, OpenRouter activity, "
        "or date, model, input_tokens, output_tokens, cost) with the usage records of its days, and keep the result. "
        "Exit code 1 when they differ by more than the tolerance."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--provider", required=True, help="slug of the provider whose bill it is")
        parser.add_argument("--csv", required=True, type=Path, help="the file")
        parser.add_argument(
            "--tolerance", type=parse_percent, default=DEFAULT_TOLERANCE, help="percent of the bill; default: 1"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["csv"]
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                found = reconcile_bill(
                    provider=options["provider"],
                    file_name=path.name,
                    text=file,
                    tolerance_percent=options["tolerance"],
                    actor=system_actor(),
                )
        except OSError as error:
            raise CommandError(f"{path} cannot be read: {error.strerror}.") from error
        except BillUnreadable as error:
            raise CommandError(f"{path.name}: {error.message}") from error
        if options["json"]:
            self._print_json(found)
        else:
            self._print(found)
        if not found.reconciliation.is_clean:
            sys.exit(1)

    def _print_json(self, found: Comparison) -> None:
        kept = found.reconciliation
        document = {
            "ok": kept.is_clean,
            "reconciliation": kept.public_id,
            "provider": kept.provider,
            "form": kept.form,
            "first_day": kept.first_day.isoformat(),
            "last_day": kept.last_day.isoformat(),
            "compared": kept.compared,
            "bill_cost_micros": kept.bill_cost_micros,
            "own_cost_micros": kept.own_cost_micros,
            "differences": [_describe(line) for line in found.differences],
        }
        self.stdout.write(json.dumps(document))

    def _print(self, found: Comparison) -> None:
        kept = found.reconciliation
        for line in found.differences:
            self.stdout.write(
                f"{line.day} {line.model}{' ' + line.request_id if line.request_id else ''}: {line.verdict}, "
                f"tokens in {_beside(line.bill_prompt_tokens, line.own_prompt_tokens)}, "
                f"out {_beside(line.bill_completion_tokens, line.own_completion_tokens)}, "
                f"cost {_beside(line.bill_cost_micros, line.own_cost_micros, is_money=True)}"
            )
        verdict = "the bill agrees" if kept.is_clean else f"{kept.differences} differences"
        cost = _beside(kept.bill_cost_micros, kept.own_cost_micros, is_money=True)
        self.stdout.write(
            f"{verdict}: {kept.compared} lines compared, {kept.first_day} to {kept.last_day}, cost {cost}"
        )


def _describe(line: ReconciliationLine) -> dict[str, Any]:
    names = ("prompt_tokens", "completion_tokens", "cost_micros")
    return {
        "day": line.day.isoformat(),
        "model": line.model,
        "request_id": line.request_id or None,
        "verdict": str(line.verdict),
        **{f"{side}_{name}": getattr(line, f"{side}_{name}") for name in names for side in ("bill", "own")},
    }


def _beside(bill: int | None, own: int, *, is_money: bool = False) -> str:
    def show(value: int) -> str:
        return f"{from_micros(value):f}" if is_money else str(value)

    return f"{'–' if bill is None else show(bill)} billed and {show(own)} recorded"
