"""Every write to a business table is in the log, whoever makes it and however."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone

from apps.audit.choices import EXEMPT, is_secret
from apps.audit.models import RowChange
from apps.billing.services.recording import record_usage
from apps.core.ids import time_of, uuid7
from apps.users.models import ApiKey, Membership, Organization, User
from tests.factories.billing import PriceFactory, make_entry
from tests.factories.users import ApiKeyFactory, MembershipFactory, OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


def changes(table: str) -> list[RowChange]:
    return list(RowChange.objects.filter(table_name=table).order_by("changed_at", "id"))


def sql(statement: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def test_creation_update_and_deletion_are_kept_with_before_and_after() -> None:
    organization = OrganizationFactory(name="Before", slug="it")
    organization.name = "After"
    organization.save()
    organization.delete()
    created, updated, deleted = changes("users_organization")
    assert [change.operation for change in (created, updated, deleted)] == ["created", "updated", "deleted"]
    assert {change.row_id for change in (created, updated, deleted)} == {str(created.organization_id)}
    assert created.before is None
    assert (created.after["name"], created.after["slug"], created.after["is_active"]) == ("Before", "it", True)
    assert (updated.before, updated.after) == ({"name": "Before"}, {"name": "After"})
    assert deleted.after is None
    assert (deleted.before["name"], deleted.before["id"]) == ("After", str(created.organization_id))


def test_bulk_updates_are_kept_row_by_row() -> None:
    first, second = OrganizationFactory(), OrganizationFactory()
    Organization.objects.filter(id__in=[first.id, second.id]).update(is_active=False)
    updates = [change for change in changes("users_organization") if change.operation == "updated"]
    assert {change.row_id for change in updates} == {str(first.id), str(second.id)}
    assert [(change.before, change.after) for change in updates] == [({"is_active": True}, {"is_active": False})] * 2


def test_raw_sql_is_kept() -> None:
    price = PriceFactory(input_micros=1)
    sql("UPDATE billing_price SET input_micros = 2 WHERE id = %s", price.id)
    sql("DELETE FROM billing_price WHERE id = %s", price.id)
    _, updated, deleted = changes("billing_price")
    assert (updated.before, updated.after) == ({"input_micros": 1}, {"input_micros": 2})
    assert (deleted.operation, deleted.before["input_micros"]) == ("deleted", 2)


def test_an_emptied_table_is_kept() -> None:
    PriceFactory()
    sql("TRUNCATE billing_price")
    _, emptied = changes("billing_price")
    assert (emptied.operation, emptied.row_id, emptied.before, emptied.after) == ("truncated", "", None, None)


def test_an_update_that_changes_nothing_or_only_ticks_is_no_change() -> None:
    key = ApiKeyFactory()
    key.save()
    sql("UPDATE users_apikey SET last_used_at = now()")
    sql("UPDATE users_user SET last_login = now()")
    assert [change.operation for change in changes("users_apikey")] == ["created"]
    assert {change.operation for change in changes("users_user")} == {"created"}


def test_what_is_rolled_back_leaves_no_change() -> None:
    with transaction.atomic():
        OrganizationFactory()
        transaction.set_rollback(True)
    assert changes("users_organization") == []


def test_a_change_belongs_to_the_organization_of_its_row() -> None:
    membership = MembershipFactory()
    key = ApiKeyFactory(membership=membership)
    (made,) = changes("users_apikey")
    assert (made.row_id, made.organization_id) == (str(key.id), membership.organization_id)
    assert {change.organization_id for change in changes("users_user")} == {None}


def test_rows_that_join_others_are_followed_too() -> None:
    user = UserFactory()
    sql("INSERT INTO auth_group (name) VALUES ('support')")
    sql("INSERT INTO users_user_groups (user_id, group_id) SELECT %s, id FROM auth_group", user.id)
    assert [change.after["user_id"] for change in changes("users_user_groups")] == [str(user.id)]


def test_secrets_and_hashes_are_masked_before_and_after() -> None:
    key = ApiKeyFactory()
    ApiKey.objects.filter(id=key.id).update(secret_hash="x" * 64, name="renamed")
    created, updated = changes("users_apikey")
    assert (created.after["secret_hash"], created.after["prefix"]) == ("***", key.prefix)
    assert (updated.before, updated.after) == (
        {"secret_hash": "***", "name": "test key"}, {"secret_hash": "***", "name": "renamed"},
    )  # fmt: skip
    user = UserFactory()
    made = next(change for change in changes("users_user") if change.row_id == str(user.id))
    assert (made.after["password"], made.after["email"]) == ("***", user.email)
    assert key.secret_hash not in str([(change.before, change.after) for change in RowChange.objects.filter()])


def test_an_empty_secret_shows_that_it_is_empty() -> None:
    key = ApiKeyFactory()
    created = changes("users_apikey")[0]
    assert created.after["previous_secret_hash"] is None
    ApiKey.objects.filter(id=key.id).update(previous_secret_hash="y" * 64, previous_expires_at=timezone.now())
    updated = changes("users_apikey")[1]
    assert (updated.before["previous_secret_hash"], updated.after["previous_secret_hash"]) == (None, "***")


@pytest.mark.parametrize(
    "column",
    ["password", "secret_hash", "client_secret", "credential", "token", "refresh_token", "token_checksum", "signature",
     "secret", "previous_secret", "private_key", "idempotency_key", "salt"],
)  # fmt: skip
def test_columns_that_hold_secrets_are_known_by_name(column: str) -> None:
    assert is_secret("any_table", column)


@pytest.mark.parametrize(
    "column",
    [
        "prompt_tokens",
        "tokens_per_minute",
        "api_key_id",
        "first_token_ms",
        "error_code",
        "lease_token_id",
        "keyboard",
        "name",
    ],
)
def test_columns_that_only_sound_like_it_are_shown(column: str) -> None:
    assert not is_secret("any_table", column)


@pytest.mark.parametrize(
    ("table", "column"),
    [("conversations_message", "content"), ("conversations_conversation", "title"), ("oauth2_provider_grant", "code")],
)
def test_what_people_wrote_and_codes_are_masked_in_their_table_only(table: str, column: str) -> None:
    assert is_secret(table, column)
    assert not is_secret("gateway_model", column)


def test_hot_tables_are_not_followed() -> None:
    record_usage([make_entry()])
    assert not RowChange.objects.filter(table_name__in=EXEMPT).exists()


def test_ids_carry_the_time_of_the_change() -> None:
    OrganizationFactory()
    (made,) = changes("users_organization")
    assert (made.id.version, str(made)) == (7, f"users_organization {made.row_id} created")
    assert abs(time_of(made.id) - made.changed_at).total_seconds() < 0.001


def test_ids_of_the_database_follow_the_standard() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT audit_uuid7('2022-02-22T19:22:22Z'), audit_uuid7('2022-02-22T19:22:22.0005Z')")
        whole, half = cursor.fetchone()
    assert str(whole).startswith("017f22e2-79b0-7000-")  # the time of RFC 9562, A.6
    assert str(half).startswith("017f22e2-79b0-7800-")
    assert {UUID(str(value)).variant for value in (whole, half)} == {uuid7().variant}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_change SET row_id = ''",
        "DELETE FROM audit_change",
        "TRUNCATE audit_change",
        "TRUNCATE audit_change_default",
    ],
)
def test_the_log_refuses_to_change(statement: str) -> None:
    OrganizationFactory()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        sql(statement)
    assert len(changes("users_organization")) == 1


def test_deleting_a_user_tells_of_everything_that_went_with_them(member: Membership) -> None:
    ApiKeyFactory(membership=member)
    User.objects.get(id=member.user_id).delete()
    gone = RowChange.objects.filter(operation="deleted").values_list("table_name", flat=True)
    assert set(gone) >= {"users_user", "users_membership", "users_apikey"}
