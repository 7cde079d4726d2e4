"""Staff's pages of guardrails."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.events.models import Event
from apps.gateway.models import GuardBinding, GuardHit, GuardPolicy
from tests.factories.gateway import GuardBindingFactory, GuardPolicyFactory
from tests.factories.users import OrganizationFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db
MAIL = "ada@example.com"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def page(name: str, *ids: object) -> str:
    return reverse(f"admin:gateway_{name}", args=ids)


MODES = {
    f"{detector}_{direction}": "off"
    for detector in ("pii", "secrets", "injection", "moderation", "topics", "lengths", "own")
    for direction in ("input", "output")
}


def fields(bindings: list[dict[str, Any]] | None = None, initial: int = 0, **changed: Any) -> dict[str, Any]:
    rows = bindings or []
    posted = {"bindings-TOTAL_FORMS": len(rows), "bindings-INITIAL_FORMS": initial}
    for at, row in enumerate(rows):
        posted |= {f"bindings-{at}-{name}": value for name, value in row.items()}
    return {"name": "Strict", "is_active": "on", "injection_threshold": "0.5", **MODES, **posted, **changed}


def test_every_page_opens_and_searches(staff: Client) -> None:
    policy = GuardBindingFactory().policy
    answers = [
        staff.get(page("guardpolicy_changelist"), {"q": "policy"}),
        staff.get(page("guardpolicy_add")),
        staff.get(page("guardpolicy_change", policy.pk)),
        staff.get(page("guardpolicy_history", policy.pk)),
        staff.get(page("guardhit_changelist"), {"q": "email"}),
    ]

    assert [answer.status_code for answer in answers] == [200] * 5


def test_a_policy_is_made_with_its_lists_and_bound(staff: Client) -> None:
    organization = OrganizationFactory()
    posted = fields(
        [{"organization": organization.pk, "team": "", "api_key": ""}],
        pii_input="mask",
        pii_kinds=["email", "name"],
        moderation_thresholds="hate = 0.3\n\nviolence=0.9",
        own_patterns=r"staff = EMP-\d{6}",
        own_words="Falcon\n\nProject X",
        topics_deny='"casino" in words',
    )

    answer = staff.post(page("guardpolicy_add"), posted)

    assert answer.status_code == 302
    policy = GuardPolicy.objects.get()
    assert (policy.pii_input, policy.pii_kinds) == ("mask", ["email", "name"])
    assert policy.moderation_thresholds == {"hate": 0.3, "violence": 0.9}
    assert policy.own_patterns == {"staff": r"EMP-\d{6}"}
    assert policy.own_words == ["Falcon", "Project X"]
    assert GuardBinding.objects.get().organization == organization
    assert set(Event.objects.values_list("type", flat=True)) >= {"guard_policy.changed", "guard_policy.bound"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"own_patterns": "staff EMP"}, "has no equals sign"),
        ({"own_patterns": "staff = (a+)+"}, "a repeat without bound"),
        ({"moderation_thresholds": "hate = much"}, "Write category = score"),
        ({"topics_deny": "text.contains("}, "topics_deny"),
        ({"lengths_input": "mask"}, "log or block"),
    ],
    ids=["line", "pattern", "score", "condition", "mode"],
)
def test_what_cannot_be_is_said_beside_its_field(staff: Client, changed: dict[str, str], words: str) -> None:
    answer = staff.post(page("guardpolicy_add"), fields(**changed))

    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not GuardPolicy.objects.exists()


def test_only_changed_fields_are_told_and_a_binding_can_be_lifted(staff: Client) -> None:
    binding = GuardBindingFactory(policy__name="Strict", policy__pii_input="off", policy__pii_output="off")
    row = {"id": binding.pk, "policy": binding.policy_id, "organization": "", "team": "", "api_key": "", "DELETE": "on"}

    answer = staff.post(page("guardpolicy_change", binding.policy_id), fields([row], initial=1, secrets_input="block"))

    assert answer.status_code == 302
    assert Event.objects.get(type="guard_policy.changed").payload == {"is_new": False, "fields": ["secrets_input"]}
    assert not GuardBinding.objects.exists()


def test_an_organizations_policy_is_not_bound_elsewhere(staff: Client) -> None:
    policy = GuardPolicyFactory(organization=OrganizationFactory(), name="Strict")
    row = {"policy": policy.pk, "organization": "", "team": TeamFactory().pk, "api_key": ""}

    answer = staff.post(page("guardpolicy_change", policy.pk), fields([row], organization=policy.organization_id))

    assert "its own teams and keys only" in answer.content.decode()
    assert not GuardBinding.objects.exists()


@pytest.mark.parametrize("way", ["one", "several"])
def test_deleting_is_told(staff: Client, way: str) -> None:
    policy = GuardPolicyFactory()
    address, posted = {
        "one": (page("guardpolicy_delete", policy.pk), {"post": "yes"}),
        "several": (
            page("guardpolicy_changelist"),
            {"action": "delete_selected", "_selected_action": [str(policy.pk)], "post": "yes"},
        ),
    }[way]

    staff.post(address, posted)

    assert not GuardPolicy.objects.exists()
    assert Event.objects.filter(type="guard_policy.deleted").count() == 1


class TestTryingOut:
    def try_out(self, staff: Client, policy: GuardPolicy, text: str) -> str:
        address = page("guardpolicy_try_out", policy.pk)
        return staff.post(address, {"direction": "input", "text": text}).content.decode()

    def test_shows_what_would_be_passed_on_and_what_was_found(self, staff: Client) -> None:
        content = self.try_out(staff, GuardPolicyFactory(), f"Write to {MAIL}, IP 10.1.2.3")

        assert "Write to [EMAIL_1], IP [IP_1]" in content
        assert not GuardHit.objects.exists()

    def test_shows_what_would_be_blocked(self, staff: Client) -> None:
        policy = GuardPolicyFactory(
            pii_input="block", lengths_input="block", max_prompt_characters=3, topics_input="block", topics_deny="true"
        )

        content = self.try_out(staff, policy, f"Write to {MAIL}")

        assert "Blocked." in content
        assert "prompt_too_long" in content

    def test_says_that_there_is_nothing(self, staff: Client) -> None:
        assert "Nothing." in self.try_out(staff, GuardPolicyFactory(topics_input="log", topics_deny="false"), "Hello")

    def test_opens_empty_and_knows_no_other_policy(self, staff: Client) -> None:
        assert staff.get(page("guardpolicy_try_out", GuardPolicyFactory().pk)).status_code == 200
        unknown = UUID("018f1c1e-0000-7000-8000-000000000009")
        assert staff.get(page("guardpolicy_try_out", unknown)).status_code == 404


def test_hits_are_listed_filtered_and_counted_by_day(staff: Client) -> None:
    policy = GuardPolicyFactory(name="Strict")
    for kind, mode, count, age in (("email", "mask", 3, 0), ("card", "block", 2, 0), ("jwt", "log", 7, 40)):
        GuardHit.objects.create(
            created_at=timezone.now() - timedelta(days=age),
            request_id=UUID("018f1c1e-0000-7000-8000-000000000002"),
            policy_id=policy.pk,
            organization_id=OrganizationFactory().pk,
            model="gpt-test",
            detector="pii",
            kind=kind,
            mode=mode,
            direction="input",
            count=count,
        )

    whole = staff.get(page("guardhit_changelist"))
    blocked = staff.get(page("guardhit_changelist"), {"mode__exact": "block"}).content.decode()

    today = whole.context["days"][0]
    assert (today["day"], today["log"], today["mask"], today["block"]) == (datetime.now(UTC).date(), 0, 3, 2)
    assert "Strict" in whole.content.decode()
    assert "gpt-test" in blocked
    assert ">email<" not in blocked


def test_hits_cannot_be_changed(staff: Client) -> None:
    assert staff.get(page("guardhit_add")).status_code == 403


def test_a_missing_name_is_told_once(staff: Client) -> None:
    answer = staff.post(page("guardpolicy_add"), fields(name=""))

    assert answer.context["adminform"].form.errors == {"name": ["This field is required."]}
