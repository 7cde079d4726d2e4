"""`python -m tests.architecture.lint_migrations`: every migration's SQL under squawk's eyes (part of `make check`).

Rules that are left out ask for what Portico decides otherwise, or guard tables that are in use, which the tables of a
first migration are not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import django

from apps.core.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    "adding-foreign-key-constraint": "columns are added empty: PostgreSQL then checks no row, and locks for a moment only",
    "prefer-text-field": "Django's CharField is varchar(n); the limit is a promise to API users",
    "prefer-bigint-over-int": "small counters are small on purpose",
    "prefer-bigint-over-smallint": "small counters are small on purpose",
    "prefer-identity": "sequences of partitioned tables are made by hand",
    "prefer-robust-stmts": "migrations run in one transaction",
    "require-timeout-settings": "lock_timeout is set for the whole migration run",
}

# No row is there yet when a first migration runs.
LEFT_OUT_AT_FIRST = {"require-concurrent-index-creation", "ban-drop-table"}


def lint(paths: list[Path], *, left_out: set[str]) -> int:
    """Return squawk's exit code over SQL files."""
    squawk = Path(sys.executable).with_name("squawk")
    command = [squawk, "--assume-in-transaction", "--pg-version", "18", "--exclude", ",".join(sorted(left_out)), *paths]
    return subprocess.run(command, check=False).returncode if paths else 0


def write_sql(directory: Path) -> list[Path]:
    """Write the SQL of each of our migrations into a file of its own."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    state = executor._create_project_state(with_applied_migrations=False)
    written = []
    for migration, _ in plan:
        if not (ROOT / "apps" / migration.app_label).is_dir():
            state = migration.mutate_state(state)
        else:
            with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
                state = migration.apply(state, editor, collect_sql=True)
            path = directory / f"{migration.app_label}.{migration.name}.sql"
            path.write_text("\n".join(editor.collected_sql) + "\n")
            written.append(path)
    return written


def main() -> int:
    """Lint; return squawk's exit code."""
    with tempfile.TemporaryDirectory(prefix="portico-lint-") as name:
        directory = Path(name)
        postgres = EmbeddedPostgres(directory / "postgres", durable=False)
        os.environ |= {"DATABASE_URL": postgres.start(), "DJANGO_SETTINGS_MODULE": "project.settings.test"}
        try:
            django.setup()
            paths = write_sql(directory)
        finally:
            postgres.stop()
        first = [path for path in paths if path.stem.endswith(".0001_initial")]
        later = [path for path in paths if path not in first]
        print(f"{len(paths)} migrations")
        codes = [
            lint(first, left_out=LEFT_OUT.keys() | LEFT_OUT_AT_FIRST),
            lint(later, left_out=set(LEFT_OUT)),
        ]
        return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
