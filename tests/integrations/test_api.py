"""/api/v3/webhooks: what administrators do, what others may not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient
from standardwebhooks import Webhook

from apps.core.ids import uuid7
from apps.core.outbound import breaker
from apps.core.outbound.errors import FailureKind
from apps.core.outbound.recording import record_call
from apps.events.models import Event
from apps.integrations.choices import DeliveryState
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.services import endpoints
from apps.integrations.services.delivering import circuit_of, deliver_queue
from apps.users.models import Membership
from tests.factories.integrations import WebhookDeliveryFactory, WebhookEndpointFactory
from tests.factories.users import MembershipFactory
from tests.support.lanterns import light, relay
from tests.support.sink import Reply, Sink

URL = "/api/v3/webhooks"


@pytest.fixture
def administrator(db: None) -> Membership:
    """Return the membership of an administrator."""
    return MembershipFactory(role="admin")


@pytest.fixture
def api(administrator: Membership, api_as) -> APIClient:
    """Return a client with a key of the administrator."""
    return api_as(administrator)


@pytest.fixture
def endpoint(administrator: Membership, sink: Sink) -> WebhookEndpoint:
    """Return an endpoint of the administrator's organization that leads to the sink."""
    return WebhookEndpointFactory(url=sink.url, organization=administrator.organization)


def path(endpoint: WebhookEndpoint, rest: str = "") -> str:
    return f"{URL}/{endpoint.public_id}{rest}"


class TestCreating:
    def test_an_endpoint_is_made_and_its_secret_shown_once(self, api: APIClient, administrator: Membership) -> None:
        answer = api.post(
            URL, {"url": "https://hooks.example.com/in", "description": "Desk", "event_types": ["lantern.lit"]}
        )
        assert answer.status_code == 201
        made = WebhookEndpoint.objects.get()
        body = answer.json()
        assert body.pop("secret") == made.secret
        assert made.secret.startswith("whsec_")
        assert (made.organization_id, answer["ETag"]) == (administrator.organization_id, '"1"')
        assert body == api.get(f"{URL}/{made.public_id}").json()
        assert body["event_types"] == ["lantern.lit"]
        assert (body["is_active"], body["disabled_reason"], body["last_error"]) == (True, None, None)
        assert made.secret not in api.get(URL).content.decode()
        event = Event.objects.get(type="webhook_endpoint.created")
        assert (event.aggregate_id, event.payload) == (made.id, {"event_types": ["lantern.lit"]})

    def test_the_secret_is_encrypted_in_the_database(self, api: APIClient) -> None:
        secret = api.post(URL, {"url": "https://hooks.example.com/in"}).json()["secret"]
        (stored,) = WebhookEndpoint.objects.extra(select={"raw": "secret"}).values_list("raw", flat=True)
        assert stored.startswith("v1:test:")
        assert secret not in stored

    def test_the_same_idempotency_key_makes_one_endpoint_and_shows_the_same_secret(self, api: APIClient) -> None:
        answers = [
            api.post(URL, {"url": "https://hooks.example.com/in"}, headers={"Idempotency-Key": "one"}) for _ in range(2)
        ]
        assert answers[0].content == answers[1].content
        assert answers[1]["Idempotency-Replayed"] == "true"
        assert WebhookEndpoint.objects.count() == 1

    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example.com/",
            "https://10.0.0.1/",
            "https://169.254.169.254/",
            "https://u:p@example.com/",
            "https://localhost./",
            "https://hooks.local/",
            "nonsense",
        ],
    )
    def test_a_url_that_could_never_be_called_is_refused(self, api: APIClient, settings, url: str) -> None:
        settings.OUTBOUND_ALLOW = []
        answer = api.post(URL, {"url": url})
        assert (answer.status_code, answer.json()["code"]) == (400, "integrations.url_refused")
        assert list(answer.json()["errors"]) == ["url"]
        assert WebhookEndpoint.objects.count() == 0

    def test_an_unknown_or_private_event_type_is_refused_by_name(self, api: APIClient) -> None:
        answer = api.post(URL, {"url": "https://a.example.com/", "event_types": ["lantern.lit", "lantern.stolen", "x"]})
        assert (answer.status_code, answer.json()["code"]) == (400, "integrations.event_type_unknown")
        assert "lantern.stolen, x" in answer.json()["detail"]

    def test_an_organization_has_a_limited_number(self, api: APIClient, endpoint, monkeypatch) -> None:
        monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
        answer = api.post(URL, {"url": "https://a.example.com/"})
        assert (answer.status_code, answer.json()["code"]) == (409, "integrations.too_many_endpoints")
        assert WebhookEndpoint.objects.count() == 1


