"""When a failed delivery goes again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.integrations.services.schedule import MAX_ATTEMPTS, next_due, parse_retry_after
from tests.integrations.conftest import START

WAITS_SECONDS = [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]


@pytest.mark.parametrize(("attempts", "seconds"), list(enumerate(WAITS_SECONDS)))
def test_each_wait_is_the_schedules_and_up_to_a_tenth_more(attempts: int, seconds: int) -> None:
    waits = [(next_due(attempts=attempts, now=START) - START).total_seconds() for _ in range(50)]
    assert min(waits) >= seconds
    assert max(waits) <= seconds * 1.1


def test_waits_are_spread() -> None:
    assert len({next_due(attempts=9, now=START) for _ in range(20)}) > 10


def test_ten_attempts_are_all() -> None:
    assert MAX_ATTEMPTS == 10
    assert next_due(attempts=9, now=START) is not None
    assert next_due(attempts=10, now=START) is None
    assert next_due(attempts=10, now=START, retry_after="5") is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0), ("0", 0), ("120", 120), (" 7 ", 7), ("99999999", 86400), ("9" * 400, 86400), ("-5", 0), ("1.5", 0), ("soon", 0),
        ("١٢", 0), ("Sun, 01 Mar 2026 12:10:00 GMT", 600), ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:10:00 -0000", 600), ("Sun, 99 Mar 2026 12:10:00 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_read_as_seconds_or_a_date(value: str, seconds: int) -> None:
    assert parse_retry_after(value, now=START) == timedelta(seconds=seconds)


def test_retry_after_makes_a_wait_longer_never_shorter_and_a_day_at_the_most() -> None:
    assert next_due(attempts=1, now=START, retry_after="120") == START + timedelta(seconds=120)
    assert next_due(attempts=2, now=START, retry_after="1") >= START + timedelta(minutes=5)
    assert next_due(attempts=1, now=START, retry_after="999999") == START + timedelta(hours=24)
    far = next_due(attempts=1, now=START, retry_after="Fri, 01 Jan 2100 00:00:00 GMT")
    assert far == START + timedelta(hours=24)
