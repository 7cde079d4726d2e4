"""Whose cache policy holds, who hears of a change, and the staff's page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisDown

from apps.core.actor import system_actor
from apps.core.ids import uuid7
from apps.core.redis import get_redis
from apps.events.models import Event
from apps.gateway.choices import CacheScope
from apps.gateway.models import CacheDay, CachePolicy
from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.cache import cache_terms_of
from apps.gateway.services.caching import policies
from apps.gateway.services.caching.policies import delete_cache_policy, forget_person, purge_cache, save_cache_policy
from apps.gateway.subscribers import forget_cached_answers
from tests.factories.gateway import CachePolicyFactory, ModelFactory
from tests.factories.users import ApiKeyFactory, OrganizationFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db
TODAY = datetime.now(UTC).date()


@pytest.fixture
def staff() -> Client:
    """Return a client of an administrator."""
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def said() -> list[tuple[str, Any]]:
    """Return the facts that were published about caches."""
    found = Event.objects.filter(aggregate_type="cache_policy").order_by("position")
    return [(event.type, event.payload.get("changed")) for event in found]


def test_the_narrowest_policy_holds_whole() -> None:
    outer = TeamFactory()
    inner = TeamFactory(organization=outer.organization, parent=outer)
    key = ApiKeyFactory(organization=outer.organization)
    bound = Bound(outer.organization_id, key.user_id, key, (inner.id, outer.id))
    foreign = CachePolicyFactory()
    assert cache_terms_of(bound) is None
    rows = [
        CachePolicyFactory(organization=outer.organization, ttl_seconds=100),
        CachePolicyFactory(organization=outer.organization, team=outer, ttl_seconds=200),
        CachePolicyFactory(organization=outer.organization, team=inner, ttl_seconds=300),
        CachePolicyFactory(organization=outer.organization, api_key=key, ttl_seconds=400),
    ]
    held = []
    for row in reversed(rows):
        terms = cache_terms_of(bound)
        assert terms is not None
        held.append(terms.ttl_seconds)
        row.delete()
    assert held == [400, 300, 200, 100]
    assert CachePolicy.objects.get() == foreign


def test_one_that_caches_neither_way_switches_off() -> None:
    key = ApiKeyFactory()
    CachePolicyFactory(organization=key.organization)
    CachePolicyFactory(organization=key.organization, api_key=key, is_exact=False)
    assert cache_terms_of(Bound(key.organization_id, key.user_id, key)) is None
    assert cache_terms_of(Bound(key.organization_id, key.user_id)) is not None


@pytest.mark.parametrize(
    ("scope", "subject"),
    [(CacheScope.ORGANIZATION, ""), (CacheScope.USER, "user"), (CacheScope.API_KEY, "key")],
    ids=str,
)
def test_the_scope_says_whose_answers_are_shared(scope: str, subject: str) -> None:
    key = ApiKeyFactory()
    CachePolicyFactory(organization=key.organization, scope=scope)
    terms = cache_terms_of(Bound(key.organization_id, key.user_id, key))
    assert terms is not None
    assert terms.subject == {"": "", "user": key.user_id.hex, "key": key.id.hex}[subject]


def test_without_a_key_the_person_stands_for_it() -> None:
    key = ApiKeyFactory()
    CachePolicyFactory(organization=key.organization, scope=CacheScope.API_KEY)
    terms = cache_terms_of(Bound(key.organization_id, key.user_id))
    assert terms is not None
    assert terms.subject == key.user_id.hex


@pytest.mark.parametrize(
    "wrong",
    [
        {"hit_price_percent": 101},
        {"similarity": 0.3},
        {"is_semantic": True, "embedding_model": ""},
        {"team": "both", "api_key": "both"},
    ],
    ids=["price", "similarity", "no model", "two subjects"],
)
def test_the_database_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    key = ApiKeyFactory()
    team = TeamFactory(organization=key.organization)
    fields = {
        name: {"team": team, "api_key": key}.get(name) if value == "both" else value for name, value in wrong.items()
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        CachePolicyFactory(organization=key.organization, **fields)


def test_an_organization_team_or_key_has_one_policy() -> None:
    first = CachePolicyFactory()
    with pytest.raises(ValidationError, match="The organization has a cache policy"):
        save_cache_policy(policy=CachePolicy(organization=first.organization), actor=system_actor())


def test_subjects_of_other_organizations_are_refused() -> None:
    policy = CachePolicy(organization=OrganizationFactory(), team=TeamFactory())
    with pytest.raises(ValidationError, match="another organization"):
        save_cache_policy(policy=policy, actor=system_actor())


def test_a_change_is_a_fact_and_a_new_generation() -> None:
    policy = save_cache_policy(policy=CachePolicy(organization=OrganizationFactory()), actor=system_actor())
    policy.ttl_seconds = 60
    save_cache_policy(policy=policy, actor=system_actor())
    save_cache_policy(policy=policy, actor=system_actor())
    assert CachePolicy.objects.get().generation == 2
    assert said()[1:] == [("cache_policy.changed", ["ttl_seconds"])]
    assert said()[0][0] == "cache_policy.changed"


def test_those_whom_it_concerns_hear_of_it(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[tuple[str, Any]] = []
    monkeypatch.setattr(policies, "announce_identity_change", lambda kind, id: heard.append((kind, id)))
    key = ApiKeyFactory()
    team = TeamFactory(organization=key.organization)
    for fields in ({}, {"team": team}, {"api_key": key}):
        save_cache_policy(policy=CachePolicy(organization=key.organization, **fields), actor=system_actor())
    assert heard == [("organization", key.organization_id), ("team", team.id), ("api_key", key.id)]


def test_a_purge_and_an_end_are_facts(django_capture_on_commit_callbacks: Any) -> None:
    policy = CachePolicyFactory()
    place = f"{policies.PREFIX}:{policy.organization_id.hex}:{policy.id.hex}:aa"
    get_redis().mset({place: "x", **{f"{place}{number}": "x" for number in range(1500)}, "portico:cache:other": "x"})
    with django_capture_on_commit_callbacks(execute=True):
        purge_cache(policy=policy, actor=system_actor())
    assert get_redis().keys("portico:cache:*") == [b"portico:cache:other"]
    policy.refresh_from_db()
    assert policy.generation == 2
    delete_cache_policy(policy=policy, actor=system_actor())
    assert said() == [("cache.purged", None), ("cache_policy.changed", ["deleted"])]


def test_a_purge_of_an_empty_cache_touches_nobody_elses(django_capture_on_commit_callbacks: Any) -> None:
    policy, other = CachePolicyFactory(), f"{policies.PREFIX}:{uuid7().hex}:p:1"
    get_redis().set(other, "x")
    with django_capture_on_commit_callbacks(execute=True):
        purge_cache(policy=policy, actor=system_actor())
    assert get_redis().keys("portico:cache:*") == [other.encode()]


def test_a_redis_that_is_down_stops_no_purge(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def refuse() -> None:
        raise RedisDown

    policy = CachePolicyFactory()
    monkeypatch.setattr(policies, "get_redis", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        purge_cache(policy=policy, actor=system_actor())
    assert CachePolicy.objects.get().generation == 2


def test_who_leaves_an_organization_is_forgotten_there_only() -> None:
    user_id, here, there = uuid7(), uuid7(), uuid7()
    mine, other = f"{policies.PREFIX}:{here.hex}:p:1", f"{policies.PREFIX}:{there.hex}:p:1"
    get_redis().mset({mine: "x", other: "x"})
    get_redis().zadd(policies.person_key(user_id), {mine: 1, other: 1})
    event: Any = type("Heard", (), {"organization_id": here, "payload": {"user_id": str(user_id)}})
    forget_cached_answers(event)
    assert (get_redis().exists(mine), get_redis().exists(other)) == (0, 1)
    assert get_redis().zrange(policies.person_key(user_id), 0, -1) == [other.encode()]
    event.organization_id = None
    forget_cached_answers(event)
    forget_person(user_id=uuid7(), organization_id=here)
    assert get_redis().exists(other) == 1


def test_days_of_a_policy_that_is_gone_are_left_out() -> None:
    policy = CachePolicyFactory()
    rows = [(policy.id, TODAY, 2, 1, 3, 40), (uuid7(), TODAY, 9, 9, 9, 9)]
    CacheDay.objects.add_up(rows)
    CacheDay.objects.add_up(rows[:1])
    day = CacheDay.objects.get()
    assert (day.hits, day.semantic_hits, day.misses, day.saved_micros) == (4, 2, 6, 80)
    assert str(day) == f"{TODAY}: 4 of 10"


def test_staff_make_change_and_end_a_policy(staff: Client) -> None:
    organization = OrganizationFactory()
    ModelFactory(name="small-embedding", capabilities=["embeddings"])
    fields = {
        "organization": organization.id, "team": "", "api_key": "", "is_exact": "on", "is_semantic": "on",
        "ttl_seconds": 600, "scope": "organization", "max_temperature": "", "hit_price_percent": 10,
        "embedding_model": "small-embedding", "similarity": 0.9,
    }  # fmt: skip
    refused = staff.post(reverse("admin:gateway_cachepolicy_add"), {**fields, "embedding_model": ""})
    assert "Name the embedding model" in refused.content.decode()
    assert staff.post(reverse("admin:gateway_cachepolicy_add"), fields).status_code == 302
    policy = CachePolicy.objects.get()
    change = reverse("admin:gateway_cachepolicy_change", args=[policy.id])
    assert "No call has asked this cache yet" in staff.get(change).content.decode()
    assert (
        staff.post(change, {**fields, "organization": OrganizationFactory().id, "ttl_seconds": 60}).status_code == 302
    )
    policy.refresh_from_db()
    assert (policy.ttl_seconds, policy.generation, policy.organization_id) == (60, 2, organization.id)
    staff.post(reverse("admin:gateway_cachepolicy_delete", args=[policy.id]), {"post": "yes"})
    assert said()[1:] == [("cache_policy.changed", ["ttl_seconds"]), ("cache_policy.changed", ["deleted"])]


def test_an_embedding_model_that_is_no_longer_offered_stays_chosen(staff: Client) -> None:
    policy = CachePolicyFactory(is_semantic=True, embedding_model="old-embedding")
    page = staff.get(reverse("admin:gateway_cachepolicy_change", args=[policy.id])).content
    chosen = BeautifulSoup(page, "html.parser").select_one("select[name=embedding_model] option[selected]")
    assert chosen is not None
    assert chosen.text.strip() == "old-embedding (not offered)"


def test_staff_see_what_a_cache_brings(staff: Client) -> None:
    team, key = TeamFactory(), ApiKeyFactory(name="ci")
    policy = CachePolicyFactory(organization=team.organization, team=team, ttl_seconds=90, hit_price_percent=25)
    CachePolicyFactory(organization=key.organization, api_key=key, ttl_seconds=86_400)
    CachePolicyFactory(ttl_seconds=20)
    CacheDay.objects.add_up(
        [(policy.id, TODAY, 3, 1, 1, 1_500_000), (policy.id, TODAY - timedelta(days=60), 900, 0, 0, 5)]
    )
    text = BeautifulSoup(staff.get(reverse("admin:gateway_cachepolicy_changelist")).content, "html.parser").get_text(
        " "
    )
    words = " ".join(text.split())
    for expected in (f"team {team.name}", "key ci", "the organization", "1.5 min", "1 d", "20 s", "75.0 %", "3 (1 by meaning)", "1.500000", "25 %"):  # fmt: skip
        assert expected in words
    page = staff.get(reverse("admin:gateway_cachepolicy_change", args=[policy.id])).content.decode()
    assert "900" in page


def test_staff_purge_several(staff: Client) -> None:
    ids = [str(CachePolicyFactory().id) for _ in range(2)]
    staff.post(reverse("admin:gateway_cachepolicy_changelist"), {"action": "purge", "_selected_action": ids})
    assert list(CachePolicy.objects.values_list("generation", flat=True)) == [2, 2]
    staff.post(
        reverse("admin:gateway_cachepolicy_changelist"),
        {"action": "delete_selected", "_selected_action": ids, "post": "yes"},
    )
    assert CachePolicy.objects.count() == 0
    assert [kind for kind, _ in said()] == ["cache.purged"] * 2 + ["cache_policy.changed"] * 2
