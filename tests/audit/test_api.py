"""GET /api/v3/audit/events and one of them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from apps.audit.models import TrailEntry
from apps.core.actor import Actor
from apps.core.ids import encode_id, uuid7
from apps.events.services import publish
from apps.users.choices import Role
from apps.users.models import ApiKey, Membership
from apps.users.selectors import actor_of_user
from tests.factories.audit import make_key_as, rename_as
from tests.factories.users import MembershipFactory
from tests.support.events import LampLit

pytestmark = pytest.mark.django_db
URL = "/api/v3/audit/events"


def cursor(text: str) -> dict[str, str]:
    return {"cursor": base64.urlsafe_b64encode(text.encode()).decode()}


@pytest.fixture
def boss(member: Membership) -> Membership:
    return MembershipFactory(organization=member.organization, role=Role.ADMIN)


@pytest.fixture
def admin(boss: Membership, api_as: Callable[[Membership], APIClient]) -> APIClient:
    return api_as(boss)


@pytest.fixture
def acting(boss: Membership) -> Actor:
    return actor_of_user(user=boss.user, organization_id=boss.organization_id, request_id="req_of_the_boss")


@pytest.fixture
def key(acting: Actor, member: Membership) -> ApiKey:
    made = make_key_as(acting, member)
    rename_as(acting, made, "Build server")
    return made


@pytest.fixture
def lamp(acting: Actor) -> Any:
    with transaction.atomic():
        return publish(LampLit(aggregate_id=uuid7(), brightness=7, by=(acting.user_id,)), actor=acting)


def listed(client: APIClient, **query: object) -> list[dict[str, Any]]:
    answer = client.get(URL, query)
    assert answer.status_code == 200, answer.json()
    return answer.json()["items"]


def types(client: APIClient, **query: object) -> list[str]:
    return [item["type"] for item in listed(client, **query)]


def test_an_entry_of_the_list_says_who_did_what_to_which_object(
    admin: APIClient, key: ApiKey, boss: Membership
) -> None:
    renamed = listed(admin, object=key.public_id)[0]
    assert renamed.pop("id").startswith("chg_")
    assert renamed.pop("occurred_at").endswith("Z")
    assert renamed == {
        "source": "change",
        "type": "users_apikey.updated",
        "action": "updated",
        "object": {"type": "users_apikey", "id": key.public_id},
        "actor": {
            "kind": "user", "user_id": boss.user.public_id, "organization_id": boss.organization.public_id,
        },
        "organization": boss.organization.public_id,
        "request_id": "req_of_the_boss",
    }  # fmt: skip


def test_one_entry_has_before_and_after_with_public_ids_and_without_secrets(
    admin: APIClient, key: ApiKey, member: Membership
) -> None:
    updated, created = listed(admin, object=key.public_id)
    answer = admin.get(f"{URL}/{updated['id']}").json()
    assert {name: answer[name] for name in updated} == updated
    assert (answer["before"], answer["after"], answer["payload"]) == ({"name": "CI"}, {"name": "Build server"}, None)
    assert (answer["application"], answer["db_user"]) == ("portico", connection.settings_dict["USER"])
    made = admin.get(f"{URL}/{created['id']}").json()
    assert made["before"] is None
    assert (made["after"]["id"], made["after"]["user_id"], made["after"]["organization_id"]) == (
        key.public_id, member.user.public_id, member.organization.public_id,
    )  # fmt: skip
    assert made["after"]["secret_hash"] == "***"


def test_events_are_in_the_same_trail(admin: APIClient, key: ApiKey, lamp: Any, boss: Membership) -> None:
    event, updated, created = listed(admin, request_id="req_of_the_boss")
    assert [event["type"], updated["type"], created["type"]] == [
        "lamp.lit",
        "users_apikey.updated",
        "users_apikey.created",
    ]
    assert (event["source"], event["action"], event["id"]) == ("event", "lit", encode_id("evt", lamp.id))
    assert event["object"] == {"type": "lamp", "id": encode_id("lamp", lamp.aggregate_id)}
    detail = admin.get(f"{URL}/{event['id']}").json()
    assert detail["payload"] == {"brightness": 7, "by": [str(boss.user_id)]}
    assert (detail["before"], detail["after"], detail["application"]) == (None, None, "")


def test_filters_narrow(admin: APIClient, key: ApiKey, lamp: Any, boss: Membership) -> None:
    mine = {"request_id": "req_of_the_boss"}
    assert types(admin, **mine, source="event") == ["lamp.lit"]
    assert types(admin, **mine, source="change") == ["users_apikey.updated", "users_apikey.created"]
    assert types(admin, **mine, type="lamp.lit") == ["lamp.lit"]
    assert types(admin, **mine, type="users_apikey") == ["users_apikey.updated", "users_apikey.created"]
    assert types(admin, **mine, type="users_apikey.created") == ["users_apikey.created"]
    assert types(admin, **mine, type="lamp") == ["lamp.lit"]
    assert types(admin, **mine, action="updated") == ["users_apikey.updated"]
    assert types(admin, **mine, actor=boss.user.public_id) == [
        "lamp.lit",
        "users_apikey.updated",
        "users_apikey.created",
    ]
    assert types(admin, actor=encode_id("user", uuid7())) == []
    assert types(admin, object=encode_id("lamp", lamp.aggregate_id)) == ["lamp.lit"]
    assert types(admin, request_id="req_of_nobody") == []


def test_time_is_half_open(admin: APIClient, key: ApiKey) -> None:
    updated, created = TrailEntry.objects.filter(object_id=str(key.id)).newest_first()
    of_key = {"object": key.public_id}
    assert types(admin, **of_key, since=updated.occurred_at.isoformat()) == ["users_apikey.updated"]
    assert types(admin, **of_key, until=updated.occurred_at.isoformat()) == ["users_apikey.created"]
    assert types(admin, **of_key, since=(updated.occurred_at + timedelta(microseconds=1)).isoformat()) == []
    assert created.occurred_at < updated.occurred_at


@pytest.mark.parametrize("words", ["server", "BUILD server", "apikey server", "req_of_the_boss server"])
def test_words_are_searched_in_every_part(admin: APIClient, key: ApiKey, words: str) -> None:
    assert types(admin, search=words) == ["users_apikey.updated"]


def test_public_ids_are_searched_as_what_they_stand_for(
    admin: APIClient, key: ApiKey, lamp: Any, boss: Membership
) -> None:
    assert types(admin, search=key.public_id) == ["users_apikey.updated", "users_apikey.created"]
    assert types(admin, search=f"{boss.user.public_id} lamp") == ["lamp.lit"]
    assert types(admin, search="key_notanid0000000000000000000") == []


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00:00+23:00"},
        {"until": "9999-12-31T23:59:59-23:00"},
        {"source": "rumour"},
        {"search": "a\0b"},
        {"object": "key_\0"},
        {"cursor": "nonsense"},
        {"cursor": "é"},
        cursor("f 1 2"),
        cursor("x 2026-01-01T00:00:00+00:00 01890a5d-ac96-774b-bcce-b302099a8057"),
        cursor("f 2026-01-01T00:00:00 01890a5d-ac96-774b-bcce-b302099a8057"),
        cursor("f 2026-01-01T00:00:00+00:00 17"),
        cursor("f 0001-01-01T00:00:00+23:00 01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
    ids=str,
)
def test_nonsense_is_refused(admin: APIClient, query: dict[str, str]) -> None:
    assert admin.get(URL, query).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"since": "0001-01-02T00:00:00+23:00"},
        {"until": "9999-12-30T23:59:59-23:00"},
        {"object": "%", "actor": "'", "request_id": "x" * 9000},
        {"search": "%_' \\ ☃ 😀"},
        {"page_size": "0"},
        {"page_size": "many"},
        cursor("b 0001-01-02T00:00:00+23:00 01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
    ids=str,
)
def test_odd_questions_have_answers(admin: APIClient, query: dict[str, str]) -> None:
    assert admin.get(URL, query).status_code == 200


def test_pages_follow_each_other_both_ways_and_miss_nothing(
    admin: APIClient, acting: Actor, member: Membership
) -> None:
    keys = [make_key_as(acting, member, name=f"k{n}") for n in range(7)]
    query = {"type": "users_apikey.created", "request_id": "req_of_the_boss"}
    everything = [item["id"] for item in listed(admin, **query)]
    seen, answer = [], admin.get(URL, {**query, "page_size": 3}).json()
    assert answer["previous"] is None
    pages = [answer]
    for _ in range(2):
        make_key_as(acting, member, name="newer")  # what comes in meanwhile moves nothing
        pages.append(admin.get(pages[-1]["next"]).json())
    for page in pages:
        seen += [item["id"] for item in page["items"]]
    assert (len(keys), seen, pages[-1]["next"]) == (7, everything, None)
    back = admin.get(pages[-1]["previous"]).json()
    assert [item["id"] for item in back["items"]] == [item["id"] for item in pages[1]["items"]]
    first = admin.get(back["previous"]).json()
    assert [item["id"] for item in first["items"]] == [item["id"] for item in pages[0]["items"]]
    newest = admin.get(first["previous"]).json()
    assert (len(newest["items"]), newest["previous"]) == (2, None)
    assert [item["id"] for item in admin.get(newest["next"]).json()["items"]] == everything[:3]


def test_entries_of_one_moment_are_not_lost_between_pages(admin: APIClient, acting: Actor) -> None:
    with transaction.atomic():
        for number in range(5):
            publish(LampLit(aggregate_id=uuid7(), brightness=number), actor=acting)
        with connection.cursor() as database:
            database.execute("SET LOCAL session_replication_role = replica")
            database.execute("UPDATE events_event SET occurred_at = date_trunc('hour', now()) WHERE type = 'lamp.lit'")
            database.execute("SET LOCAL session_replication_role = DEFAULT")
    seen, link = [], f"{URL}?type=lamp.lit&page_size=2"
    while link:
        page = admin.get(link).json()
        seen += [item["id"] for item in page["items"]]
        link = page["next"]
    assert (len(seen), len(set(seen))) == (5, 5)


def test_nothing_newer_is_an_empty_page(admin: APIClient, key: ApiKey) -> None:
    page = admin.get(URL, {"object": key.public_id, "page_size": 1}).json()
    second = admin.get(page["next"]).json()
    first = admin.get(second["previous"]).json()
    assert first["items"] == page["items"]
    ApiKey.objects.filter(id=key.id).update(name="once more")
    newer = admin.get(first["previous"]).json() if first["previous"] else {"items": []}
    assert newer["items"] == []


def test_a_list_takes_the_same_statements_for_any_number(
    admin: APIClient, acting: Actor, member: Membership, django_assert_max_num_queries: Callable
) -> None:
    for number in range(30):
        make_key_as(acting, member, name=f"k{number}")
    with django_assert_max_num_queries(8):  # the key, its membership, last use, the page
        assert len(listed(admin, type="users_apikey")) >= 30


def test_members_are_refused_and_strangers_see_their_own(
    api: APIClient, key: ApiKey, admin: APIClient, api_as: Callable[[Membership], APIClient]
) -> None:
    updated = listed(admin, object=key.public_id)[0]["id"]
    stranger = api_as(MembershipFactory(role=Role.OWNER))
    assert (api.get(URL).status_code, api.get(URL).json()["code"]) == (403, "users.role_too_low")
    assert api.head(URL).status_code == 403
    assert api.get(f"{URL}/{updated}").status_code == 403
    assert listed(stranger, object=key.public_id) == []
    missing = encode_id("chg", uuid7())
    foreign, nowhere = stranger.get(f"{URL}/{updated}"), stranger.get(f"{URL}/{missing}")
    assert (foreign.status_code, nowhere.status_code) == (404, 404)
    assert {**foreign.json(), "request_id": ""} == {**nowhere.json(), "request_id": ""}


def test_an_event_id_does_not_open_a_change(admin: APIClient, key: ApiKey) -> None:
    entry = TrailEntry.objects.filter(object_id=str(key.id)).newest_first().first()
    assert admin.get(f"{URL}/{encode_id('evt', entry.id)}").status_code == 404
    assert admin.get(f"{URL}/key_{'0' * 26}").status_code == 400


def test_the_anonymous_and_keys_without_the_scope_are_refused(admin: APIClient) -> None:
    assert APIClient().get(URL).status_code == 401
    ApiKey.objects.update(scopes=["models:read"])
    assert (admin.get(URL).status_code, admin.get(URL).json()["code"]) == (403, "users.scope_missing")
