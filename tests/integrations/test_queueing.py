"""Each endpoint's queue: in order per key, one sender per delivery, nothing lost when a sender dies."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import orjson
import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.core.ids import encode_id, uuid7
from apps.events.services import publish
from apps.integrations import subscribers
from apps.integrations.choices import DeliveryState, DisabledReason
from apps.integrations.models import WebhookDelivery, WebhookEndpoint
from apps.integrations.selectors.queues import endpoints_with_work, with_queue
from apps.integrations.services.queueing import LEASE_SECONDS, claim_next, give_back, lock_endpoint, settle
from tests.factories.integrations import WebhookDeliveryFactory, WebhookEndpointFactory
from tests.factories.users import OrganizationFactory, UserFactory
from tests.support.lanterns import LanternStolen, light, relay
from tests.support.threads import run_together


@pytest.fixture(autouse=True)
def _silent_bell(monkeypatch) -> None:
    """Keep what is queued in the queue: nobody is told to send."""
    monkeypatch.setattr(subscribers, "ring_on_commit", lambda endpoint_id: None)


def states(endpoint: WebhookEndpoint) -> list[tuple[int, str]]:
    """Return (sequence, state) of an endpoint's deliveries, oldest first."""
    return list(WebhookDelivery.objects.of_endpoint(endpoint.id).order_by("id").values_list("sequence", "state"))


def finish(claim, state=DeliveryState.SUCCEEDED) -> None:
    with transaction.atomic():
        lock_endpoint(claim.endpoint.id)
        settle(claim.delivery, state=state)


class TestEntering:
    def test_a_public_event_enters_the_queues_that_want_it_and_no_other(self, endpoint: WebhookEndpoint) -> None:
        organization = endpoint.organization
        by_name = WebhookEndpointFactory(organization=organization, event_types=["lantern.lit"])
        WebhookEndpointFactory(organization=organization, event_types=["conversation.created"])
        WebhookEndpointFactory()
        WebhookEndpointFactory(
            organization=organization, url="", is_active=False, disabled_reason="manual", deleted_at=timezone.now()
        )
        off = WebhookEndpointFactory(organization=organization, is_active=False, disabled_reason="manual")
        (event,) = light(organization.id)
        assert relay() == 1
        found = WebhookDelivery.objects.order_by("endpoint_id")
        assert [delivery.endpoint_id for delivery in found] == sorted([endpoint.id, by_name.id, off.id])
        assert {delivery.webhook_id for delivery in found} == {encode_id("evt", event.id)}
        assert {(delivery.state, delivery.request_id, delivery.sequence) for delivery in found} == {
            ("pending", "req_lantern", 1)
        }

    def test_an_event_that_is_not_public_is_not_heard(self, endpoint: WebhookEndpoint, actor) -> None:
        with transaction.atomic():
            publish(LanternStolen(aggregate_id=uuid7(), organization_id=endpoint.organization_id), actor=actor)
        relay()
        assert WebhookDelivery.objects.count() == 0

    def test_an_event_without_organization_goes_nowhere(self, endpoint: WebhookEndpoint) -> None:
        light(None)
        assert relay() == 1
        assert WebhookDelivery.objects.count() == 0

    def test_the_body_says_type_time_aggregate_and_facts_with_public_ids(self, endpoint: WebhookEndpoint) -> None:
        user = UserFactory()
        (event,) = light(endpoint.organization_id, user_id=user.id, watcher_ids=(user.id,))
        relay()
        delivery = WebhookDelivery.objects.get()
        assert orjson.loads(delivery.body) == {
            "type": "lantern.lit",
            "timestamp": event.occurred_at.isoformat().replace("+00:00", "Z"),
            "data": {
                "aggregate": {"type": "lantern", "id": str(event.aggregate_id), "version": 1},
                "organization_id": endpoint.organization.public_id,
                "brightness": 1,
                "user_id": user.public_id,
                "watcher_ids": [str(user.id)],
                "until": None,
            },
        }

    def test_of_each_aggregate_only_the_first_is_due(self, endpoint: WebhookEndpoint) -> None:
        light(endpoint.organization_id, times=3)
        light(endpoint.organization_id)
        relay()
        assert sorted(states(endpoint)) == [(1, "pending"), (1, "pending"), (2, "waiting"), (3, "waiting")]

    def test_the_same_event_cannot_be_queued_twice(self, endpoint: WebhookEndpoint) -> None:
        light(endpoint.organization_id)
        relay()
        twin = WebhookDelivery.objects.get()
        twin.pk = uuid7()
        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save(force_insert=True)


