"""What staff see of webhooks and do about them."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from apps.events.models import Event
from apps.integrations import forms
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.services.delivering import deliver_queue
from tests.factories.integrations import WebhookDeliveryFactory
from tests.factories.users import OrganizationFactory, UserFactory
from tests.support.lanterns import light, relay
from tests.support.sink import Reply, Sink

ENDPOINTS = "admin:integrations_webhookendpoint"
DELIVERIES = "admin:integrations_webhookdelivery"


@pytest.fixture
def staff(db: None, client: Client) -> Client:
    """Return a browser of a superuser."""
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


def text_of(response) -> str:
    assert response.status_code == 200, response.content[:300]
    return " ".join(BeautifulSoup(response.content, "html.parser").get_text(" ").split())


def act(staff: Client, name: str, action: str, *rows):
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return staff.post(reverse(f"{name}_changelist"), chosen, follow=True)


def test_the_list_shows_health_queue_and_the_last_error(staff: Client, endpoint, sink: Sink) -> None:
    sink.respond = lambda request: Reply(500)
    light(endpoint.organization_id, times=3)
    relay()
    deliver_queue(endpoint_id=endpoint.id)
    shown = text_of(staff.get(reverse(f"{ENDPOINTS}_changelist")))
    assert "1 failures in a row" in shown
    assert "The receiver answered 500." in shown
    assert sink.url in shown


def test_a_new_endpoint_shows_its_secret_once(staff: Client) -> None:
    organization = OrganizationFactory()
    given = {
        "organization": str(organization.id),
        "url": "https://hooks.example.com/in",
        "description": "x",
        "event_types": ["lantern.lit"],
    }
    answer = staff.post(reverse(f"{ENDPOINTS}_add"), given)
    made = WebhookEndpoint.objects.get()
    assert made.secret in text_of(answer)
    assert "no-store" in answer["Cache-Control"]
    assert (made.organization, made.event_types) == (organization, ["lantern.lit"])
    for name in ("changelist", "change"):
        page = staff.get(reverse(f"{ENDPOINTS}_{name}", args=[made.id] if name == "change" else []))
        assert made.secret not in page.content.decode()
    assert Event.objects.get(type="webhook_endpoint.created").actor["user_id"]


@pytest.mark.parametrize(
    ("url", "words"),
    [("https://10.0.0.1/", "not a public address"), ("", "This field is required"), ("x", "must be of the form")],
)
def test_a_form_refuses_what_the_guard_refuses(staff: Client, url: str, words: str) -> None:
    answer = staff.post(reverse(f"{ENDPOINTS}_add"), {"organization": str(OrganizationFactory().id), "url": url})
    assert words in text_of(answer)
    assert WebhookEndpoint.objects.count() == 0


def test_a_form_refuses_one_too_many(staff: Client, endpoint, monkeypatch) -> None:
    monkeypatch.setattr(forms, "MAX_ENDPOINTS", 1)
    given = {"organization": str(endpoint.organization_id), "url": "https://a.example.com/"}
    assert "which is the most" in text_of(staff.post(reverse(f"{ENDPOINTS}_add"), given))
    assert WebhookEndpoint.objects.count() == 1


def test_a_change_goes_through_the_service(staff: Client, endpoint) -> None:
    given = {"url": "https://new.example.com/", "description": "moved"}
    answer = staff.post(reverse(f"{ENDPOINTS}_change", args=[endpoint.id]), given, follow=True)
    assert answer.status_code == 200
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.description, endpoint.version) == ("https://new.example.com/", "moved", 2)
    assert Event.objects.get(type="webhook_endpoint.updated").payload == {"changed": ["description", "url"]}


def test_secrets_are_rotated_and_shown(staff: Client, endpoint) -> None:
    old = endpoint.secret
    shown = text_of(act(staff, ENDPOINTS, "rotate", endpoint))
    endpoint.refresh_from_db()
    assert endpoint.secret in shown
    assert old not in shown
    assert endpoint.previous_secret == old


def test_a_test_event_is_sent(staff: Client, endpoint, sink: Sink, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert "A test event is on its way" in text_of(act(staff, ENDPOINTS, "test", endpoint))
    assert len(sink.received) == 1


def test_endpoints_are_switched_off_and_on(staff: Client, endpoint) -> None:
    assert "It is switched off." in text_of(act(staff, ENDPOINTS, "switch_off", endpoint))
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "manual")
    assert "off: Switched off" in text_of(staff.get(reverse(f"{ENDPOINTS}_changelist")))
    assert "Switch the endpoint on before you test it" in text_of(act(staff, ENDPOINTS, "test", endpoint))
    assert "It is switched on." in text_of(act(staff, ENDPOINTS, "switch_on", endpoint))
    endpoint.refresh_from_db()
    assert endpoint.is_active is True


def test_what_was_given_up_is_replayed(staff: Client, endpoint) -> None:
    dead = WebhookDeliveryFactory(endpoint=endpoint, state="dead")
    done = WebhookDeliveryFactory(endpoint=endpoint, state="succeeded")
    assert "1 deliveries are back in the queue." in text_of(act(staff, ENDPOINTS, "replay_dead", endpoint))
    assert WebhookDelivery.objects.get(id=dead.id).state == "pending"
    assert WebhookDelivery.objects.get(id=done.id).state == "succeeded"


def test_who_may_only_look_changes_nothing(client: Client, endpoint) -> None:
    looker = UserFactory(is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_webhookendpoint"))
    client.force_login(looker)
    address = reverse(f"{ENDPOINTS}_change", args=[endpoint.id])
    page = client.get(address)
    assert endpoint.url in text_of(page)
    assert endpoint.secret not in page.content.decode()
    assert client.post(address, {"url": "https://new.example.com/"}).status_code == 403
    assert WebhookEndpoint.objects.get().url == endpoint.url


def test_endpoints_cannot_be_deleted_here(staff: Client, endpoint) -> None:
    assert staff.post(reverse(f"{ENDPOINTS}_delete", args=[endpoint.id]), {"post": "yes"}).status_code == 403
    assert WebhookEndpoint.objects.kept().count() == 1


class TestDeliveries:
    def test_a_delivery_shows_its_attempts_and_nothing_can_be_changed(
        self, staff: Client, endpoint, sink: Sink
    ) -> None:
        sink.respond = lambda request: Reply(503, {}, b"come back later")
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        delivery = WebhookDelivery.objects.get()
        page = staff.get(reverse(f"{DELIVERIES}_change", args=[delivery.id]))
        shown = text_of(page)
        assert "come back later" in shown
        assert delivery.webhook_id in shown
        assert endpoint.secret not in page.content.decode()
        assert staff.post(reverse(f"{DELIVERIES}_change", args=[delivery.id]), {}).status_code == 403
        assert staff.get(reverse(f"{DELIVERIES}_add")).status_code == 403
        assert "The receiver answered 503." in text_of(staff.get(reverse(f"{DELIVERIES}_changelist")))

    def test_one_is_sent_again_and_one_in_the_queue_is_left(
        self, staff: Client, endpoint, sink: Sink, django_capture_on_commit_callbacks
    ) -> None:
        dead = WebhookDeliveryFactory(endpoint=endpoint, state="dead")
        queued = WebhookDeliveryFactory(endpoint=endpoint, state="waiting")
        with django_capture_on_commit_callbacks(execute=True):
            shown = text_of(act(staff, DELIVERIES, "replay", dead, queued))
        assert "1 deliveries are back in the queue." in shown
        assert "is in the queue already" in shown
        assert [request.headers["webhook-id"] for request in sink.received] == [dead.webhook_id]
