"""What reaches a receiver, what is kept of it, and what happens when it fails."""

from __future__ import annotations

import socket
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.utils import timezone
from standardwebhooks import Webhook

from apps.core.outbound import breaker
from apps.events.models import Event
from apps.integrations.choices import DeliveryState
from apps.integrations.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from apps.integrations.services import delivering, queueing
from apps.integrations.services.delivering import CLIENT, attempt_delivery, circuit_of, deliver, deliver_queue
from apps.integrations.services.endpoints import rotate_secret
from apps.integrations.services.queueing import LEASE_SECONDS, claim_next
from tests.factories.integrations import WebhookDeliveryFactory, WebhookEndpointFactory
from tests.integrations.conftest import START
from tests.integrations.test_schedule import WAITS_SECONDS
from tests.support.lanterns import light, relay
from tests.support.sink import Received, Reply, Sink


def closed_port_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return f"http://127.0.0.1:{unused.getsockname()[1]}/"


class TestSuccess:
    def test_an_event_arrives_signed_with_its_id_time_and_request(self, endpoint: WebhookEndpoint, sink: Sink) -> None:
        (event,) = light(endpoint.organization_id)
        relay()
        assert deliver_queue(endpoint_id=endpoint.id) is False
        (received,) = sink.received
        body = Webhook(endpoint.secret).verify(received.body, received.headers)
        assert (body["type"], body["data"]["brightness"]) == ("lantern.lit", 1)
        assert received.headers["content-type"] == "application/json"
        assert received.headers["webhook-id"] == WebhookDelivery.objects.get().webhook_id
        assert received.headers["x-request-id"] == event.request_id == "req_lantern"
        assert (received.method, received.path) == ("POST", "/hook")

    def test_the_attempt_is_kept_without_its_signature(self, endpoint: WebhookEndpoint, sink: Sink) -> None:
        sink.respond = lambda request: Reply(201, {"X-Request-Id": "theirs", "Set-Cookie": "secret=1"}, b"thanks\x00")
        delivery = WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        attempt = WebhookAttempt.objects.get()
        assert (attempt.delivery_id, attempt.number, attempt.is_success, attempt.response_status) == (
            delivery.id, 1, True, 201,
        )  # fmt: skip
        assert attempt.request_headers["webhook-signature"] == "v1,***"
        assert attempt.request_headers["webhook-id"] == delivery.webhook_id
        assert attempt.response_headers["x-request-id"] == "theirs"
        assert "set-cookie" not in attempt.response_headers
        assert (attempt.response_body, attempt.is_body_truncated, attempt.error_kind) == ("thanks", False, "")
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempt_count, delivery.lease_token) == ("succeeded", 1, None)
        assert delivery.finished_at is not None

    def test_a_long_answer_is_cut(self, endpoint: WebhookEndpoint, sink: Sink) -> None:
        sink.respond = lambda request: Reply(200, {}, b"x" * (CLIENT.max_bytes + 1))
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        attempt = WebhookAttempt.objects.get()
        assert (len(attempt.response_body), attempt.is_body_truncated) == (CLIENT.max_bytes, True)

    def test_a_success_ends_the_count_of_failures(self, endpoint: WebhookEndpoint, clock) -> None:
        WebhookEndpoint.objects.update(consecutive_failures=3, first_failed_at=START, last_error="x")
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        endpoint.refresh_from_db()
        assert (endpoint.consecutive_failures, endpoint.first_failed_at, endpoint.last_error) == (0, None, "")
        assert endpoint.last_succeeded_at == START

    def test_a_healthy_endpoint_is_not_written_at_every_success(self, endpoint: WebhookEndpoint, clock) -> None:
        for seconds in (0, 29, 1):
            clock.shift(seconds)
            WebhookDeliveryFactory(endpoint=endpoint)
            deliver_queue(endpoint_id=endpoint.id)
        endpoint.refresh_from_db()
        assert endpoint.last_succeeded_at == START + timedelta(seconds=30)

    def test_both_secrets_sign_during_the_overlap_and_one_after_it(self, endpoint, sink, actor, clock) -> None:
        old = endpoint.secret
        actor = delivering.system_actor(organization_id=endpoint.organization_id)
        new = rotate_secret(actor=actor, endpoint_id=endpoint.id, overlap=timedelta(hours=1)).secret
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        for secret in (old, new):
            Webhook(secret).verify(sink.received[0].body, sink.received[0].headers)
        clock.shift(timedelta(hours=1))
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        assert len(sink.received[1].headers["webhook-signature"].split(" ")) == 1
        Webhook(new).verify(sink.received[1].body, sink.received[1].headers)

    def test_events_of_one_aggregate_arrive_in_order(self, endpoint: WebhookEndpoint, sink: Sink) -> None:
        light(endpoint.organization_id, times=5)
        relay()
        deliver_queue(endpoint_id=endpoint.id)
        bodies = [Webhook(endpoint.secret).verify(request.body, request.headers) for request in sink.received]
        assert [body["data"]["brightness"] for body in bodies] == [1, 2, 3, 4, 5]

    def test_a_shift_ends_after_twenty_and_says_that_there_is_more(self, endpoint: WebhookEndpoint, sink: Sink) -> None:
        for _ in range(21):
            WebhookDeliveryFactory(endpoint=endpoint)
        assert deliver_queue(endpoint_id=endpoint.id) is True
        assert len(sink.received) == 20
        assert deliver_queue(endpoint_id=endpoint.id) is False
        assert len(sink.received) == 21