class TestChanging:
    def test_fields_that_are_named_change_and_the_version_rises(self, api: APIClient, endpoint) -> None:
        answer = api.patch(path(endpoint), {"description": "New", "event_types": ["lantern.lit", "lantern.lit"]})
        assert answer.status_code == 200
        assert (answer.json()["description"], answer.json()["event_types"]) == ("New", ["lantern.lit"])
        assert (answer["ETag"], answer.json()["url"]) == ('"2"', endpoint.url)
        assert Event.objects.get(type="webhook_endpoint.updated").payload == {"changed": ["description", "event_types"]}

    def test_nothing_changes_when_nothing_is_different(self, api: APIClient, endpoint) -> None:
        assert api.patch(path(endpoint), {"description": ""})["ETag"] == '"1"'
        assert not Event.objects.filter(type="webhook_endpoint.updated").exists()

    @pytest.mark.parametrize("method", ["patch", "delete"])
    def test_a_stale_version_is_refused(self, api: APIClient, endpoint, method: str) -> None:
        answer = getattr(api, method)(path(endpoint), {"description": "x"}, headers={"If-Match": '"7"'})
        assert answer.status_code == 412
        endpoint.refresh_from_db()
        assert (endpoint.description, endpoint.deleted_at) == ("", None)

    def test_the_present_version_is_let_through(self, api: APIClient, endpoint) -> None:
        assert api.patch(path(endpoint), {"description": "x"}, headers={"If-Match": '"1"'}).status_code == 200
        assert api.delete(path(endpoint), headers={"If-Match": '"2"'}).status_code == 204

    def test_switching_off_holds_the_queue_and_on_sends_it_at_once(
        self, api: APIClient, endpoint, sink: Sink, django_capture_on_commit_callbacks
    ) -> None:
        off = api.patch(path(endpoint), {"is_active": False}).json()
        assert (off["is_active"], off["disabled_reason"]) == (False, "manual")
        light(endpoint.organization_id)
        relay()
        deliver_queue(endpoint_id=endpoint.id)
        assert sink.received == []
        with django_capture_on_commit_callbacks(execute=True):
            on = api.patch(path(endpoint), {"is_active": True}).json()
        assert (on["is_active"], on["disabled_reason"]) == (True, None)
        assert len(sink.received) == 1

    def test_another_url_forgets_failures_and_makes_retries_due(
        self, api: APIClient, endpoint, sink: Sink, django_capture_on_commit_callbacks
    ) -> None:
        WebhookEndpoint.objects.update(
            url="https://10.0.0.1/", consecutive_failures=9, first_failed_at=timezone.now(), last_error="x"
        )
        for _ in range(4):
            breaker.record_failure(circuit_of(endpoint.id), FailureKind.TIMEOUT)
        WebhookDeliveryFactory(endpoint=endpoint, attempt_count=8, due_at=timezone.now() + timedelta(hours=20))
        with django_capture_on_commit_callbacks(execute=True):
            api.patch(path(endpoint), {"url": sink.url})
        assert len(sink.received) == 1
        endpoint.refresh_from_db()
        assert (endpoint.consecutive_failures, endpoint.first_failed_at, endpoint.last_error) == (0, None, "")
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.attempt_count) == ("succeeded", 1)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"url": "https://10.0.0.1/"}, "integrations.url_refused"),
            ({"event_types": ["x"]}, "integrations.event_type_unknown"),
        ],
    )
    def test_what_could_not_be_created_cannot_be_changed_to(self, api, endpoint, changes: dict, code: str) -> None:
        answer = api.patch(path(endpoint), changes)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        endpoint.refresh_from_db()
        assert endpoint.version == 1


class TestDeleting:
    def test_url_and_secrets_are_wiped_and_nothing_more_is_sent(self, api: APIClient, endpoint, sink: Sink) -> None:
        light(endpoint.organization_id, times=2)
        relay()
        assert api.delete(path(endpoint)).status_code == 204
        assert api.get(path(endpoint)).status_code == 404
        assert api.get(URL).json()["items"] == []
        row = WebhookEndpoint.objects.get()
        assert (row.url, row.secret, row.previous_secret, row.is_active) == ("", "", "", False)
        light(endpoint.organization_id)
        relay()
        deliver_queue(endpoint_id=endpoint.id)
        assert sink.received == []
        assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"dead"}
        assert Event.objects.filter(type="webhook_endpoint.deleted").count() == 1


