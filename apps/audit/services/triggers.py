"""Make the triggers of the database those that the models ask for. Run after every migrate."""

from __future__ import annotations

import structlog
from django.apps import apps
from django.db import connection, models, transaction

from apps.audit.choices import EXEMPT, TICKING, TICKING_EVERYWHERE, is_secret
from apps.core.fields import EncryptedTextField
from apps.core.locks import lock

logger = structlog.get_logger(__name__)

ROW_TRIGGER = "audit_record_change"
TRUNCATE_TRIGGER = "audit_record_truncate"
ORGANIZATIONS = "users_organization"
Arguments = tuple[str, ...]

INSTALLED = """
    SELECT class.relname, trigger.tgname, trigger.tgargs
    FROM pg_trigger AS trigger
    JOIN pg_class AS class ON class.oid = trigger.tgrelid
    JOIN pg_proc AS function ON function.oid = trigger.tgfoid
    WHERE function.proname = 'audit_record_change' AND NOT trigger.tgisinternal AND trigger.tgparentid = 0
        AND trigger.tgenabled = 'O' AND class.relnamespace = current_schema()::regnamespace
"""
TABLES = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"


def followed_models() -> dict[str, type[models.Model]]:
    """Return every model whose rows are followed, by table: all that have one, but for the exempt."""
    concrete = apps.get_models(include_auto_created=True)
    found = {model._meta.db_table: model for model in concrete if model._meta.managed and not model._meta.proxy}
    return {table: found[table] for table in sorted(found) if table not in EXEMPT}


def wanted_arguments(model: type[models.Model]) -> Arguments:
    """Return a table's trigger arguments: key columns, the organization's column, masked columns, ticking columns."""
    meta = model._meta
    columns = [field.column for field in meta.concrete_fields if field.column]
    encrypted = {field.column for field in meta.concrete_fields if isinstance(field, EncryptedTextField)}
    ticking = TICKING_EVERYWHERE | TICKING.get(meta.db_table, frozenset())
    keys = ",".join(field.column for field in meta.pk_fields if field.column)
    organization = "organization_id" if "organization_id" in columns else ""
    return (
        keys,
        keys if meta.db_table == ORGANIZATIONS else organization,
        ",".join(name for name in columns if name in encrypted or is_secret(meta.db_table, name)),
        ",".join(name for name in columns if name in ticking),
    )


def install_triggers() -> list[str]:
    """Bring every table's triggers up to date; return the names of the tables that changed, nothing the second time."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regproc('audit_record_change') IS NOT NULL")
        if cursor.fetchone() != (True,):  # this house is migrated away
            return []
        lock("audit.install_triggers")
        cursor.execute(TABLES)
        existing = {name for (name,) in cursor.fetchall()}
        wanted = {table: wanted_arguments(model) for table, model in followed_models().items() if table in existing}
        held = _installed()
        changed = sorted(table for table in wanted.keys() | held.keys() if wanted.get(table) != held.get(table))
        for table in changed:
            _replace(table, wanted.get(table))
    if changed:
        logger.info("audit_triggers_installed", tables=changed)
    return changed


def _installed() -> dict[str, Arguments]:
    """Return the arguments of the tables that have both triggers, nothing in their place where one is missing."""
    rows: dict[str, Arguments] = {}
    emptied: set[str] = set()
    with connection.cursor() as cursor:
        cursor.execute(INSTALLED)
        for table, name, arguments in cursor.fetchall():
            if name == TRUNCATE_TRIGGER:
                emptied.add(table)
            else:
                rows[table] = tuple(bytes(arguments).decode().split("\0")[:-1])
    return {table: rows.get(table, ()) if table in emptied else () for table in rows.keys() | emptied}


def _replace(table: str, arguments: Arguments | None) -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for name in (ROW_TRIGGER, TRUNCATE_TRIGGER):
            cursor.execute(f"DROP TRIGGER IF EXISTS {name} ON {quote(table)}")
        if arguments is None:
            return
        given = ", ".join("'" + argument.replace("'", "''") + "'" for argument in arguments)
        cursor.execute(
            f"CREATE TRIGGER {ROW_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {quote(table)} "
            f"FOR EACH ROW EXECUTE FUNCTION audit_record_change({given})"
        )
        cursor.execute(
            f"CREATE TRIGGER {TRUNCATE_TRIGGER} AFTER TRUNCATE ON {quote(table)} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION audit_record_change({given})"
        )