class TestFailure:
    @pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 422, 429, 500, 503, 599])
    def test_everything_but_2xx_fails_and_waits_for_its_next_attempt(self, endpoint, sink, clock, status: int) -> None:
        sink.respond = lambda request: Reply(status, {"Location": sink.url})
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.attempt_count) == ("pending", 1)
        assert delivery.last_error == f"The receiver answered {status}."
        assert timedelta(seconds=5) <= delivery.due_at - START <= timedelta(seconds=5.5)
        assert len(sink.received) == 1

    def test_the_whole_schedule_is_kept_and_then_it_is_given_up(self, endpoint, sink, clock) -> None:
        sink.respond = lambda request: Reply(500)
        delivery = WebhookDeliveryFactory(endpoint=endpoint)
        sent_at = []
        for _ in WAITS_SECONDS:
            delivery.refresh_from_db()
            clock.move_to(delivery.due_at - timedelta(milliseconds=1))
            deliver_queue(endpoint_id=endpoint.id)
            assert len(sink.received) == len(sent_at)
            clock.move_to(delivery.due_at)
            deliver_queue(endpoint_id=endpoint.id)
            assert len(sink.received) == len(sent_at) + 1
            sent_at.append(timezone.now())
        waits = [(later - earlier).total_seconds() for earlier, later in pairwise(sent_at)]
        assert all(low <= wait <= low * 1.1 for low, wait in zip(WAITS_SECONDS[1:], waits, strict=True))
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempt_count) == ("dead", 10)
        clock.shift(timedelta(days=30))
        assert claim_next(endpoint_id=endpoint.id) is None
        assert {request.headers["webhook-id"] for request in sink.received} == {delivery.webhook_id}
        assert len({request.headers["webhook-timestamp"] for request in sink.received}) == 10
        numbers = WebhookAttempt.objects.order_by("id").values_list("number", flat=True)
        assert list(numbers) == list(range(1, 11))

    def test_what_was_given_up_lets_the_next_of_its_key_go(self, endpoint, sink, clock) -> None:
        sink.respond = lambda request: Reply(500 if b'"brightness":1' in request.body else 204)
        light(endpoint.organization_id, times=2)
        relay()
        WebhookDelivery.objects.filter(sequence=1).update(attempt_count=9)
        deliver_queue(endpoint_id=endpoint.id)
        assert list(WebhookDelivery.objects.order_by("sequence").values_list("state", flat=True)) == [
            "dead",
            "succeeded",
        ]

    def test_retry_after_is_honoured(self, endpoint, sink, clock) -> None:
        sink.respond = lambda request: Reply(429, {"Retry-After": "3600"})
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        assert WebhookDelivery.objects.get().due_at == START + timedelta(hours=1)

    def test_410_switches_the_endpoint_off_and_keeps_what_is_queued(self, endpoint, sink, clock) -> None:
        sink.respond = lambda request: Reply(410)
        WebhookDeliveryFactory(endpoint=endpoint)
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        endpoint.refresh_from_db()
        assert (endpoint.is_active, endpoint.disabled_reason, endpoint.version) == (False, "gone", 2)
        assert len(sink.received) == 1
        assert WebhookDelivery.objects.filter(state="pending").count() == 2
        event = Event.objects.get(type="webhook_endpoint.disabled")
        assert (event.aggregate_id, event.payload, event.organization_id) == (
            endpoint.id, {"reason": "gone"}, endpoint.organization_id,
        )  # fmt: skip

    def test_an_endpoint_is_switched_off_after_days_of_failures_only(self, endpoint, sink, clock) -> None:
        sink.respond = lambda request: Reply(500)

        def fail_after(wait: timedelta) -> bool:
            clock.shift(wait)
            WebhookDelivery.objects.all().delete()
            WebhookDeliveryFactory(endpoint=endpoint)
            deliver_queue(endpoint_id=endpoint.id)
            endpoint.refresh_from_db()
            return endpoint.is_active

        assert fail_after(timedelta(0)) is True
        assert fail_after(timedelta(days=4, hours=23)) is True
        sink.respond = lambda request: Reply(200)
        assert fail_after(timedelta(minutes=1)) is True
        sink.respond = lambda request: Reply(500)
        assert fail_after(timedelta(days=4)) is True
        assert fail_after(timedelta(days=4, hours=23)) is True
        assert fail_after(timedelta(hours=1)) is False
        assert (endpoint.disabled_reason, endpoint.consecutive_failures) == ("failing", 3)

    def test_nobody_listening_is_kept_as_an_attempt(self, endpoint: WebhookEndpoint) -> None:
        WebhookEndpoint.objects.update(url=closed_port_url())
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        attempt = WebhookAttempt.objects.get()
        assert (attempt.is_success, attempt.response_status, attempt.error_kind) == (False, None, "connect")
        assert "cannot be reached" in attempt.error
        endpoint.refresh_from_db()
        assert (endpoint.consecutive_failures, endpoint.last_error) == (1, attempt.error)

    @pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "https://[::1]/", "http://10.0.0.1/"])
    def test_an_address_that_became_forbidden_is_not_called(self, endpoint, settings, url: str) -> None:
        WebhookEndpoint.objects.update(url=url)
        WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        attempt = WebhookAttempt.objects.get()
        assert (attempt.error_kind, attempt.response_status) == ("refused", None)
        assert WebhookDelivery.objects.get().state == DeliveryState.PENDING


