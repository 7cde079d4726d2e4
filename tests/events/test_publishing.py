"""Facts are stored with their cause, in order, for ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError

from apps.core.actor import Actor, system_actor
from apps.core.ids import uuid7
from apps.events.errors import StaleAggregate
from apps.events.events import DomainEvent, event_types
from apps.events.models import Aggregate, Delivery, Event
from apps.events.services import publish, subscribe
from apps.events.services.subscriptions import unsubscribe
from tests.support.events import LampLit
from tests.support.waiting import wait_until


@pytest.fixture
def listener():
    subscribe("tests.listener", to=[LampLit], handler=lambda event: None)
    yield "tests.listener"
    unsubscribe("tests.listener")


def test_an_event_is_stored_with_actor_request_version_and_payload(actor: Actor) -> None:
    lamp = uuid7()
    with transaction.atomic():
        publish(LampLit(aggregate_id=lamp, brightness=3, by=(actor.user_id,)), actor=actor)
        stored = publish(LampLit(aggregate_id=lamp, brightness=5), actor=actor)
    assert (stored.aggregate_version, stored.type, stored.organization_id) == (2, "lamp.lit", actor.organization_id)
    first = Event.objects.of_aggregate("lamp", lamp).first()
    assert first.payload == {"brightness": 3, "by": [str(actor.user_id)]}
    assert first.actor == {
        "kind": "user", "user_id": str(actor.user_id), "organization_id": str(actor.organization_id),
    }  # fmt: skip
    assert first.request_id == "req_test"
    assert stored.position > first.position > 0


def test_a_rolled_back_change_leaves_no_event_and_no_delivery(actor: Actor, listener: str) -> None:
    with transaction.atomic():
        publish(LampLit(aggregate_id=uuid7(), brightness=1), actor=actor)
        transaction.set_rollback(True)
    assert (Event.objects.count(), Delivery.objects.count(), Aggregate.objects.count()) == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_publishing_outside_a_transaction_is_refused(actor: Actor) -> None:
    with pytest.raises(RuntimeError, match="needs a transaction"):
        publish(LampLit(aggregate_id=uuid7(), brightness=1), actor=actor)
    assert Event.objects.count() == 0


def test_the_expected_version_guards_the_aggregate(actor: Actor) -> None:
    lamp = uuid7()
    with transaction.atomic():
        publish(LampLit(aggregate_id=lamp, brightness=1), actor=actor, expected_version=0)
    with pytest.raises(StaleAggregate) as caught, transaction.atomic():
        publish(LampLit(aggregate_id=lamp, brightness=2), actor=actor, expected_version=0)
    assert caught.value.status == 409
    assert Event.objects.of_aggregate("lamp", lamp).count() == 1


def test_one_delivery_per_subscriber_that_hears_the_type(actor: Actor, listener: str) -> None:
    subscribe("tests.deaf", to=[], handler=lambda event: None)
    with transaction.atomic():
        publish(LampLit(aggregate_id=uuid7(), brightness=1), actor=actor)
    unsubscribe("tests.deaf")
    assert list(Delivery.objects.values_list("subscriber", flat=True)) == [listener]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events_event SET type = 'x'",
        "DELETE FROM events_event",
        "TRUNCATE events_event",
        "TRUNCATE events_event_default",
    ],
)
def test_the_store_refuses_to_change_the_past(actor: Actor, statement: str) -> None:
    with transaction.atomic():
        publish(LampLit(aggregate_id=uuid7(), brightness=1), actor=actor)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Event.objects.count() == 1


def test_two_events_cannot_share_a_type() -> None:
    with pytest.raises(TypeError, match=r"Two events are called lamp\.lit"):

        @dataclass(frozen=True, kw_only=True)
        class Other(DomainEvent):
            type: ClassVar[str] = "lamp.lit"
            aggregate_type: ClassVar[str] = "lamp"
            other: UUID | None = None

    assert event_types()["lamp.lit"] is LampLit


def test_events_are_seen_by_their_organization_only(actor: Actor) -> None:
    stranger = Actor(kind=actor.kind, organization_id=uuid7())
    with transaction.atomic():
        publish(LampLit(aggregate_id=uuid7(), brightness=1), actor=actor)
    assert Event.objects.visible_to(actor).count() == 1
    assert Event.objects.visible_to(stranger).count() == 0
    assert Event.objects.visible_to(Actor(kind=actor.kind)).count() == 0
    assert Event.objects.visible_to(system_actor()).count() == 1


@pytest.mark.django_db(transaction=True)
def test_who_reads_since_a_position_misses_nothing_that_is_stored_late(actor: Actor) -> None:
    """The older transaction has drawn the lower position and commits last."""
    has_drawn, may_commit = threading.Event(), threading.Event()

    def publish_slowly() -> int:
        with transaction.atomic():
            stored = publish(LampLit(aggregate_id=uuid7(), brightness=1), actor=actor)
            has_drawn.set()
            may_commit.wait(10)
        connection.close()
        return stored.position

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(publish_slowly)
        assert has_drawn.wait(10)
        with transaction.atomic():
            later = publish(LampLit(aggregate_id=uuid7(), brightness=2), actor=actor).position
        assert positions_since(0) == []
        may_commit.set()
        earlier = slow.result()
    assert earlier < later
    # Transactions of other databases of the same server count as open, too.
    wait_until(lambda: positions_since(0) == [earlier, later], seconds=60)
    assert positions_since(earlier) == [later]
    assert positions_since(later) == []


def positions_since(position: int) -> list[int]:
    lamps = Event.objects.since(position).filter(aggregate_type="lamp")
    return list(lamps.values_list("position", flat=True))