class TestSecrets:
    def test_rotation_shows_the_new_secret_and_keeps_the_old_one_for_the_overlap(self, api, endpoint, clock) -> None:
        answer = api.post(path(endpoint, "/rotate-secret"), {"overlap_seconds": 3600})
        assert answer.status_code == 200
        old = endpoint.secret
        endpoint.refresh_from_db()
        assert answer.json()["secret"] == endpoint.secret != old
        now = timezone.now()
        assert endpoint.valid_secrets(now + timedelta(seconds=3599)) == [endpoint.secret, old]
        assert endpoint.valid_secrets(now + timedelta(seconds=3600)) == [endpoint.secret]
        assert Event.objects.get(type="webhook_endpoint.secret_rotated").payload == {"overlap_seconds": 3600}

    def test_the_overlap_is_a_day_unless_said_and_a_week_at_the_most(self, api, endpoint, clock) -> None:
        answer = api.post(path(endpoint, "/rotate-secret"), {})
        assert answer.json()["previous_secret_valid_until"] == "2026-03-02T12:00:00Z"
        assert api.post(path(endpoint, "/rotate-secret"), {"overlap_seconds": 7 * 86400 + 1}).status_code == 400

    def test_a_second_rotation_ends_the_oldest_secret_at_once(self, api, endpoint, sink: Sink) -> None:
        first = endpoint.secret
        for _ in range(2):
            api.post(path(endpoint, "/rotate-secret"), {})
        endpoint.refresh_from_db()
        assert first not in endpoint.valid_secrets(timezone.now())
        assert len(endpoint.valid_secrets(timezone.now())) == 2


class TestTesting:
    def test_a_test_event_arrives_whatever_was_subscribed_to(
        self, api: APIClient, endpoint, sink: Sink, django_capture_on_commit_callbacks
    ) -> None:
        WebhookEndpoint.objects.update(event_types=["lantern.lit"])
        with django_capture_on_commit_callbacks(execute=True):
            answer = api.post(path(endpoint, "/test"))
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        body = Webhook(endpoint.secret).verify(sink.received[0].body, sink.received[0].headers)
        assert (body["type"], body["data"]["aggregate"]["id"]) == ("webhook.test", endpoint.public_id)
        listed = api.get(path(endpoint, "/deliveries")).json()["items"][0]
        assert (listed["id"], listed["state"]) == (answer.json()["id"], "succeeded")

    def test_an_endpoint_that_is_off_is_not_tested(self, api: APIClient, endpoint) -> None:
        WebhookEndpoint.objects.update(is_active=False, disabled_reason="manual")
        answer = api.post(path(endpoint, "/test"))
        assert (answer.status_code, answer.json()["code"]) == (409, "integrations.endpoint_disabled")
        assert WebhookDelivery.objects.count() == 0


class TestDeliveries:
    def test_they_show_request_response_and_timing(self, api: APIClient, endpoint, sink: Sink) -> None:
        sink.respond = lambda request: Reply(503, {"Retry-After": "9"}, b"later")
        light(endpoint.organization_id)
        relay()
        deliver_queue(endpoint_id=endpoint.id)
        (shown,) = api.get(path(endpoint, "/deliveries")).json()["items"]
        assert (shown["event_type"], shown["state"], shown["attempt_count"]) == ("lantern.lit", "pending", 1)
        assert shown["webhook_id"] == sink.received[0].headers["webhook-id"]
        assert shown["body"].encode() == sink.received[0].body
        (attempt,) = shown["attempts"]
        assert (attempt["response_status"], attempt["response_body"], attempt["is_success"]) == (503, "later", False)
        assert attempt["response_headers"]["retry-after"] == "9"
        assert attempt["request_headers"]["webhook-signature"] == "v1,***"
        assert attempt["duration_ms"] >= 0
        assert (attempt["url"], attempt["error_kind"]) == (sink.url, None)

    def test_they_are_filtered_and_paged(self, api: APIClient, endpoint) -> None:
        for number in range(3):
            WebhookDeliveryFactory(endpoint=endpoint, state="dead", occurred_at=timezone.now() - timedelta(days=number))
        WebhookDeliveryFactory(endpoint=endpoint, event_type="lantern.other", state="succeeded")
        WebhookDeliveryFactory()

        def count(**query) -> int:
            return len(api.get(path(endpoint, "/deliveries"), query).json()["items"])

        assert (count(), count(state="dead"), count(event_type="lantern.other")) == (4, 3, 1)
        assert count(since=(timezone.now() - timedelta(hours=36)).isoformat(), state="dead") == 2
        assert count(until=(timezone.now() - timedelta(hours=36)).isoformat()) == 1
        page = api.get(path(endpoint, "/deliveries"), {"page_size": 3}).json()
        assert len(page["items"]) == 3
        assert len(api.get(page["next"]).json()["items"]) == 1

    def test_the_number_of_queries_does_not_grow(self, api: APIClient, endpoint, django_assert_max_num_queries) -> None:
        for _ in range(5):
            WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        api.get(path(endpoint, "/deliveries"))
        with django_assert_max_num_queries(9):
            assert len(api.get(path(endpoint, "/deliveries")).json()["items"]) == 5


