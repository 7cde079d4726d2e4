"""Partitions: the months ahead exist, retention drops whole months, nothing is ever refused a place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from apps.core import partitions
from apps.core.partitions import (
    append_only_sql,
    create_partitioned_sql,
    drop_expired,
    ensure_partitions,
    register_partitioned,
    registered_tables,
)

NOW = datetime(2031, 12, 15, tzinfo=UTC)


def run(sql: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def table(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(partitions, "_tables", {})
    run("CREATE TABLE lamp_log (id bigint PRIMARY KEY, at timestamptz NOT NULL, watts int CHECK (watts >= 0))")
    run("CREATE INDEX lamp_log_watts ON lamp_log (watts)")
    run(create_partitioned_sql(table="lamp_log", column="at"))
    run(append_only_sql(table="lamp_log"))
    register_partitioned("lamp_log", column="at", keep_months=2)
    return "lamp_log"


def test_this_month_and_three_ahead_are_made_once(table: str) -> None:
    assert ensure_partitions(now=NOW) == [
        "lamp_log_2031_12",
        "lamp_log_2032_01",
        "lamp_log_2032_02",
        "lamp_log_2032_03",
    ]
    assert ensure_partitions(now=NOW) == []


def test_a_new_table_has_this_month_and_the_months_ahead(table: str) -> None:
    assert ensure_partitions() == []
    assert run("SELECT count(*) FROM pg_inherits WHERE inhparent = 'lamp_log'::regclass") == [(5,)]


def test_a_month_that_came_too_late_stays_in_the_default(table: str) -> None:
    run("INSERT INTO lamp_log VALUES (1, '2031-12-05', 1)")
    assert ensure_partitions(now=NOW, months_ahead=1) == ["lamp_log_2032_01"]


def test_a_row_goes_to_its_month_or_to_the_default(table: str) -> None:
    ensure_partitions(now=NOW)
    run("INSERT INTO lamp_log VALUES (1, '2032-01-31 23:59:59+00', 1), (2, '1999-01-01', 1)")
    assert run("SELECT tableoid::regclass::text, id FROM lamp_log ORDER BY id") == [
        ("lamp_log_2032_01", 1),
        ("lamp_log_default", 2),
    ]


def test_retention_drops_whole_months(table: str) -> None:
    drop_expired(now=NOW)
    ensure_partitions(now=datetime(2031, 8, 1, tzinfo=UTC))
    assert drop_expired(now=NOW) == ["lamp_log_2031_08", "lamp_log_2031_09"]
    assert drop_expired(now=NOW) == []


def test_a_table_without_retention_keeps_everything(table: str) -> None:
    ensure_partitions(now=datetime(2031, 1, 1, tzinfo=UTC))
    register_partitioned("lamp_log", column="at")
    assert drop_expired(now=NOW) == []


def test_indexes_and_checks_come_along(table: str) -> None:
    assert run("SELECT indexname FROM pg_indexes WHERE tablename = 'lamp_log' ORDER BY 1") == [
        ("lamp_log_pkey",),
        ("lamp_log_watts",),
    ]
    with pytest.raises(DatabaseError, match="lamp_log_watts_check"), transaction.atomic():
        run("INSERT INTO lamp_log VALUES (1, now(), -1)")


@pytest.mark.parametrize("place", ["lamp_log", "lamp_log_2031_12", "lamp_log_default"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET watts = 2", "DELETE FROM {}", "TRUNCATE {}"])
def test_no_partition_lets_the_past_be_changed(table: str, statement: str, place: str) -> None:
    ensure_partitions(now=NOW)
    run("INSERT INTO lamp_log VALUES (1, '2031-12-05', 1), (2, '1999-01-01', 1)")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        run(statement.format(place))
    assert run("SELECT count(*) FROM lamp_log") == [(2,)]


def test_the_command_says_what_it_did(table: str) -> None:
    out = StringIO()
    ensure_partitions(now=datetime(2001, 1, 1, tzinfo=UTC), months_ahead=0)
    call_command("partitions", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"created": [], "dropped": ["lamp_log_2001_01"]}


def test_the_command_names_each_partition(table: str) -> None:
    ensure_partitions(now=datetime(2001, 1, 1, tzinfo=UTC), months_ahead=0)
    current = f"lamp_log_{datetime.now(UTC):%Y_%m}"
    run(f"DROP TABLE {current}")
    out = StringIO()
    call_command("partitions", stdout=out)
    assert out.getvalue() == f"created {current}\ndropped lamp_log_2001_01\n1 created, 1 dropped\n"


def test_the_event_store_is_registered() -> None:
    assert "events_event" in {entry.table for entry in registered_tables()}
