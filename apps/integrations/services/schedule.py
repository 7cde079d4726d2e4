"""When a delivery that failed is sent again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# The wait before each attempt, as Standard Webhooks recommends; the first goes at once.
WAITS = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
MAX_ATTEMPTS = len(WAITS)
# Spread, never early: endpoints that fail together do not come back together.
JITTER = 0.1
RETRY_AFTER_CAP = timedelta(hours=24)
# An endpoint is switched off when nothing has got through for so long: longer than one delivery's whole schedule.
DISABLE_AFTER = timedelta(days=5)


def next_due(*, attempts: int, now: datetime, retry_after: str = "") -> datetime | None:
    """Return when to send again after `attempts` failed attempts; None when the schedule is used up.

    A Retry-After header (seconds or an HTTP date, RFC 9110 10.2.3) makes the wait longer, up to 24 hours, never shorter.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    wait = WAITS[attempts] * random.uniform(1, 1 + JITTER)  # noqa: S311 - jitter
    return now + max(wait, min(parse_retry_after(retry_after, now=now), RETRY_AFTER_CAP))


def parse_retry_after(value: str, *, now: datetime) -> timedelta:
    """Return the wait that a Retry-After header asks for; none for what cannot be read."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), RETRY_AFTER_CAP.total_seconds()))
    try:
        until = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return timedelta(0)
    return max(timedelta(0), (until if until.tzinfo else until.replace(tzinfo=UTC)) - now)