class TestReplaying:
    def test_one_goes_again_under_the_same_webhook_id(
        self, api: APIClient, endpoint, sink: Sink, django_capture_on_commit_callbacks
    ) -> None:
        light(endpoint.organization_id)
        relay()
        deliver_queue(endpoint_id=endpoint.id)
        delivery = WebhookDelivery.objects.get()
        with django_capture_on_commit_callbacks(execute=True):
            answer = api.post(path(endpoint, f"/deliveries/{delivery.public_id}/replay"))
        assert (answer.status_code, answer.json()["state"], answer.json()["attempt_count"]) == (202, "pending", 0)
        assert [request.headers["webhook-id"] for request in sink.received] == [delivery.webhook_id] * 2
        assert Event.objects.get(type="webhook_endpoint.deliveries_replayed").payload == {"count": 1}

    def test_one_that_is_in_the_queue_is_left_there(self, api: APIClient, endpoint) -> None:
        delivery = WebhookDeliveryFactory(endpoint=endpoint, attempt_count=3)
        answer = api.post(path(endpoint, f"/deliveries/{delivery.public_id}/replay"))
        assert (answer.status_code, answer.json()["code"]) == (409, "integrations.delivery_under_way")
        delivery.refresh_from_db()
        assert delivery.attempt_count == 3

    def test_it_takes_its_old_place_before_later_ones_of_its_key(self, api: APIClient, endpoint, sink: Sink) -> None:
        light(endpoint.organization_id, times=3)
        relay()
        WebhookDelivery.objects.filter(sequence=1).update(state=DeliveryState.DEAD)
        WebhookDelivery.objects.filter(sequence=2).update(state=DeliveryState.PENDING)
        first = WebhookDelivery.objects.get(sequence=1)
        api.post(path(endpoint, f"/deliveries/{first.public_id}/replay"))
        found = WebhookDelivery.objects.order_by("sequence").values_list("state", flat=True)
        assert list(found) == ["pending", "waiting", "waiting"]
        deliver_queue(endpoint_id=endpoint.id)
        bodies = [Webhook(endpoint.secret).verify(request.body, request.headers) for request in sink.received]
        assert [body["data"]["brightness"] for body in bodies] == [1, 2, 3]

    def test_it_waits_while_a_later_one_is_being_sent(self, api: APIClient, endpoint) -> None:
        light(endpoint.organization_id, times=2)
        relay()
        lease = {"lease_token": uuid7(), "lease_until": timezone.now() + timedelta(minutes=1)}
        WebhookDelivery.objects.filter(sequence=1).update(state=DeliveryState.DEAD)
        WebhookDelivery.objects.filter(sequence=2).update(state=DeliveryState.SENDING, **lease)
        first = WebhookDelivery.objects.get(sequence=1)
        assert api.post(path(endpoint, f"/deliveries/{first.public_id}/replay")).json()["state"] == "waiting"

    def test_a_range_goes_again_by_time_and_state(self, api: APIClient, endpoint, sink: Sink) -> None:
        now = timezone.now()
        old, dead, done = (
            WebhookDeliveryFactory(endpoint=endpoint, state=state, occurred_at=now - timedelta(hours=hours))
            for state, hours in (("dead", 5), ("dead", 2), ("succeeded", 1))
        )
        WebhookDeliveryFactory(state="dead")
        since = (now - timedelta(hours=3)).isoformat()
        assert api.post(path(endpoint, "/replay"), {"since": since}).json() == {"replayed": 1}
        assert api.post(path(endpoint, "/replay"), {"since": since, "state": "succeeded", "until": since}).json() == {
            "replayed": 0
        }
        assert api.post(path(endpoint, "/replay"), {"since": since, "state": "succeeded"}).json() == {"replayed": 1}
        states = dict(WebhookDelivery.objects.values_list("id", "state"))
        assert (states[old.id], states[dead.id], states[done.id]) == ("dead", "pending", "pending")

    @pytest.mark.parametrize(
        "body", [{}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00Z", "state": "sending"}]
    )
    def test_a_range_needs_a_beginning_and_a_final_state(self, api: APIClient, endpoint, body: dict) -> None:
        assert api.post(path(endpoint, "/replay"), body).status_code == 400

    def test_a_delivery_of_another_endpoint_is_not_there(self, api: APIClient, endpoint) -> None:
        other = WebhookDeliveryFactory(
            endpoint=WebhookEndpointFactory(organization=endpoint.organization), state="dead"
        )
        assert api.post(path(endpoint, f"/deliveries/{other.public_id}/replay")).status_code == 404
        assert api.post(path(endpoint, "/deliveries/nonsense/replay")).status_code == 404


ROUTES = [
    ("get", ""), ("patch", ""), ("delete", ""), ("post", "/test"), ("post", "/rotate-secret"), ("get", "/deliveries"),
    ("post", "/replay"), ("post", "/deliveries/01890a5d-ac96-774b-bcce-b302099a8057/replay"),
]  # fmt: skip


class TestIsolation:
    @pytest.mark.parametrize(("method", "rest"), ROUTES)
    def test_a_foreign_endpoint_is_answered_like_a_missing_one(self, api: APIClient, method: str, rest: str) -> None:
        foreign = WebhookEndpointFactory()
        body = {"since": "2026-01-01T00:00:00Z"}
        answers = [
            getattr(api, method)(f"{URL}/{name}{rest}", body)
            for name in (foreign.public_id, WebhookEndpoint(id=uuid7()).public_id, "nonsense")
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
        problems = [{**answer.json(), "request_id": ""} for answer in answers]
        assert problems[0] == problems[1] == problems[2]
        foreign.refresh_from_db()
        assert (foreign.version, foreign.deleted_at) == (1, None)

    @pytest.mark.parametrize(("method", "rest"), [route for route in ROUTES if route[0] != "get"])
    def test_members_read_and_do_not_write(self, administrator, endpoint, api_as, method: str, rest: str) -> None:
        client = api_as(MembershipFactory(organization=administrator.organization, role="member"))
        assert client.get(path(endpoint)).status_code == 200
        answer = getattr(client, method)(path(endpoint, rest), {"since": "2026-01-01T00:00:00Z"})
        assert (answer.status_code, answer.json()["code"]) == (403, "users.role_too_low")

    def test_lists_hold_only_ones_own(self, api: APIClient, endpoint) -> None:
        WebhookEndpointFactory()
        assert [item["id"] for item in api.get(URL).json()["items"]] == [endpoint.public_id]


class TestCatalogue:
    def test_it_offers_public_events_with_schema_and_example(self, api: APIClient) -> None:
        items = {item["type"]: item for item in api.get(f"{URL}/event-types").json()["items"]}
        assert "lantern.stolen" not in items
        assert items["lantern.lit"]["description"] == "A lantern was lit."
        assert items["lantern.lit"]["schema"]["properties"]["type"] == {"const": "lantern.lit"}
        assert items["lantern.lit"]["example"]["data"]["brightness"] == 3


class TestOutboundStats:
    URL = "/api/v3/admin/api-gateway/stats"

    def test_staff_see_circuits_latency_errors_and_recent_calls(self, administrator: Membership, api_as) -> None:
        for status, milliseconds in ((204, 10), (204, 30), (500, 20), (None, 900)):
            record_call(
                purpose="webhooks", method="POST", host="hooks.example.com", status=status,
                outcome="timeout" if status is None else f"{status // 100}xx", duration_seconds=milliseconds / 1000,
            )  # fmt: skip
        breaker.record_failure(breaker.Circuit("tests:remote", threshold=1), FailureKind.TIMEOUT)
        administrator.user.is_staff = True
        administrator.user.save()
        body = api_as(administrator).get(self.URL).json()
        assert body["purposes"] == [
            {
                "purpose": "webhooks", "calls": 4, "failed": 2, "outcomes": {"2xx": 2, "5xx": 1, "timeout": 1},
                "p50_ms": 30, "p95_ms": 900,
            }
        ]  # fmt: skip
        assert [(row["name"], row["state"], row["failures"]) for row in body["circuits"]] == [
            ("tests:remote", "open", 1)
        ]
        assert [row["duration_ms"] for row in body["recent"]] == [900, 20, 30, 10]

    def test_others_do_not(self, api: APIClient) -> None:
        assert api.get(self.URL).status_code == 403


def test_a_time_that_no_calendar_has_is_refused(api: APIClient, endpoint: WebhookEndpoint) -> None:
    answer = api.get(path(endpoint, "/deliveries?since=0001-01-01T00:00:00%2B23:00"))
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["since"])
