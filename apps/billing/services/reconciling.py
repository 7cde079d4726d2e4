"""Compare what was recorded with what a provider charged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db import connection, transaction

from apps.billing.choices import Verdict
from apps.billing.events import BillReconciled
from apps.billing.models import Reconciliation, ReconciliationLine
from apps.billing.services.bill_forms import BillLine, model_key, read_bill
from apps.core.actor import Actor
from apps.events.services import publish

DEFAULT_TOLERANCE = Decimal(1)
"""Percent of the bill."""
ROUNDING_MICROS = 5_000
"""Bills round to cents: half a cent of a day and model is no difference."""
BATCH = 5000

READ_RECORDS = """
    SELECT (record.created_at AT TIME ZONE 'UTC')::date, coalesce(nullif(record.upstream_model, ''), record.model),
        {request}, sum(record.prompt_tokens)::bigint, sum(record.completion_tokens)::bigint,
        (sum(record.cost_micros) + coalesce(sum(made.micros), 0))::bigint
    FROM billing_usage_record AS record
    LEFT JOIN (
        SELECT record_id, created_at, sum(amount_micros) AS micros FROM billing_adjustment
        WHERE created_at >= %(since)s AND created_at < %(until)s GROUP BY record_id, created_at
    ) AS made ON made.record_id = record.id AND made.created_at = record.created_at
    WHERE record.provider = %(provider)s AND record.created_at >= %(since)s AND record.created_at < %(until)s
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
"""


@dataclass(slots=True)
class _Pair:
    day: date
    model: str
    request_id: str = ""
    bill: BillLine | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micros: int = 0
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """A stored reconciliation and those of its lines that do not agree."""

    reconciliation: Reconciliation
    differences: list[ReconciliationLine] = field(default_factory=list)


@transaction.atomic
def reconcile_bill(
    *, provider: str, file_name: str, text: Iterable[str], actor: Actor, tolerance_percent: Decimal = DEFAULT_TOLERANCE
) -> Comparison:
    """Compare a provider's bill with the records of its days, store what was found, and return what does not agree.

    Requests are matched by the provider's own ids where the bill names them, else all of a day (UTC) and model together.
    Tokens and costs that differ by more than `tolerance_percent` of the bill count as differences; adjustments are part of
    what was recorded. Raise BillUnreadable.
    """
    bill = read_bill(text)
    first, last = min(line.day for line in bill.lines), max(line.day for line in bill.lines)
    pairs = _match(bill.lines, provider, first, last, by_request=bill.names_requests)
    lines = [_judge(pair, tolerance_percent) for pair in pairs]
    differences = [line for line in lines if line.verdict != Verdict.AGREES]
    costs = [line.cost_micros for line in bill.lines if line.cost_micros is not None]
    found = Reconciliation.objects.create(
        provider=provider,
        form=bill.form,
        file_name=file_name[:200],
        first_day=first,
        last_day=last,
        tolerance_percent=tolerance_percent,
        compared=len(lines),
        differences=len(differences),
        bill_cost_micros=sum(costs) if costs else None,
        own_cost_micros=sum(pair.cost_micros for pair in pairs),
    )
    for line in lines:
        line.reconciliation = found
    ReconciliationLine.objects.bulk_create(lines, batch_size=BATCH)
    publish(
        BillReconciled(
            aggregate_id=found.id,
            provider=provider,
            first_day=first.isoformat(),
            last_day=last.isoformat(),
            compared=len(lines),
            differences=len(differences),
            bill_cost_micros=found.bill_cost_micros,
            own_cost_micros=found.own_cost_micros,
        ),
        actor=actor,
    )
    return Comparison(found, differences)


def _match(lines: list[BillLine], provider: str, first: date, last: date, *, by_request: bool) -> list[_Pair]:
    """Return the bill's lines and the records beside each other, what only one side has included."""
    pairs: dict[tuple[object, ...], _Pair] = {}
    for line in lines:
        key = (line.request_id,) if by_request else (line.day, model_key(line.model))
        known = pairs.setdefault(key, _Pair(line.day, line.model, line.request_id if by_request else ""))
        if known.bill is None:
            known.bill = line
        else:
            known.bill.add(line)
    for day, model, request_id, prompt, completion, cost in _records(provider, first, last, by_request=by_request):
        key = (request_id,) if by_request and request_id else (day, model_key(model))
        pair = pairs.setdefault(key, _Pair(day, model, request_id))
        pair.is_recorded = True
        pair.prompt_tokens += prompt
        pair.completion_tokens += completion
        pair.cost_micros += cost
    return sorted(pairs.values(), key=lambda pair: (pair.day, pair.model, pair.request_id))


def _records(provider: str, first: date, last: date, *, by_request: bool) -> list[tuple[date, str, str, int, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            READ_RECORDS.format(request="record.upstream_request_id" if by_request else "''::text"),
            {
                "provider": provider,
                "since": datetime.combine(first, time(), UTC),
                "until": datetime.combine(last, time(), UTC) + timedelta(days=1),
            },
        )
        return cursor.fetchall()


def _judge(pair: _Pair, tolerance_percent: Decimal) -> ReconciliationLine:
    bill = pair.bill
    line = ReconciliationLine(
        day=pair.day,
        model=pair.model[:200],
        request_id=pair.request_id[:200],
        bill_prompt_tokens=None if bill is None else bill.prompt_tokens,
        own_prompt_tokens=pair.prompt_tokens,
        bill_completion_tokens=None if bill is None else bill.completion_tokens,
        own_completion_tokens=pair.completion_tokens,
        bill_cost_micros=None if bill is None else bill.cost_micros,
        own_cost_micros=pair.cost_micros,
    )
    if bill is None:
        figures = (pair.prompt_tokens, pair.completion_tokens, pair.cost_micros)
        line.verdict = Verdict.NOT_BILLED if any(figures) else Verdict.AGREES
    elif not pair.is_recorded:
        told = (bill.prompt_tokens, bill.completion_tokens, bill.cost_micros)
        line.verdict = Verdict.NOT_RECORDED if any(told) else Verdict.AGREES
    else:
        rounding = 1 if pair.request_id else ROUNDING_MICROS
        agrees = (
            _is_near(bill.prompt_tokens, pair.prompt_tokens, tolerance_percent, 0)
            and _is_near(bill.completion_tokens, pair.completion_tokens, tolerance_percent, 0)
            and _is_near(bill.cost_micros, pair.cost_micros, tolerance_percent, rounding)
        )
        line.verdict = Verdict.AGREES if agrees else Verdict.DIFFERS
    return line


def _is_near(told: int | None, own: int, tolerance_percent: Decimal, rounding: int) -> bool:
    """Tell whether a figure of the bill, where there is one, is near enough to ours."""
    return told is None or abs(told - own) <= max(abs(told) * tolerance_percent / 100, Decimal(rounding))