class TestSilence:
    """Receivers that say nothing would keep threads waiting; their circuit opens."""

    def test_an_open_circuit_leaves_the_queue_alone(self, endpoint: WebhookEndpoint, sink: Sink, clock) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        for _ in range(4):
            breaker.record_failure(circuit_of(endpoint.id), delivering.FailureKind.TIMEOUT)
        assert deliver_queue(endpoint_id=endpoint.id) is False
        assert (sink.received, WebhookDelivery.objects.get().state) == ([], "pending")
        clock.shift(30)
        deliver_queue(endpoint_id=endpoint.id)
        assert len(sink.received) == 1
        assert not breaker.is_open(circuit_of(endpoint.id))

    def test_a_circuit_that_opens_between_claim_and_call_costs_no_attempt(self, endpoint, sink, clock) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        claim = claim_next(endpoint_id=endpoint.id)
        for _ in range(4):
            breaker.record_failure(circuit_of(endpoint.id), delivering.FailureKind.TIMEOUT)
        assert deliver(claim=claim) is False
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.attempt_count) == ("pending", 0)
        assert (sink.received, WebhookAttempt.objects.count()) == ([], 0)

    def test_a_circuit_that_opens_ends_the_shift(self, endpoint, sink, monkeypatch) -> None:
        WebhookDeliveryFactory.create_batch(3, endpoint=endpoint)
        monkeypatch.setattr(delivering.breaker, "is_open", lambda circuit: False)
        for _ in range(4):
            breaker.record_failure(circuit_of(endpoint.id), delivering.FailureKind.TIMEOUT)
        assert deliver_queue(endpoint_id=endpoint.id) is False
        assert (sink.received, WebhookDelivery.objects.filter(state="pending").count()) == ([], 3)

    def test_refusals_do_not_open_it(self, endpoint: WebhookEndpoint) -> None:
        WebhookEndpoint.objects.update(url=closed_port_url())
        for _ in range(8):
            WebhookDeliveryFactory(endpoint=endpoint)
        deliver_queue(endpoint_id=endpoint.id)
        assert WebhookAttempt.objects.count() == 8

    def test_a_dead_endpoint_slows_no_other(self, endpoint: WebhookEndpoint, sink: Sink) -> None:
        dead = WebhookEndpointFactory(organization=endpoint.organization, url=closed_port_url())
        light(endpoint.organization_id, times=3)
        relay()
        deliver_queue(endpoint_id=dead.id)
        deliver_queue(endpoint_id=endpoint.id)
        assert len(sink.received) == 3
        assert sorted(WebhookDelivery.objects.of_endpoint(dead.id).values_list("state", flat=True)) == [
            "pending", "waiting", "waiting",
        ]  # fmt: skip


