"""Every usage record as one flat row, read with a server-side cursor."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

from apps.billing.models import UsageRecord
from apps.billing.querysets import UsageRecordQuerySet
from apps.billing.selectors.usage import ID_MODELS, UsageQuery, UsageTotals, iterate_usage, usage_summary
from apps.core.actor import Actor
from apps.core.ids import encode_id
from apps.users.models import ApiKey, Organization, User

CHUNK = 5000
COLUMNS = (
    "request_id",
    "api_key",
    "organization",
    "user",
    "model",
    "provider",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cost_micros",
    "currency",
    "status",
    "estimated",
    "created_at",
)
TOTALS = (
    "requests",
    "errors",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "total_tokens",
    "cost",
    "cost_micros",
    "latency_ms",
    "first_token_ms",
)
_FIELDS = (
    "id",
    "api_key_id",
    "organization_id",
    "user_id",
    "model",
    "provider",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "charged_micros",
    "currency",
    "status",
    "is_estimated",
    "created_at",
)


class SupportsWrite(Protocol):
    """What CSV is written to."""

    def write(self, text: str, /) -> object:
        """Take some text."""
        ...


def export_usage(
    *, since: datetime | None = None, until: datetime | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yield the usage records of `since <= created_at < until`, oldest first, as `flatten_usage` does."""
    return flatten_usage(UsageRecord.objects.between(since, until).order_by("created_at", "id"))


def flatten_usage(records: UsageRecordQuerySet) -> Generator[dict[str, Any], None, None]:
    """Yield usage records by the names of COLUMNS, with public ids and what they cost with their adjustments.

    One snapshot: what is recorded meanwhile is not in it. Needs a transaction where the connection is behind a pooler.
    """
    for row in records.charged().values_list(*_FIELDS).iterator(chunk_size=CHUNK):
        values = dict(zip(COLUMNS, row, strict=True))
        values["request_id"] = encode_id(UsageRecord.ID_PREFIX, values["request_id"])
        values["api_key"] = _public(ApiKey.ID_PREFIX, values["api_key"])
        values["organization"] = _public(Organization.ID_PREFIX, values["organization"])
        values["user"] = _public(User.ID_PREFIX, values["user"])
        values["created_at"] = values["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
        yield values


def write_csv(rows: Iterable[dict[str, Any]], file: SupportsWrite) -> None:
    """Write exported rows as CSV with a header; booleans as `true` and `false`, what is not known as nothing."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "estimated": str(row["estimated"]).lower()} for row in rows)


def write_usage(query: UsageQuery, *, actor: Actor) -> Iterator[str]:
    """Yield the groups of a period as lines of CSV with a header; one line of totals where nothing is grouped.

    Each respect has a column with its key, and one with its name where that is another.
    """
    names = [column for by in query.group_by for column in _group_columns(by)]
    line = _Line()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow([*names, *TOTALS])
    yield line.text
    if not query.group_by:
        writer.writerow(_totals(usage_summary(query, actor=actor).totals))
        yield line.text
        return
    for found in iterate_usage(query, actor=actor):
        values = [(value.key, value.label)[: len(_group_columns(value.by))] for value in found.groups]
        writer.writerow([*(_plain(text) for pair in values for text in pair), *_totals(found.totals)])
        yield line.text


class _Line:
    """Takes the one line that a csv.writer writes."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def _group_columns(by: str) -> tuple[str, ...]:
    return (by, f"{by}_name") if by in ID_MODELS else (by,)


def _plain(text: str | None) -> str:
    """Return a text that no spreadsheet takes for a formula: names of models and tags come from callers."""
    return f"'{text}" if text and text[0] in "=+-@\t\r" else text or ""


def _totals(totals: UsageTotals) -> list[Any]:
    return [getattr(totals, name) for name in TOTALS]


def _public(prefix: str, value: UUID | None) -> str | None:
    return None if value is None else encode_id(prefix, value)
