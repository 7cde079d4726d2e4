"""The trail as staff see it: one list, one entry, and the history of any object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from apps.audit.models import TrailEntry
from apps.audit.templatetags.audit_trail import object_trail
from apps.billing.models import Price
from apps.core.actor import ANONYMOUS, Actor, ActorKind
from apps.core.context import bound, set_actor, set_request_id
from apps.core.ids import encode_id, uuid7
from apps.events.services import publish
from apps.users.models import ApiKey, Membership
from tests.factories.audit import make_key_as, rename_as
from tests.factories.billing import PriceFactory
from tests.factories.users import UserFactory
from tests.support.events import LampLit

pytestmark = pytest.mark.django_db
LIST = "admin:audit_trailentry_changelist"


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def key(actor: Actor, member: Membership) -> ApiKey:
    made = make_key_as(actor, member)
    rename_as(actor, made, "Build server")
    return made


def rows(client: Client, **query: object) -> str:
    answer = client.get(reverse(LIST), query)
    assert answer.status_code == 200
    return answer.content.decode().rpartition("</thead>")[2]


def entry_of(key: ApiKey, operation: str = "updated") -> TrailEntry:
    return TrailEntry.objects.get(type=f"users_apikey.{operation}", object_id=str(key.id))


def test_the_list_names_object_actor_organization_and_request(staff: Client, key: ApiKey, member: Membership) -> None:
    shown = rows(staff, object=key.public_id)
    assert shown.count("users_apikey.updated") == shown.count("users_apikey.created") == 1
    for text in (key.public_id, f"{member.user.email} (user)", member.organization.name, "req_test", "Row change"):
        assert text in shown


def test_changes_and_events_are_in_one_list(staff: Client, key: ApiKey, actor: Actor) -> None:
    with transaction.atomic():
        publish(LampLit(aggregate_id=uuid7(), brightness=3), actor=actor)
    shown = rows(staff, request="req_test")
    assert shown.index("lamp.lit") < shown.index("users_apikey.updated") < shown.index("users_apikey.created")
    assert "Domain event" in shown


@pytest.mark.parametrize(
    ("query", "created", "updated"),
    [
        ({"type": "users_apikey"}, True, True),
        ({"type": "users_apikey.created"}, True, False),
        ({"action": "updated"}, False, True),
        ({"source__exact": "event"}, False, False),
        ({"request": "req_test"}, True, True),
        ({"request": "req_other"}, False, False),
        ({"q": "server"}, False, True),
        ({"q": "server nowhere"}, False, False),
        ({"organization": "nonsense"}, False, False),
        ({"occurred_at_from_0": "2100-01-01", "occurred_at_from_1": "00:00:00"}, False, False),
    ],
)
def test_the_list_is_narrowed(staff: Client, key: ApiKey, query: dict[str, str], created: bool, updated: bool) -> None:
    shown = rows(staff, **query)
    assert ("users_apikey.created" in shown, "users_apikey.updated" in shown) == (created, updated)


def test_the_list_is_narrowed_by_ids(staff: Client, key: ApiKey, member: Membership) -> None:
    assert "users_apikey.updated" in rows(staff, actor_id=member.user.public_id)
    assert "users_apikey.updated" not in rows(staff, actor_id=encode_id("user", uuid7()))
    assert "users_apikey.updated" in rows(staff, organization=member.organization.public_id)
    assert "users_apikey.updated" not in rows(staff, organization=encode_id("org", uuid7()))


def test_one_entry_shows_before_and_after_and_hides_secrets(staff: Client, key: ApiKey) -> None:
    updated = staff.get(reverse("admin:audit_trailentry_change", args=[entry_of(key).pk])).content.decode()
    assert updated.index("CI") < updated.index("Build server")
    created = staff.get(reverse("admin:audit_trailentry_change", args=[entry_of(key, "created").pk])).content.decode()
    assert key.prefix in created
    assert "***" in created
    assert key.secret_hash not in created


def test_one_event_shows_its_facts(staff: Client, actor: Actor) -> None:
    with transaction.atomic():
        event = publish(LampLit(aggregate_id=uuid7(), brightness=12345), actor=actor)
    shown = staff.get(reverse("admin:audit_trailentry_change", args=[event.id])).content.decode()
    assert ("brightness" in shown, "12345" in shown) == (True, True)


def test_what_was_emptied_and_what_is_gone_can_be_shown(staff: Client) -> None:
    with bound(actor=Actor(kind=ActorKind.OAUTH_CLIENT, oauth_client_id="robot", impersonator_id=uuid7())):
        PriceFactory().delete()
    entry = TrailEntry.objects.get(type="billing_price.deleted")
    shown = staff.get(reverse("admin:audit_trailentry_change", args=[entry.pk])).content.decode()
    assert "robot (oauth client), impersonated" in shown
    assert reverse("admin:billing_price_change", args=[entry.object_id]) in shown


def test_what_a_shell_did_is_named_by_its_database_role(staff: Client) -> None:
    set_actor(ANONYMOUS)
    set_request_id("")
    made = PriceFactory()
    shown = rows(staff, object=made.public_id)
    assert f"{connection.settings_dict['USER']} (shell)" in shown
    assert '<a href="/admin/audit/trailentry/?request=' not in shown


def test_the_trail_is_for_reading(staff: Client, key: ApiKey) -> None:
    pk = entry_of(key).pk
    assert staff.post(reverse("admin:audit_trailentry_change", args=[pk]), {}).status_code == 403
    assert staff.post(reverse("admin:audit_trailentry_delete", args=[pk]), {"post": "yes"}).status_code == 403
    assert staff.get(reverse("admin:audit_trailentry_add")).status_code == 403


def test_a_list_takes_the_same_statements_for_any_number(
    staff: Client, actor: Actor, member: Membership, django_assert_max_num_queries: Callable
) -> None:
    for number in range(30):
        make_key_as(actor, member, name=f"k{number}")
    with django_assert_max_num_queries(15):  # session, user, actor; count, page; the filters' and the sidebar's own
        rows(staff, type="users_apikey")


@pytest.fixture
def price(actor: Actor) -> Price:
    with bound(actor=actor):
        made = PriceFactory(input_micros=1)
        Price.objects.filter(id=made.id).update(input_micros=2)
    return made


def history(client: Client, price: Price) -> Any:
    return client.get(reverse("admin:billing_price_history", args=[price.pk]))


def test_the_history_of_any_object_is_its_trail(staff: Client, price: Price, member: Membership, actor: Actor) -> None:
    PriceFactory(model="somebody-else")
    with transaction.atomic():
        publish(LampLit(aggregate_id=price.id, brightness=1), actor=actor)
    shown = history(staff, price).content.decode()
    assert shown.index("lamp.lit") < shown.index("billing_price.updated") < shown.index("billing_price.created")
    assert shown.count("billing_price.created") == 1
    assert f"{member.user.email} (user)" in shown
    assert f"{reverse(LIST)}?object={price.id}" in shown


def test_a_long_history_ends_with_a_link_to_all(staff: Client, price: Price) -> None:
    for number in range(50):
        Price.objects.filter(id=price.id).update(input_micros=number + 10)
    shown = history(staff, price).content.decode()
    assert (shown.count("billing_price.updated"), shown.count("billing_price.created")) == (50, 0)
    assert "All entries of this object" in shown


def test_objects_with_numbers_are_told_from_those_of_other_tables(rf: RequestFactory, actor: Actor) -> None:
    with bound(actor=actor):
        group = Group.objects.create(name="support")
    request = rf.get("/")
    request.user = UserFactory(is_staff=True, is_superuser=True)
    found = object_trail({"request": request}, group)
    assert [row["entry"].type for row in found["shown"]] == ["auth_group.created"]
    assert found["all_url"] == f"{reverse(LIST)}?object={group.pk}&type=auth_group"
    nothing = object_trail({"request": request}, Permission(pk=group.pk))
    assert nothing["shown"] == []


def test_the_history_is_for_those_who_may_see_the_trail(price: Price) -> None:
    clerk = UserFactory(is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_price"))
    client = Client()
    client.force_login(clerk)
    shown = history(client, price).content.decode()
    assert ("You need the permission to view the audit trail" in shown, "billing_price.updated" in shown) == (
        True,
        False,
    )


def test_an_object_without_entries_says_so(staff: Client, price: Price) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM audit_change")
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    assert "no entry for this object" in history(staff, price).content.decode()
