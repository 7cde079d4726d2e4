"""Big append-only tables are partitioned by month from their first migration; retention drops whole partitions.

A migration creates the parent with `create_partitioned(...)`; `manage.py partitions` (run daily by beat) keeps the
months ahead in existence. A DEFAULT partition catches what no month covers, so an insert never fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db import connection, transaction

from apps.core.locks import lock

MONTHS_AHEAD = 3


@dataclass(frozen=True, slots=True)
class PartitionedTable:
    """One table partitioned by a timestamp column; `keep_months` None keeps everything."""

    table: str
    column: str
    keep_months: int | None = None


_tables: dict[str, PartitionedTable] = {}


def register_partitioned(table: str, *, column: str, keep_months: int | None = None) -> None:
    """Declare a partitioned table (from `AppConfig.ready`)."""
    _tables[table] = PartitionedTable(table, column, keep_months)


def registered_tables() -> list[PartitionedTable]:
    """Return the declared tables, by name."""
    return [_tables[name] for name in sorted(_tables)]


def _month_after(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def ensure_partitions(*, now: datetime | None = None, months_ahead: int = MONTHS_AHEAD) -> list[str]:
    """Create the partitions of this month and the months ahead; return the names of the new ones.

    A month of which the DEFAULT partition already holds rows stays there: nothing is moved under load.
    """
    first = (now or datetime.now(UTC)).date().replace(day=1)
    made: list[str] = []
    for entry in registered_tables():
        with transaction.atomic(), connection.cursor() as cursor:
            lock(f"partitions:{entry.table}")
            for offset in range(months_ahead + 1):
                start = _month_after(first, offset)
                name = f"{entry.table}_{start:%Y_%m}"
                cursor.execute(
                    f"SELECT to_regclass(%s) IS NULL AND NOT EXISTS (SELECT FROM {entry.table}_default"  # noqa: S608
                    f" WHERE {entry.column} >= %s AND {entry.column} < %s)",
                    [name, start, _month_after(first, offset + 1)],
                )
                if cursor.fetchone() == (True,):
                    cursor.execute(_month_sql(entry.table, start))
                    made.append(name)
    return made


def _month_sql(table: str, start: date) -> str:
    """Return SQL that adds one month; where the table is append-only, the month refuses TRUNCATE like its parent."""
    name = f"{table}_{start:%Y_%m}"
    return f"""
        CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{start}') TO ('{_month_after(start, 1)}');
        DO $$ BEGIN
            IF to_regproc('{table}_refuse_change') IS NOT NULL THEN
                CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {name}
                    FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse_change();
            END IF;
        END $$;
    """


def drop_expired(*, now: datetime | None = None) -> list[str]:
    """Drop the monthly partitions that are older than their table keeps; return their names."""
    today = (now or datetime.now(UTC)).date().replace(day=1)
    dropped: list[str] = []
    for entry in registered_tables():
        if entry.keep_months is None:
            continue
        oldest = f"{entry.table}_{_month_after(today, -entry.keep_months):%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            lock(f"partitions:{entry.table}")
            cursor.execute(
                "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
                "WHERE i.inhparent = %s::regclass AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND c.relname < %s "
                "ORDER BY c.relname",
                [entry.table, oldest],
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"DROP TABLE {name}")
                dropped.append(name)
    return dropped


def create_partitioned_sql(*, table: str, column: str) -> str:
    """Return SQL, for a migration, that turns an empty plain table into one partitioned by month on `column`.

    Indexes and CHECK constraints come along; the primary key becomes (id, column), because Postgres wants the partition
    key in every unique constraint. This month and the months ahead are made at once. Foreign keys and triggers are made
    afterwards.
    """
    first = datetime.now(UTC).date().replace(day=1)
    months = "".join(_month_sql(table, _month_after(first, offset)) for offset in range(MONTHS_AHEAD + 1))
    return f"""
        DO $$
        DECLARE
            statement text;
            statements text[] := ARRAY(
                SELECT indexdef FROM pg_indexes
                WHERE schemaname = current_schema() AND tablename = '{table}' AND indexname NOT LIKE '%_pkey'
            );
        BEGIN
            ALTER TABLE {table} RENAME TO {table}_plain;
            CREATE TABLE {table} (
                LIKE {table}_plain INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY INCLUDING CONSTRAINTS
            ) PARTITION BY RANGE ({column});
            DROP TABLE {table}_plain CASCADE;
            ALTER TABLE {table} ADD PRIMARY KEY (id, {column});
            FOREACH statement IN ARRAY statements LOOP
                EXECUTE statement;
            END LOOP;
            CREATE TABLE {table}_default PARTITION OF {table} DEFAULT;
        END $$;
        {months}
    """  # noqa: S608 - names from migrations, never input


def append_only_sql(*, table: str) -> str:
    """Return SQL, for a migration, that makes a partitioned table refuse UPDATE, DELETE and TRUNCATE."""
    return f"""
        CREATE FUNCTION {table}_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'restrict_violation';
        END $$;
        CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION {table}_refuse_change();
        CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse_change();
        DO $$
        DECLARE
            partition regclass;
        BEGIN
            FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = '{table}'::regclass LOOP
                EXECUTE format(
                    'CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON %s '
                    'FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse_change()', partition
                );
            END LOOP;
        END $$;
    """  # noqa: S608 - names from migrations, never input
