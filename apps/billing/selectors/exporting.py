"""Every usage record as one flat row, read with a server-side cursor."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from apps.billing.models import UsageRecord
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
    "cost_micros",
    "currency",
    "status",
    "is_estimated",
    "created_at",
)


def export_usage(*, since: datetime | None = None, until: datetime | None = None) -> Iterator[dict[str, Any]]:
    """Yield the usage records of `since <= created_at < until`, oldest first, as the names of COLUMNS with public ids.

    One snapshot: what is recorded meanwhile is not in it. Needs a transaction where the connection is behind a pooler.
    """
    records = UsageRecord.objects.between(since, until).order_by("created_at", "id").values_list(*_FIELDS)
    for row in records.iterator(chunk_size=CHUNK):
        values = dict(zip(COLUMNS, row, strict=True))
        values["request_id"] = encode_id(UsageRecord.ID_PREFIX, values["request_id"])
        values["api_key"] = _public(ApiKey.ID_PREFIX, values["api_key"])
        values["organization"] = _public(Organization.ID_PREFIX, values["organization"])
        values["user"] = _public(User.ID_PREFIX, values["user"])
        values["created_at"] = values["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
        yield values


def _public(prefix: str, value: UUID | None) -> str | None:
    return None if value is None else encode_id(prefix, value)
