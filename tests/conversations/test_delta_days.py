"""Pieces of answers lie in partitions by day; days that are past are dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.conversations.models import RunDelta
from apps.conversations.services.deltas import DAYS_AHEAD, tend_delta_days
from apps.core.ids import uuid7

pytestmark = pytest.mark.django_db
NOW = datetime(2031, 3, 14, 12, tzinfo=UTC)


def days() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'conversations_rundelta'::regclass"
        )
        return {name.removeprefix("conversations_rundelta_") for (name,) in cursor.fetchall()}


def test_the_days_to_come_are_made_and_the_past_is_dropped() -> None:
    tend_delta_days(now=NOW)
    assert days() == {"default", "2031_03_14", "2031_03_15", "2031_03_16", "2031_03_17"}
    RunDelta.objects.create(run_id=uuid7(), seq=2, text="Today", created_at=NOW)
    assert tend_delta_days(now=NOW) == 0
    assert tend_delta_days(now=NOW + timedelta(days=1)) == 1
    assert RunDelta.objects.count() == 1
    assert tend_delta_days(now=NOW + timedelta(days=2)) == 2
    assert RunDelta.objects.count() == 0
    assert days() == {"default", *(f"2031_03_{15 + n}" for n in range(DAYS_AHEAD + 2))}


def test_a_day_for_which_nobody_made_a_partition_is_kept_as_long() -> None:
    RunDelta.objects.create(run_id=uuid7(), seq=2, text="Nobody swept", created_at=NOW)
    tend_delta_days(now=NOW)
    assert "2031_03_14" not in days()
    assert "2031_03_15" in days()
    tend_delta_days(now=NOW + timedelta(days=1))
    assert RunDelta.objects.count() == 1
    tend_delta_days(now=NOW + timedelta(days=2))
    assert RunDelta.objects.count() == 0
