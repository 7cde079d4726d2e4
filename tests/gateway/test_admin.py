"""Staff's pages of the gateway."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.billing.models import Price
from apps.core.ids import uuid7
from apps.gateway.models import Deployment, Model, Provider, RespondingProcess, StoredResponse
from apps.gateway.providers.base import UpstreamUnauthenticated
from tests.factories.gateway import DeploymentFactory, ProviderFactory
from tests.factories.users import MembershipFactory, UserFactory
from tests.gateway.conftest import LONG_AGO

pytestmark = pytest.mark.django_db
SECRET = "sk-never-to-be-seen-0123456789"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def deployment() -> Deployment:
    provider = ProviderFactory(slug="ours", kind="openai", base_url="https://models.example.com/v1", credential=SECRET)
    Price.objects.create(
        provider="ours", model="big", input_micros=3_000_000, output_micros=15_000_000, cached_micros=300_000,
        cache_write_micros=0, valid_from=LONG_AGO,
    )  # fmt: skip
    return DeploymentFactory(provider=provider, model__name="big")


def page(name: str, *ids: object) -> str:
    return reverse(f"admin:gateway_{name}", args=ids)


INLINE = {f"deployments-{name}_FORMS": 0 for name in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")}


@pytest.mark.parametrize("name", ["provider", "model", "deployment"])
def test_every_page_opens_and_searches(staff: Client, deployment: Deployment, name: str) -> None:
    row = {"provider": deployment.provider, "model": deployment.model, "deployment": deployment}[name]
    answers = [
        staff.get(page(f"{name}_changelist"), {"q": "big"}),
        staff.get(page(f"{name}_add")),
        staff.get(page(f"{name}_change", row.pk)),
        staff.get(page(f"{name}_history", row.pk)),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert all(SECRET not in answer.content.decode() for answer in answers)


def test_prices_are_shown_with_the_model(staff: Client, deployment: Deployment) -> None:
    content = staff.get(page("model_change", deployment.model.pk)).content.decode()
    assert "ours: input 3.000000, cached 0.300000, output 15.000000" in content


def change(staff: Client, provider: Provider, **fields: object):
    form = {
        "name": provider.name,
        "slug": provider.slug,
        "kind": "openai",
        "base_url": provider.base_url,
        "is_active": "on",
    }
    return staff.post(page("provider_change", provider.pk), {**form, **INLINE, **fields})


def test_a_credential_goes_in_and_stays(staff: Client, deployment: Deployment) -> None:
    provider = deployment.provider
    assert change(staff, provider, name="New name").status_code == 302
    assert Provider.objects.get().credential == SECRET
    change(staff, provider, new_credential="sk-another")
    assert Provider.objects.get().credential == "sk-another"
    change(staff, provider, base_url="https://elsewhere.example.com/v1")
    assert Provider.objects.get().credential == ""


def test_an_address_out_of_bounds_is_refused(staff: Client, deployment: Deployment) -> None:
    answer = change(staff, deployment.provider, base_url="http://169.254.169.254/latest")
    assert answer.status_code == 200
    assert Provider.objects.get().base_url == "https://models.example.com/v1"


def test_a_provider_of_the_environment_cannot_be_moved(staff: Client) -> None:
    provider = ProviderFactory(
        slug="openai", kind="openai", base_url="https://api.example.com/v1", from_environment=True
    )
    content = staff.get(page("provider_change", provider.pk)).content.decode()
    assert 'name="new_credential"' not in content
    assert 'name="base_url"' not in content


def test_the_connection_is_tested_through_the_adapter(staff: Client, deployment: Deployment) -> None:
    action = {"action": "test_connection", "_selected_action": [str(deployment.provider.pk)]}
    adapter = "apps.gateway.providers.openai.OpenAIProvider.list_models"
    with patch(adapter, return_value=["a", "b"]):
        answer = staff.post(page("provider_changelist"), action, follow=True)
    assert "answers and lists 2 models" in answer.content.decode()
    with patch(adapter, side_effect=UpstreamUnauthenticated("Provider &#x27;ours&#x27; refuses")):
        answer = staff.post(page("provider_changelist"), action, follow=True)
    assert "refuses" in answer.content.decode()
    with patch(adapter, side_effect=TimeoutError):
        answer = staff.post(page("provider_changelist"), action, follow=True)
    assert "did not answer within" in answer.content.decode()


@pytest.mark.parametrize(("action", "before", "after"), [("offer", False, True), ("withdraw", True, False)])
def test_models_are_offered_and_withdrawn(
    staff: Client, deployment: Deployment, action: str, before: bool, after: bool
) -> None:
    Model.objects.update(is_active=before)
    staff.post(page("model_changelist"), {"action": action, "_selected_action": [str(deployment.model.pk)]})
    assert Model.objects.get().is_active is after


def test_deleting_is_announced(staff: Client, deployment: Deployment, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        staff.post(page("deployment_delete", deployment.pk), {"post": "yes"})
    assert not Deployment.objects.exists()
    assert callbacks


def test_stored_responses_are_shown_without_their_texts(staff: Client) -> None:
    membership = MembershipFactory()
    rows = [
        StoredResponse.objects.create(
            created_at=timezone.now(),
            organization_id=membership.organization_id,
            user_id=membership.user_id,
            model="m",
            status="completed",
            finished_at=timezone.now(),
            input='["asked in confidence"]',
            document='{"output":"answered in confidence"}',
        )
        for _ in range(2)
    ]
    StoredResponse.objects.filter(id=rows[1].id).update(previous_id=rows[0].id)
    for path in (page("storedresponse_changelist"), page("storedresponse_change", rows[1].id)):
        shown = staff.get(path)
        assert shown.status_code == 200
        assert b"in confidence" not in shown.content
        assert rows[1].public_id.encode() in shown.content
    found = staff.get(page("storedresponse_changelist"), {"q": rows[0].public_id})
    assert rows[0].public_id.encode() in found.content
    assert rows[1].public_id.encode() not in found.content
    assert staff.get(page("storedresponse_changelist"), {"q": "confidence"}).context["cl"].result_count == 0
    assert staff.post(page("storedresponse_delete", rows[0].id), {"post": "yes"}).status_code == 403


def test_processes_that_write_responses_are_shown(staff: Client) -> None:
    RespondingProcess.objects.create(id=uuid7(), host="web-7", pid=42, lease_until=timezone.now())
    assert b"web-7:42" in staff.get(page("respondingprocess_changelist")).content
