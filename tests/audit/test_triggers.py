"""The triggers are those that the models ask for, after every migrate."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from apps.audit.choices import EXEMPT, PRIVATE, TICKING
from apps.audit.services.triggers import followed_models, install_triggers, wanted_arguments
from apps.events.models import IdempotentRequest
from apps.gateway.models import Provider
from apps.users.models import ApiKey, Organization

pytestmark = pytest.mark.django_db


def tables_with_triggers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE tgname IN ('audit_record_change', 'audit_record_truncate')"
        )
        return {name for (name,) in cursor.fetchall()}


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_every_table_is_followed_or_exempt_with_a_reason() -> None:
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
    assert tables_with_triggers() == tables - EXEMPT.keys()
    assert EXEMPT.keys() - tables == set()
    assert [table for table, reason in EXEMPT.items() if len(reason) < 20] == []


@pytest.mark.parametrize("named", [TICKING, PRIVATE])
def test_every_column_that_is_named_exists_in_a_followed_table(named: dict[str, frozenset[str]]) -> None:
    for table, columns in named.items():
        assert columns - {field.column for field in followed_models()[table]._meta.concrete_fields} == set(), table


def test_installing_again_changes_nothing() -> None:
    assert install_triggers() == []


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TRIGGER audit_record_change ON billing_price",
        "DROP TRIGGER audit_record_truncate ON billing_price",
        "DROP TRIGGER audit_record_change ON billing_price; DROP TRIGGER audit_record_truncate ON billing_price",
        "ALTER TABLE billing_price DISABLE TRIGGER audit_record_change",
        "CREATE OR REPLACE TRIGGER audit_record_change AFTER INSERT OR UPDATE OR DELETE ON billing_price "
        "FOR EACH ROW EXECUTE FUNCTION audit_record_change('id', '', 'model', '')",
    ],
)
def test_what_is_missing_changed_or_disabled_is_put_back(damage: str) -> None:
    sql(damage)
    assert install_triggers() == ["billing_price"]
    assert install_triggers() == []


def test_triggers_of_exempt_tables_are_removed() -> None:
    sql(
        "CREATE TRIGGER audit_record_change AFTER INSERT ON django_session "
        "FOR EACH ROW EXECUTE FUNCTION audit_record_change('id', '', '', '')"
    )
    assert install_triggers() == ["django_session"]
    assert "django_session" not in tables_with_triggers()


def test_a_migrate_brings_them_up_to_date() -> None:
    sql("DROP TRIGGER audit_record_change ON billing_price")
    call_command("migrate", "audit", verbosity=0)
    assert install_triggers() == []


def test_without_its_tables_the_house_is_silent() -> None:
    sql("ALTER FUNCTION audit_record_change() RENAME TO audit_record_change_away")
    assert install_triggers() == []


def test_tables_that_are_not_migrated_yet_are_left_out() -> None:
    sql("ALTER TABLE billing_price RENAME TO billing_price_away")
    assert "billing_price" not in install_triggers()


def test_arguments_are_read_from_the_model() -> None:
    assert wanted_arguments(ApiKey)[:2] == ("id", "organization_id")
    assert wanted_arguments(Organization)[:2] == ("id", "id")
    assert wanted_arguments(Organization)[2:] == ("", "updated_at")
    assert set(wanted_arguments(ApiKey)[2].split(",")) == {"secret_hash", "previous_secret_hash"}
    assert wanted_arguments(ApiKey)[3] == "updated_at,last_used_at"
    assert "credential" in wanted_arguments(Provider)[2]


def test_encrypted_columns_are_masked_whatever_they_are_called() -> None:
    assert wanted_arguments(IdempotentRequest)[2] == "key,body"