class TestClaiming:
    def test_the_oldest_due_delivery_is_leased(self, endpoint: WebhookEndpoint, clock) -> None:
        late = WebhookDeliveryFactory(endpoint=endpoint)
        first = WebhookDeliveryFactory(endpoint=endpoint, due_at=timezone.now() - timedelta(minutes=1))
        WebhookDeliveryFactory(endpoint=endpoint, due_at=timezone.now() + timedelta(seconds=1))
        WebhookDeliveryFactory()
        claims = [claim_next(endpoint_id=endpoint.id) for _ in range(3)]
        assert [claim and claim.delivery.id for claim in claims] == [first.id, late.id, None]
        first.refresh_from_db()
        assert (first.state, first.lease_token) == (DeliveryState.SENDING, claims[0].token)
        assert first.lease_until == timezone.now() + timedelta(seconds=LEASE_SECONDS)

    def test_an_endpoint_that_is_off_or_gone_gives_nothing(self, endpoint: WebhookEndpoint) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        WebhookEndpoint.objects.update(is_active=False, disabled_reason=DisabledReason.GONE)
        assert claim_next(endpoint_id=endpoint.id) is None
        assert claim_next(endpoint_id=uuid4()) is None
        assert endpoints_with_work(timezone.now()) == []

    def test_no_more_than_four_are_sent_at_once(self, endpoint: WebhookEndpoint) -> None:
        for _ in range(6):
            WebhookDeliveryFactory(endpoint=endpoint)
        claims = [claim_next(endpoint_id=endpoint.id) for _ in range(5)]
        assert [claim is None for claim in claims] == [False, False, False, False, True]
        finish(claims[0])
        assert claim_next(endpoint_id=endpoint.id) is not None

    def test_a_lease_that_ran_out_is_claimed_again_under_the_same_webhook_id(self, endpoint, clock) -> None:
        delivery = WebhookDeliveryFactory(endpoint=endpoint)
        lost = claim_next(endpoint_id=endpoint.id)
        clock.shift(LEASE_SECONDS - 1)
        assert claim_next(endpoint_id=endpoint.id) is None
        assert endpoints_with_work(timezone.now()) == []
        clock.shift(1)
        assert endpoints_with_work(timezone.now()) == [endpoint.id]
        again = claim_next(endpoint_id=endpoint.id)
        assert again.token != lost.token
        assert again.delivery.webhook_id == delivery.webhook_id
        assert again.delivery.attempt_count == 0

    @pytest.mark.django_db(transaction=True)
    def test_many_senders_at_once_never_share_a_delivery(self, sink) -> None:
        endpoint = WebhookEndpointFactory(url=sink.url)
        for _ in range(4):
            WebhookDeliveryFactory(endpoint=endpoint)
        claims = run_together(lambda: claim_next(endpoint_id=endpoint.id), count=12)
        taken = [claim.delivery.id for claim in claims if claim is not None]
        assert len(taken) == len(set(taken)) == 4

    @pytest.mark.django_db(transaction=True)
    def test_events_that_arrive_while_one_is_finished_are_never_stranded(self, sink) -> None:
        endpoint = WebhookEndpointFactory(url=sink.url)
        lantern = uuid7()
        light(endpoint.organization_id, lantern=lantern)
        relay()
        for _ in range(10):
            claim = claim_next(endpoint_id=endpoint.id)
            light(endpoint.organization_id, lantern=lantern)
            results = iter([relay, lambda claim=claim: finish(claim)])
            assert not [
                error for error in run_together(lambda r=results: next(r)(), count=2) if isinstance(error, Exception)
            ]
            assert states(endpoint)[-1][1] == "pending"


class TestSettling:
    @pytest.mark.parametrize("end", [DeliveryState.SUCCEEDED, DeliveryState.DEAD])
    def test_the_end_of_one_lets_the_next_of_its_key_go(self, endpoint: WebhookEndpoint, end: DeliveryState) -> None:
        light(endpoint.organization_id, times=3)
        relay()
        finish(claim_next(endpoint_id=endpoint.id), end)
        assert states(endpoint) == [(1, end), (2, "pending"), (3, "waiting")]

    def test_nothing_passes_one_that_waits_for_its_retry(self, endpoint: WebhookEndpoint) -> None:
        light(endpoint.organization_id, times=2)
        relay()
        claim = claim_next(endpoint_id=endpoint.id)
        with transaction.atomic():
            lock_endpoint(endpoint.id)
            settle(claim.delivery, state=DeliveryState.PENDING, due_at=timezone.now() + timedelta(hours=1))
        assert states(endpoint) == [(1, "pending"), (2, "waiting")]
        assert claim_next(endpoint_id=endpoint.id) is None

    def test_what_is_given_back_is_as_it_was(self, endpoint: WebhookEndpoint) -> None:
        delivery = WebhookDeliveryFactory(endpoint=endpoint, attempt_count=3)
        give_back(claim=claim_next(endpoint_id=endpoint.id))
        found = WebhookDelivery.objects.get()
        assert (found.state, found.attempt_count, found.lease_token) == ("pending", 3, None)
        assert (found.due_at, found.finished_at) == (delivery.due_at, None)

    def test_who_lost_the_lease_gives_nothing_back(self, endpoint: WebhookEndpoint, clock) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        lost = claim_next(endpoint_id=endpoint.id)
        clock.shift(LEASE_SECONDS)
        held = claim_next(endpoint_id=endpoint.id)
        give_back(claim=lost)
        assert WebhookDelivery.objects.get().lease_token == held.token

    def test_nothing_is_given_back_to_a_deleted_endpoint(self, endpoint: WebhookEndpoint) -> None:
        WebhookDeliveryFactory(endpoint=endpoint)
        claim = claim_next(endpoint_id=endpoint.id)
        WebhookEndpoint.objects.update(is_active=False, disabled_reason="manual", url="", deleted_at=timezone.now())
        give_back(claim=claim)
        assert WebhookDelivery.objects.get().state == DeliveryState.SENDING


def test_a_queue_tells_its_depth_and_age(endpoint: WebhookEndpoint) -> None:
    oldest = WebhookDeliveryFactory(endpoint=endpoint)
    WebhookDeliveryFactory(endpoint=endpoint, state=DeliveryState.WAITING)
    WebhookDeliveryFactory(endpoint=endpoint, state=DeliveryState.SUCCEEDED)
    empty = WebhookEndpointFactory(organization=OrganizationFactory())
    found = {row.id: row for row in with_queue(WebhookEndpoint.objects.kept())}
    assert (found[endpoint.id].queue_depth, found[endpoint.id].oldest_queued_at) == (2, oldest.created_at)
    assert (found[empty.id].queue_depth, found[empty.id].oldest_queued_at) == (0, None)


def test_a_delivery_cannot_be_sent_without_a_lease(endpoint: WebhookEndpoint) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        WebhookDeliveryFactory(endpoint=endpoint, state=DeliveryState.SENDING)
