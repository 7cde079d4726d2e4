"""Whose trail one sees, and how ids are named in it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from django.db import connection

from apps.audit.models import TrailEntry
from apps.audit.querysets import plain_id
from apps.audit.selectors import describe_actor, public_actor, public_object_id, public_values, trail_of
from apps.core.actor import Actor, system_actor
from apps.core.ids import encode_id
from apps.users.models import Membership
from tests.factories.audit import make_key_as
from tests.factories.users import OrganizationFactory

pytestmark = pytest.mark.django_db
KEY = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


def test_only_administrators_see_and_only_their_organization(actor: Actor, member: Membership) -> None:
    make_key_as(actor, member)
    mine = TrailEntry.objects.filter(object_type="users_apikey")
    assert mine.visible_to(replace(actor, role="admin")).count() == 1
    assert mine.visible_to(replace(actor, role="owner")).count() == 1
    assert mine.visible_to(replace(actor, role="member")).count() == 0
    assert mine.visible_to(replace(actor, role="admin", organization_id=OrganizationFactory().id)).count() == 0
    assert mine.visible_to(replace(actor, role="admin", organization_id=None)).count() == 0
    assert mine.visible_to(system_actor()).count() == 1


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (encode_id("key", KEY), str(KEY)),
        (str(KEY), str(KEY)),
        ("17", "17"),
        ("key_0ilou000000000000000000000", "key_0ilou000000000000000000000"),
        ("key_01h455", "key_01h455"),
    ],
)
def test_public_ids_stand_for_stored_ones(given: str, plain: str) -> None:
    assert plain_id(given) == plain


def entry(**values: object) -> TrailEntry:
    return TrailEntry(**{"source": "change", "object_type": "users_apikey", "object_id": str(KEY), **values})


def test_objects_carry_their_public_id_where_they_have_one() -> None:
    assert public_object_id(entry()) == encode_id("key", KEY)
    assert public_object_id(entry(object_type="auth_group", object_id="17")) == "17"
    assert public_object_id(entry(object_type="a_table_that_is_gone")) == str(KEY)
    assert public_object_id(entry(object_id="")) == ""
    assert public_object_id(entry(source="event", object_type="api_key")) == encode_id("key", KEY)
    assert public_object_id(entry(source="event", object_type="session")) == encode_id("sess", KEY)
    assert public_object_id(entry(source="event", object_type="lamp")) == encode_id("lamp", KEY)


def test_values_carry_public_ids_where_the_kind_is_known() -> None:
    values = {"id": str(KEY), "user_id": str(KEY), "name": str(KEY), "organization_id": None, "scopes": ["a"]}
    assert public_values(entry(), values) == {
        **values, "id": encode_id("key", KEY), "user_id": encode_id("user", KEY),
    }  # fmt: skip
    assert public_values(entry(source="event"), {"user_id": str(KEY), "lamp_id": str(KEY)}) == {
        "user_id": encode_id("user", KEY), "lamp_id": str(KEY),
    }  # fmt: skip
    assert public_values(entry(source="event"), {"request_id": str(KEY)}) == {"request_id": encode_id("req", KEY)}
    assert public_values(entry(), None) is None


def test_actors_are_named() -> None:
    assert public_actor({"kind": "user", "user_id": str(KEY), "impersonator_id": str(KEY), "oauth_client_id": "x"}) == {
        "kind": "user",
        "user_id": encode_id("user", KEY),
        "impersonator_id": encode_id("user", KEY),
        "oauth_client_id": "x",
    }
    assert describe_actor({"kind": "api_key", "user_id": "1"}, email="anna@example.com") == "anna@example.com (api key)"
    assert describe_actor({"kind": "sql", "db_user": "root"}) == "root (sql)"
    assert describe_actor({"kind": "system"}) == "system"
    assert describe_actor({"kind": "user", "impersonator_id": "1"}, email="a@b.c") == "a@b.c (user), impersonated"


def test_the_trail_of_an_object_uses_its_index(actor: Actor, member: Membership) -> None:
    key = make_key_as(actor, member)
    sql, parameters = trail_of(key).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}", parameters)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan" not in plan
    assert "Disabled" not in plan
