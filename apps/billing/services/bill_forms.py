"""Bills of providers as they export them: CSV in documented forms, read line by line."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from apps.billing.choices import BillForm
from apps.billing.errors import BillUnreadable
from apps.core.money import to_micros

MOST_LINES = 1_000_000
DATED = re.compile(r"[-@](\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(slots=True)
class BillLine:
    """What a bill says of a day and model, or of one request. None: it does not say."""

    day: date
    model: str
    request_id: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_micros: int | None = None

    def add(self, other: BillLine) -> None:
        """Take in another line of the same day and model."""
        self.prompt_tokens = _sum(self.prompt_tokens, other.prompt_tokens)
        self.completion_tokens = _sum(self.completion_tokens, other.completion_tokens)
        self.cost_micros = _sum(self.cost_micros, other.cost_micros)


@dataclass(frozen=True, slots=True)
class Form:
    """One form: by which columns it is known, and how its lines are read."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Cells], BillLine | None]


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill that was read: one line per day and model, or per request where the form names those."""

    form: str
    lines: list[BillLine] = field(default_factory=list)

    @property
    def names_requests(self) -> bool:
        """Tell whether it names each request."""
        return all(line.request_id for line in self.lines)


@dataclass(frozen=True, slots=True)
class Cells:
    """One line of a file, with words for what is wrong in it."""

    number: int
    values: Mapping[str, str | None]

    def text(self, column: str) -> str:
        """Return a text; raise BillUnreadable when it is missing."""
        value = self.optional(column)
        if not value:
            raise self.wrong(column, "a text", "nothing")
        return value

    def optional(self, column: str) -> str:
        """Return a text, or "" when it is missing."""
        return (self.values.get(column) or "").strip()

    def day(self, column: str) -> date:
        """Return the day (UTC) of a date, an ISO 8601 time or Unix seconds; raise BillUnreadable for anything else."""
        text = self.text(column)
        try:
            if text.isdigit() and len(text) > 8:
                return datetime.fromtimestamp(int(text), UTC).date()
            moment = datetime.fromisoformat(text)
            return (moment.astimezone(UTC) if moment.tzinfo else moment).date()
        except (ValueError, OverflowError, OSError):
            raise self.wrong(column, "a date such as 2026-11-20", repr(text)) from None

    def count(self, column: str) -> int:
        """Return a number of tokens, 0 for nothing; raise BillUnreadable for what is no whole number."""
        text = self.optional(column).replace(",", "")
        try:
            value = Decimal(text or "0")
            if value < 0 or value != int(value):
                raise ValueError
            return int(value)
        except (InvalidOperation, ValueError, OverflowError):
            raise self.wrong(column, "a whole number, 0 or more", repr(text)) from None

    def money(self, column: str) -> int:
        """Return an amount in dollars as micro-units; raise BillUnreadable for what is no number."""
        text = self.optional(column).replace(",", "").removeprefix("$")
        try:
            value = Decimal(text)
            if not value.is_finite() or abs(value) > 10**9:
                raise ValueError
            return to_micros(value)
        except (InvalidOperation, ValueError):
            raise self.wrong(column, "an amount such as 12.34", repr(text)) from None

    def wrong(self, column: str, expected: str, found: str) -> BillUnreadable:
        """Return the error that names line, column, what was expected and what is there."""
        return BillUnreadable(
            f"Line {self.number}, column {column}: expected {expected}, found {found[:80]}.", param=column
        )


def _read_generic(cells: Cells) -> BillLine:
    return BillLine(
        day=cells.day("date"),
        model=cells.text("model"),
        request_id=cells.optional("request_id"),
        prompt_tokens=cells.count("input_tokens"),
        completion_tokens=cells.count("output_tokens"),
        cost_micros=cells.money("cost"),
    )


def _read_openai_usage(cells: Cells) -> BillLine:
    return BillLine(
        day=cells.day("start_time_iso"),
        model=cells.text("model"),
        prompt_tokens=cells.count("input_tokens"),
        completion_tokens=cells.count("output_tokens"),
    )


def _read_openai_cost(cells: Cells) -> BillLine:
    # A line item is a model and a kind of token ("gpt-4o-mini-2024-07-18, input"), or a tool.
    if cells.text("amount_currency").lower() != "usd":
        raise cells.wrong("amount_currency", "usd", repr(cells.text("amount_currency")))
    model = cells.text("line_item").partition(",")[0].strip()
    return BillLine(day=cells.day("start_time_iso"), model=model, cost_micros=cells.money("amount_value"))


def _read_anthropic_usage(cells: Cells) -> BillLine:
    parts = ("no_cache", "cache_write_5m", "cache_write_1h", "cache_read")
    return BillLine(
        day=cells.day("usage_date_utc"),
        model=cells.text("model_version"),
        prompt_tokens=sum(cells.count(f"usage_input_tokens_{part}") for part in parts),
        completion_tokens=cells.count("usage_output_tokens"),
    )


def _read_anthropic_cost(cells: Cells) -> BillLine | None:
    # Web search and code execution have no model: nothing of ours could match them.
    model = cells.optional("model")
    if not model:
        return None
    return BillLine(day=cells.day("usage_date_utc"), model=model, cost_micros=cells.money("cost_usd"))


def _read_openrouter(cells: Cells) -> BillLine:
    return BillLine(
        day=cells.day("created_at"),
        model=cells.text("model_permaslug"),
        request_id=cells.text("generation_id"),
        prompt_tokens=cells.count("tokens_prompt"),
        completion_tokens=cells.count("tokens_completion"),
        cost_micros=cells.money("cost_total"),
    )


FORMS = (
    Form(
        BillForm.OPENROUTER,
        ("generation_id", "created_at", "cost_total", "tokens_prompt", "tokens_completion", "model_permaslug"),
        _read_openrouter,
    ),
    Form(
        BillForm.ANTHROPIC_USAGE,
        (
            "usage_date_utc", "model_version", "usage_input_tokens_no_cache", "usage_input_tokens_cache_write_5m",
            "usage_input_tokens_cache_write_1h", "usage_input_tokens_cache_read", "usage_output_tokens",
        ),
        _read_anthropic_usage,
    ),
    Form(BillForm.ANTHROPIC_COST, ("usage_date_utc", "model", "cost_usd"), _read_anthropic_cost),
    Form(BillForm.OPENAI_COST, ("start_time_iso", "amount_value", "amount_currency", "line_item"), _read_openai_cost),
    Form(BillForm.OPENAI_USAGE, ("start_time_iso", "model", "input_tokens", "output_tokens"), _read_openai_usage),
    Form(BillForm.GENERIC, ("date", "model", "input_tokens", "output_tokens", "cost"), _read_generic),
)  # fmt: skip


def read_bill(text: Iterable[str]) -> Bill:
    """Return the bill in a CSV file, its form known by its header.

    Raise BillUnreadable for a header of no known form, for a line that cannot be read (with its number, the column and
    what was expected), and for a file without lines.
    """
    rows = csv.DictReader(text, strict=True)
    try:
        header = [name.strip().lower().lstrip("\ufeff") for name in rows.fieldnames or ()]
        form = _find_form(header)
        rows.fieldnames = header
        bill = Bill(form.name, list(_read_lines(rows, form)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BillUnreadable(f"Line {rows.line_num + 1} is no CSV in UTF-8: {error}.") from error
    if not bill.lines:
        raise BillUnreadable("The file has a header and no lines: there is nothing to compare.")
    return bill


def _find_form(header: list[str]) -> Form:
    for form in FORMS:
        if set(form.columns) <= set(header):
            return form
    known = "; ".join(f"{BillForm(form.name).label}: {', '.join(form.columns)}" for form in FORMS)
    raise BillUnreadable(
        f"Line 1 has the columns {', '.join(header)[:300] or 'of an empty file'}, which are of no known form. Expected {known}."
    )


def _read_lines(rows: csv.DictReader[str], form: Form) -> Iterator[BillLine]:
    """Yield a line per request, or per day and model; unnamed requests of a day and model are added up."""
    summed: dict[tuple[date, str], BillLine] = {}
    for count, row in enumerate(rows, 1):
        if count > MOST_LINES:
            raise BillUnreadable(f"The file has more than {MOST_LINES:,} lines; split it by days.")
        cells = Cells(rows.line_num, row)
        if None in row or None in row.values():
            raise BillUnreadable(f"Line {cells.number} has another number of columns than the header.")
        line = form.read(cells)
        if line is None:
            continue
        if line.request_id:
            yield line
        elif (key := (line.day, model_key(line.model))) in summed:
            summed[key].add(line)
        else:
            summed[key] = line
    yield from summed.values()


def model_key(name: str) -> str:
    """Return by what a model is known under all its names: a bill may say "Claude Sonnet 4.5", or add the day of a release."""
    return DATED.sub("", name.strip().lower().replace(" ", "-").replace(".", "-"))


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None and second is None else (first or 0) + (second or 0)