class TestLeases:
    def test_a_sender_that_was_stopped_too_long_does_not_send(self, endpoint, sink, monkeypatch) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        claim = claim_next(endpoint_id=endpoint.id)
        now = claim.claimed_at + LEASE_SECONDS - delivering.SEND_SECONDS + 1
        monkeypatch.setattr(queueing.time, "monotonic", lambda: now)
        assert attempt_delivery(claim) is None
        assert deliver(claim=claim) is False
        assert (sink.received, WebhookAttempt.objects.count()) == ([], 0)

    def test_an_outcome_that_comes_after_the_lease_is_kept_but_moves_nothing(self, endpoint, clock) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        lost = claim_next(endpoint_id=endpoint.id)
        clock.shift(LEASE_SECONDS)
        held = claim_next(endpoint_id=endpoint.id)
        deliver(claim=lost)
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.lease_token, delivery.attempt_count) == ("sending", held.token, 0)
        assert WebhookAttempt.objects.get().is_success is True

    def test_nothing_is_kept_for_an_endpoint_deleted_meanwhile(self, endpoint: WebhookEndpoint) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        claim = claim_next(endpoint_id=endpoint.id)
        WebhookEndpoint.objects.update(is_active=False, disabled_reason="manual", url="", deleted_at=timezone.now())
        deliver(claim=claim)
        assert WebhookAttempt.objects.count() == 0

    def test_an_endpoint_switched_off_meanwhile_is_not_switched_off_again(self, endpoint, sink: Sink) -> None:
        sink.respond = lambda request: Reply(410)
        WebhookDeliveryFactory(endpoint=endpoint)
        claim = claim_next(endpoint_id=endpoint.id)
        WebhookEndpoint.objects.update(is_active=False, disabled_reason="manual")
        deliver(claim=claim)
        endpoint.refresh_from_db()
        assert endpoint.disabled_reason == "manual"
        assert not Event.objects.filter(type="webhook_endpoint.disabled").exists()

    @pytest.mark.django_db(transaction=True)
    def test_no_transaction_and_no_connection_is_held_during_the_call(self, sink: Sink) -> None:
        endpoint = WebhookEndpointFactory(url=sink.url)
        WebhookDeliveryFactory(endpoint=endpoint)
        left: list[str] = []
        seen: list[tuple[int, int]] = []

        def respond(request: Received) -> Reply:
            try:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT count(*) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
                    )
                    seen.append((len(left), cursor.fetchone()[0]))
            finally:
                connection.close()
            return Reply()

        sink.respond = respond
        deliver_queue(endpoint_id=endpoint.id, leave_database=lambda: left.append("left"))
        assert seen == [(1, 0)]
        assert len(left) == 3
