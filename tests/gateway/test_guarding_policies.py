"""Policies: saved, bound, lifted; whom they bind; what of them is refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps.core.actor import Actor, system_actor
from apps.events.models import Event
from apps.gateway.errors import GuardPolicyInvalid
from apps.gateway.models import GuardBinding, GuardPolicy
from apps.gateway.selectors import guardrails
from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.guardrails import guard_terms_of
from apps.gateway.services.guarding.policies import (
    bind_guard_policy,
    delete_guard_policy,
    save_guard_policy,
    unbind_guard_policy,
)
from tests.factories.gateway import GuardBindingFactory, GuardPolicyFactory
from tests.factories.users import ApiKeyFactory, OrganizationFactory, TeamFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor() -> Actor:
    return system_actor()


def types() -> list[str]:
    return list(Event.objects.order_by("occurred_at", "id").values_list("type", flat=True))


def test_a_new_policy_is_stored_and_told(actor: Actor) -> None:
    policy = save_guard_policy(policy=GuardPolicy(name="Strict", pii_input="block"), actor=actor)

    event = Event.objects.get()
    assert (event.type, event.aggregate_id) == ("guard_policy.changed", policy.id)
    assert event.payload == {"is_new": True, "fields": []}


def test_only_the_named_fields_of_a_policy_are_stored(actor: Actor) -> None:
    policy = GuardPolicyFactory(name="first")
    policy.pii_input, policy.name = "block", "other"

    save_guard_policy(policy=policy, actor=actor, fields=("pii_input",))

    stored = GuardPolicy.objects.get()
    assert (stored.pii_input, stored.name) == ("block", "first")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"pii_input": "maybe"}, "pii_input"),
        ({"pii_kinds": ["shoe_size"]}, "pii_kinds"),
        ({"topics_input": "mask"}, "topics_input"),
        ({"lengths_output": "mask"}, "lengths_output"),
        ({"topics_deny": "text.contains("}, "topics_deny"),
        ({"topics_deny": 'words.exists(w, text.matches("(a|b){1,50}c"))'}, "topics_deny"),
        ({"own_patterns": {f"p{number}": r"a{1,30}a{1,30}b" for number in range(3)}}, "own_patterns"),
        ({"topics_allow": "characters"}, "topics_allow"),
        ({"injection_threshold": 2.0}, "injection_threshold"),
        ({"moderation_thresholds": {"rudeness": 0.5}}, "moderation_thresholds"),
        ({"moderation_thresholds": {"hate": 0}}, "moderation_thresholds"),
        ({"moderation_thresholds": {"hate": True}}, "moderation_thresholds"),
        ({"moderation_thresholds": [1]}, "moderation_thresholds"),
        ({"own_patterns": {"x": "(a+)+"}}, "own_patterns"),
        ({"own_patterns": {"Not a name": "a"}}, "own_patterns"),
        ({"own_patterns": {"words": "a"}}, "own_patterns"),
        ({"own_patterns": ["a"]}, "own_patterns"),
        ({"own_words": ["fine", "  "]}, "own_words"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)) + str(next(iter(value.values()))),
)
def test_what_cannot_be_carried_out_is_refused_with_its_field(actor: Actor, fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(GuardPolicyInvalid) as refused:
        save_guard_policy(policy=GuardPolicy(name="x", **fields), actor=actor)

    assert list(refused.value.errors) == [wrong]
    assert not GuardPolicy.objects.exists()
    assert types() == []


def test_a_policy_can_say_everything_at_once(actor: Actor) -> None:
    policy = GuardPolicy(
        name="All",
        pii_kinds=["email"],
        topics_deny='"casino" in words',
        topics_input="block",
        moderation_thresholds={"hate": 0.3},
        own_patterns={"staff": r"EMP-\d{6}"},
        own_words=["Falcon"],
        max_prompt_characters=10,
    )

    assert save_guard_policy(policy=policy, actor=actor).pk == GuardPolicy.objects.get().pk


def test_a_deleted_policy_binds_nobody_any_more(actor: Actor) -> None:
    binding = GuardBindingFactory()

    delete_guard_policy(policy=binding.policy, actor=actor)
    delete_guard_policy(policy=binding.policy, actor=actor)

    assert not GuardBinding.objects.exists()
    assert types() == ["guard_policy.deleted"]
    assert Event.objects.get().payload == {"bindings": 1}


def test_a_binding_is_told_and_lifted(actor: Actor) -> None:
    team = TeamFactory()
    policy = GuardPolicyFactory(organization=team.organization)

    binding = bind_guard_policy(binding=GuardBinding(policy=policy, team=team), actor=actor)
    unbind_guard_policy(binding=binding, actor=actor)
    unbind_guard_policy(binding=binding, actor=actor)

    assert [event.payload for event in Event.objects.order_by("occurred_at", "id")] == [
        {"is_bound": True, "team_id": str(team.id), "api_key_id": None},
        {"is_bound": False, "team_id": str(team.id), "api_key_id": None},
    ]


def test_an_organizations_policy_binds_no_other_organization_and_not_everybody(actor: Actor) -> None:
    policy = GuardPolicyFactory(organization=OrganizationFactory())

    for binding in (GuardBinding(policy=policy), GuardBinding(policy=policy, team=TeamFactory())):
        with pytest.raises(GuardPolicyInvalid):
            bind_guard_policy(binding=binding, actor=actor)
    assert not GuardBinding.objects.exists()


def test_a_policy_is_bound_once_and_to_one_thing(actor: Actor) -> None:
    team = TeamFactory()
    binding = GuardBindingFactory(team=team)

    with pytest.raises(GuardPolicyInvalid):
        bind_guard_policy(binding=GuardBinding(policy=binding.policy, team=team), actor=actor)
    with pytest.raises(IntegrityError), transaction.atomic():
        GuardBindingFactory(policy=binding.policy, team=team, organization=team.organization)


def test_only_so_many_sets_of_policies_are_remembered_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardrails, "_interned", OrderedDict())
    monkeypatch.setattr(guardrails, "MOST_INTERNED", 2)
    policies = [GuardPolicyFactory() for _ in range(3)]

    first, second, third = (guardrails.compile_policies([policy]) for policy in policies)

    assert guardrails.compile_policies([policies[1]]) is second
    assert guardrails.compile_policies([policies[2]]) is third
    assert guardrails.compile_policies([policies[0]]) is not first


class TestWhoIsBound:
    def test_nobody_without_a_binding(self) -> None:
        GuardPolicyFactory()

        assert guard_terms_of(Bound(OrganizationFactory().id)) is None

    def test_everybody_or_the_organization_the_team_the_key(self) -> None:
        key = ApiKeyFactory()
        team, other = TeamFactory(organization=key.organization), TeamFactory()
        mine = Bound(key.organization_id, key.user_id, key, (team.id,))
        stranger = Bound(other.organization_id, None, None, (other.id,))
        for subject in ({"organization": key.organization}, {"team": team}, {"api_key": key}):
            binding = GuardBindingFactory(**subject)
            assert guard_terms_of(mine) is not None, subject
            assert guard_terms_of(stranger) is None, subject
            binding.delete()
        GuardBindingFactory()
        assert guard_terms_of(mine) is guard_terms_of(stranger)

    def test_an_inactive_policy_and_one_that_looks_for_nothing_bind_nobody(self) -> None:
        organization = OrganizationFactory()
        GuardBindingFactory(policy__is_active=False)
        GuardBindingFactory(policy__pii_input="off", policy__pii_output="off")

        assert guard_terms_of(Bound(organization.id)) is None

    def test_a_change_is_another_version(self, actor: Actor) -> None:
        binding = GuardBindingFactory()
        bound = Bound(OrganizationFactory().id)
        before = guard_terms_of(bound)
        binding.policy.pii_input = "block"
        save_guard_policy(policy=binding.policy, actor=actor, fields=("pii_input",))

        after = guard_terms_of(bound)

        assert before is not None
        assert after is not None
        assert before.fingerprint != after.fingerprint
