"""The last step of the journal's way: usage records into the database."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.db import DataError, IntegrityError

from apps.billing.services.recording import UsageEntry, record_usage
from apps.gateway.runtime.metrics import JOURNAL_REJECTED

logger = structlog.get_logger(__name__)

UNFIT = (DataError, IntegrityError, ValueError, TypeError, OverflowError)
"""What the database raises for a record that it will never take, however often it is asked."""


def write_entries(entries: Sequence[UsageEntry]) -> int:
    """Record usage; return the number of new records. Raise what a database raises that does not answer.

    A record that the database will never take must not hold up all others for good: the batch is halved until it stands
    alone, and is then logged, in full and as an error, instead.
    """
    try:
        return record_usage(entries)
    except UNFIT as error:
        if len(entries) == 1:
            JOURNAL_REJECTED.inc()
            logger.exception("usage_record_rejected", error=str(error), entry=repr(entries[0]))
            return 0
    half = len(entries) // 2
    return write_entries(entries[:half]) + write_entries(entries[half:])
