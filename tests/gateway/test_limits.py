"""Limits as rows: whom they bind, how they are saved, that a change holds for the next call of every process."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from apps.core.actor import system_actor
from apps.core.errors import InvalidInput
from apps.core.ids import encode_id, uuid7
from apps.events.models import Event
from apps.gateway.models import Limit
from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.limits import LimitTerms, limits_of
from apps.gateway.selectors.terms import NO_TERMS, terms_of_key, terms_of_person
from apps.gateway.services.limits import delete_limit, save_limit
from apps.users.models import ApiKey, Membership
from apps.users.selectors import actor_of_user
from apps.users.services.teams import choose_own_team
from tests.factories.gateway import LimitFactory
from tests.factories.users import (
    ApiKeyFactory,
    MembershipFactory,
    OrganizationFactory,
    TeamFactory,
    TeamMembershipFactory,
    UserFactory,
)
from tests.gateway.conftest import run_in_database
from tests.support.waiting import until

pytestmark = pytest.mark.django_db

SYSTEM = system_actor()


@pytest.fixture
def key(member: Membership) -> ApiKey:
    """Return a key that counts for a team within another."""
    outer = TeamFactory(organization=member.organization, name="Outer")
    inner = TeamMembershipFactory(membership=member, team__parent=outer, team__name="Inner").team
    return ApiKeyFactory(membership=member, team=inner, name="Nightly")


def bound_of(key: ApiKey) -> Bound:
    teams = (key.team_id, key.team.parent_id) if key.team else ()
    return Bound(key.organization_id, key.user_id, key, teams)


def labels(key: ApiKey) -> list[str]:
    return [terms.label for terms in limits_of(bound_of(key))]


class TestWhomTheyBind:
    def test_nobody_without_rows(self, key: ApiKey) -> None:
        assert limits_of(bound_of(key)) == ()

    def test_the_key_carries_its_own(self, key: ApiKey) -> None:
        key.requests_per_minute, key.parallel_calls = 5, 2
        assert limits_of(bound_of(key)) == (
            LimitTerms(id=f"key:{key.id}", scope="key", label='key "Nightly"', requests=5, parallel=2),
        )

    def test_one_subject_of_each_scope(self, key: ApiKey) -> None:
        subjects = {
            "organization": key.organization.public_id,
            "team": key.team.public_id,
            "user": key.user.public_id,
            "key": key.public_id,
        }
        for scope, subject in subjects.items():
            LimitFactory(scope=scope, subject=subject, organization=key.organization)
            LimitFactory(scope=scope, subject=encode_id(subject.split("_")[0], uuid7()), organization=key.organization)
        LimitFactory(scope="team", subject=key.team.parent.public_id)
        assert labels(key) == [
            f"organization {key.organization.public_id}",
            'team "Inner"',
            f"user {key.user.public_id}",
            'key "Nightly"',
            'team "Outer"',
        ]

    def test_each_one_of_a_scope_by_itself(self, key: ApiKey) -> None:
        row = LimitFactory(scope="team")
        assert [(terms.id, terms.label) for terms in limits_of(bound_of(key))] == [
            (f"{row.id}:{key.team.public_id}", 'team "Inner"'),
            (f"{row.id}:{key.team.parent.public_id}", 'team "Outer"'),
        ]
        LimitFactory(scope="user")
        person = Bound(key.organization_id, key.user_id)
        assert [terms.label for terms in limits_of(person)] == [f"user {key.user.public_id}"]
        assert limits_of(Bound(key.organization_id)) == ()

    def test_what_the_call_decides_goes_along(self, key: ApiKey) -> None:
        ours = LimitFactory(scope="end_user", organization=key.organization)
        everywhere = LimitFactory(scope="end_user", subject="ada")
        model = LimitFactory(scope="model", subject="large")
        found = {terms.id: terms for terms in limits_of(bound_of(key))}
        assert (found[str(ours.id)].subject, found[str(ours.id)].within) == ("", "")
        assert (found[str(everywhere.id)].subject, found[str(everywhere.id)].within) == (
            "ada",
            str(key.organization_id),
        )
        assert (found[str(model.id)].label, found[str(model.id)].within) == ("model", "")

    def test_neither_other_organizations_nor_what_rests(self, key: ApiKey) -> None:
        elsewhere = OrganizationFactory()
        for scope in ("key", "tag", "organization"):
            LimitFactory(scope=scope, organization=elsewhere)
        LimitFactory(is_active=False)
        assert labels(key) == []

    def test_figures_and_bursts(self, key: ApiKey) -> None:
        LimitFactory(
            scope="key",
            organization=key.organization,
            requests_per_minute=None,
            tokens_per_minute=500,
            model="small",
            algorithm="token_bucket",
            burst_tokens=900,
        )
        [found] = limits_of(bound_of(key))
        assert (found.model, found.requests, found.tokens, found.parallel) == ("small", None, 500, None)
        assert (found.is_bucket, found.burst_requests, found.burst_tokens) == (True, None, 900)
        Limit.objects.update(burst_tokens=None)
        assert limits_of(bound_of(key))[0].burst_tokens == 500


class TestTerms:
    def test_of_a_key(self, key: ApiKey) -> None:
        LimitFactory()
        terms = terms_of_key(key)
        assert (terms.team_id, terms.team_ids) == (key.team_id, (key.team_id, key.team.parent_id))
        assert [limit.label for limit in terms.limits] == ['key "Nightly"']

    def test_of_a_person_without_a_key(self, key: ApiKey, member: Membership) -> None:
        place = {"user_id": member.user_id, "organization_id": member.organization_id}
        LimitFactory(scope="user")
        assert [limit.label for limit in terms_of_person(**place).limits] == [f"user {member.user.public_id}"]
        assert terms_of_person(**place).team_id is None
        choose_own_team(membership=member, team=key.team, actor=SYSTEM)
        assert terms_of_person(**place).team_ids == (key.team_id, key.team.parent_id)

    def test_of_the_organization_itself(self) -> None:
        assert terms_of_person(user_id=None, organization_id=OrganizationFactory().id) == NO_TERMS

    def test_they_cost_few_queries(self, key: ApiKey, django_assert_num_queries) -> None:
        bound = bound_of(key)
        with django_assert_num_queries(1):
            limits_of(bound)
        for _ in range(2):
            LimitFactory(scope="team", organization=OrganizationFactory())
            LimitFactory(scope="team", organization=key.organization, model=f"model-{Limit.objects.count()}")
        with django_assert_num_queries(2):
            limits_of(bound)


class TestSaving:
    def test_it_is_told(self, key: ApiKey) -> None:
        limit = save_limit(limit=Limit(scope="team", requests_per_minute=5), actor=SYSTEM)
        limit.requests_per_minute = 6
        save_limit(limit=limit, fields=("requests_per_minute",), actor=SYSTEM)
        for _ in range(2):
            delete_limit(limit=limit, actor=SYSTEM)
        assert list(Event.objects.filter(aggregate_type="limit").order_by("id").values_list("type", "payload")) == [
            ("limit.changed", {"scope": "team", "is_new": True, "fields": []}),
            ("limit.changed", {"scope": "team", "is_new": False, "fields": ["requests_per_minute"]}),
            ("limit.deleted", {"scope": "team"}),
        ]

    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({}, "__all__"),
            ({"requests_per_minute": 0}, "__all__"),
            ({"requests_per_minute": 5, "tokens_per_minute": 0}, "__all__"),
            ({"requests_per_minute": 5, "subject": "user_1"}, "subject"),
            ({"requests_per_minute": 5, "subject": "key_01h455vb4pex5vsknk084sn02q"}, "subject"),
            ({"requests_per_minute": 5, "burst_requests": 9}, "algorithm"),
            ({"requests_per_minute": 5, "scope": "model", "model": "small"}, "model"),
            ({"requests_per_minute": 5, "scope": "planet"}, "scope"),
        ],
    )
    def test_what_cannot_be_a_limit_is_refused(self, fields: dict, named: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            save_limit(limit=Limit(**{"scope": "key"} | fields), actor=SYSTEM)
        assert list(refused.value.errors) == [named]
        assert not Limit.objects.exists()

    def test_one_for_the_same_is_refused(self) -> None:
        LimitFactory()
        with pytest.raises(InvalidInput, match="a limit for this already"):
            save_limit(limit=Limit(scope="key", requests_per_minute=5), actor=SYSTEM)
        with pytest.raises(IntegrityError), transaction.atomic():
            LimitFactory()

    @pytest.mark.parametrize("scope", ["organization", "team", "user", "key"])
    def test_a_subject_is_of_the_organization(self, key: ApiKey, scope: str) -> None:
        mine = {"organization": key.organization, "team": key.team, "user": key.user, "key": key}[scope].public_id
        elsewhere = OrganizationFactory()
        save_limit(limit=Limit(scope=scope, subject=mine, requests_per_minute=1), actor=SYSTEM)
        ours = Limit(scope=scope, subject=mine, organization=key.organization, requests_per_minute=1)
        save_limit(limit=ours, actor=SYSTEM)
        with pytest.raises(InvalidInput, match="none with this id"):
            save_limit(
                limit=Limit(scope=scope, subject=mine, organization=elsewhere, requests_per_minute=1), actor=SYSTEM
            )

    def test_it_says_what_it_is(self) -> None:
        limit = Limit(scope="end_user", model="small", requests_per_minute=1000, parallel_calls=3)
        assert str(limit) == "each end user with small: 1,000 requests a minute, 3 calls at a time"
        assert str(Limit(scope="tag", subject="batch", tokens_per_minute=5)) == "tag batch: 5 tokens a minute"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("reach", ["organization", "platform"])
async def test_a_change_holds_for_the_next_call(runtime, reach: str) -> None:
    api_key, secret = await run_in_database(ApiKeyFactory.with_secret)
    await until(lambda: runtime._listener._hears)
    person = await run_in_database(lambda: MembershipFactory(organization=api_key.organization))
    actor = await run_in_database(lambda: actor_of_user(user=person.user, organization_id=person.organization_id))
    assert (await runtime.callers.find(secret)).terms.limits == ()
    assert (await runtime.callers.of_actor(actor)).terms.limits == ()
    organization = api_key.organization if reach == "organization" else None
    limit = Limit(scope="organization", organization=organization, requests_per_minute=7)
    await run_in_database(lambda: save_limit(limit=limit, actor=SYSTEM))
    await until(lambda: runtime.callers.known(secret) is None)
    assert [terms.requests for terms in (await runtime.callers.find(secret)).terms.limits] == [7]
    assert [terms.requests for terms in (await runtime.callers.of_actor(actor)).terms.limits] == [7]
    await run_in_database(lambda: delete_limit(limit=limit, actor=SYSTEM))
    await until(lambda: runtime.callers.known(secret) is None)
    assert (await runtime.callers.find(secret)).terms.limits == ()


class TestStaff:
    @pytest.fixture
    def staff(self, db: None) -> Client:
        client = Client()
        client.force_login(UserFactory(is_staff=True, is_superuser=True))
        return client

    def test_a_limit_is_made_changed_and_deleted(self, staff: Client) -> None:
        fields = {
            "organization": "", "scope": "key", "subject": "", "model": "", "requests_per_minute": "5",
            "algorithm": "sliding_window", "is_active": "on",
        }  # fmt: skip
        staff.post(reverse("admin:gateway_limit_add"), fields)
        limit = Limit.objects.get()
        row = reverse("admin:gateway_limit_change", args=[limit.id])
        assert staff.get(row).status_code == 200
        staff.post(row, fields | {"requests_per_minute": "9", "scope": "user"})
        limit.refresh_from_db()
        assert (limit.requests_per_minute, limit.scope) == (9, "key")
        page = reverse("admin:gateway_limit_changelist")
        person = LimitFactory(scope="user", subject=UserFactory(email="ada@example.com").public_id)
        LimitFactory(scope="user", subject=encode_id("user", uuid7()))
        listed = staff.get(page).content.decode()
        assert "each key" in listed
        assert "ada@example.com" in listed
        assert person.subject not in listed
        Limit.objects.exclude(pk=limit.pk).delete()
        refused = staff.post(reverse("admin:gateway_limit_add"), fields)
        assert "There is a limit for this already" in refused.content.decode()
        staff.post(reverse("admin:gateway_limit_delete", args=[limit.id]), {"post": "yes"})
        assert not Limit.objects.exists()
        chosen = LimitFactory()
        staff.post(page, {"action": "delete_selected", "_selected_action": [chosen.pk], "post": "yes"})
        assert Event.objects.filter(type="limit.deleted").count() == 2

    def test_pages_tell_what_binds_their_row(self, staff: Client, key: ApiKey) -> None:
        limits = {scope: LimitFactory(scope=scope) for scope in ("organization", "team", "user", "key")}
        expected = {
            "organization": ({"organization"}, key.organization),
            "team": ({"organization", "team"}, key.team),
            "user": ({"organization", "user"}, key.user),
            "apikey": ({"organization", "team", "user", "key"}, key),
        }
        for model, (scopes, row) in expected.items():
            text = staff.get(reverse(f"admin:users_{model}_change", args=[row.pk])).content.decode()
            shown = {scope for scope, limit in limits.items() if str(limit.pk) in text}
            assert (model, shown) == (model, scopes)
        LimitFactory(scope="team", subject=key.team.public_id, organization=key.organization)
        text = staff.get(reverse("admin:users_team_change", args=[key.team.pk])).content.decode()
        assert "team Inner: 10 requests a minute" in text
        Limit.objects.all().delete()
        text = staff.get(reverse("admin:users_team_change", args=[key.team.pk])).content.decode()
        assert "Rate limits" in text
        assert "None." in text

    def test_new_rows_show_nothing_beside(self, staff: Client) -> None:
        text = staff.get(reverse("admin:users_team_add")).content.decode()
        assert "None." not in text
        assert Limit in admin.site._registry
