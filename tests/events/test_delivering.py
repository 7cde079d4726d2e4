"""The outbox: at least once, in order per aggregate, nothing lost to a dying relay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from apps.core.actor import Actor, system_actor
from apps.core.context import current_actor, current_request_id
from apps.core.ids import uuid7
from apps.events.choices import DeliveryState
from apps.events.models import Delivery
from apps.events.services import StoredEvent, publish, subscribe
from apps.events.services.delivering import (
    MAX_ATTEMPTS,
    backoff_seconds,
    deliver_next,
    discard_deliveries,
    replay_deliveries,
)
from apps.events.services.subscriptions import unsubscribe
from apps.events.tasks import keep_partitions
from tests.support.events import LampLit


class Listener:
    """Remembers what it heard; raises what it is told to."""

    def __init__(self) -> None:
        self.heard: list[StoredEvent] = []
        self.error: Exception | None = None
        self.bound: tuple[str, str] = ("", "")

    def __call__(self, event: StoredEvent) -> None:
        self.bound = (current_actor().kind.value, current_request_id())
        if self.error:
            raise self.error
        self.heard.append(event)

    @property
    def brightness(self) -> list[int]:
        return [event.payload["brightness"] for event in self.heard]


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    subscribe("tests.listener", to=[LampLit], handler=found)
    yield found
    unsubscribe("tests.listener")


def light(actor: Actor, lamp: UUID, *brightness: int) -> None:
    for value in brightness:
        with transaction.atomic():
            publish(LampLit(aggregate_id=lamp, brightness=value), actor=actor)


def make_due() -> None:
    Delivery.objects.update(due_at=Now() - timedelta(seconds=1))


def test_events_of_an_aggregate_arrive_in_order_and_leave_the_outbox(actor: Actor, listener: Listener) -> None:
    light(actor, uuid7(), 1, 2, 3)
    assert [deliver_next() for _ in range(4)] == [True, True, True, False]
    assert listener.brightness == [1, 2, 3]
    assert listener.heard[0].actor["user_id"] == str(actor.user_id)
    assert listener.bound == ("system", "req_test")
    assert Delivery.objects.count() == 0


def test_a_failure_holds_back_its_aggregate_and_no_other(actor: Actor, listener: Listener) -> None:
    broken, healthy = uuid7(), uuid7()
    light(actor, broken, 1, 2)
    listener.error = ValueError("no bulb")
    assert deliver_next() is True
    listener.error = None
    light(actor, healthy, 7)
    assert (deliver_next(), deliver_next()) == (True, False)
    assert listener.brightness == [7]
    waiting = Delivery.objects.get(aggregate_version=1)
    assert (waiting.attempts, waiting.last_error, waiting.state) == (1, "ValueError: no bulb", DeliveryState.PENDING)
    make_due()
    assert [deliver_next(), deliver_next(), deliver_next()] == [True, True, False]
    assert listener.brightness == [7, 1, 2]


def test_what_a_failing_subscriber_wrote_is_undone(actor: Actor, listener: Listener) -> None:
    def write_then_fail(event: StoredEvent) -> None:
        light(system_actor(), uuid7(), 99)
        raise ValueError("after the write")

    subscribe("tests.listener", to=[LampLit], handler=write_then_fail)
    light(actor, uuid7(), 1)
    deliver_next()
    assert list(Delivery.objects.values_list("aggregate_version", "attempts")) == [(1, 1)]


def test_a_delivery_dies_after_the_last_attempt_and_can_be_replayed(actor: Actor, listener: Listener) -> None:
    lamp = uuid7()
    light(actor, lamp, 1, 2)
    listener.error = ValueError("no bulb")
    for _ in range(MAX_ATTEMPTS):
        make_due()
        assert deliver_next() is True
    make_due()
    assert deliver_next() is False
    dead = Delivery.objects.dead().get()
    assert dead.attempts == MAX_ATTEMPTS
    listener.error = None
    assert replay_deliveries(ids=[dead.id], actor=actor) == 1
    assert replay_deliveries(ids=[dead.id], actor=actor) == 0
    assert [deliver_next(), deliver_next()] == [True, True]
    assert listener.brightness == [1, 2]


def test_a_discarded_delivery_lets_the_next_ones_go(actor: Actor, listener: Listener) -> None:
    lamp = uuid7()
    light(actor, lamp, 1, 2)
    Delivery.objects.filter(aggregate_version=1).update(state=DeliveryState.DEAD)
    assert deliver_next() is False
    pending = Delivery.objects.get(aggregate_version=2)
    assert discard_deliveries(ids=[pending.id], actor=actor) == 0
    assert discard_deliveries(ids=[Delivery.objects.dead().get().id], actor=actor) == 1
    assert deliver_next() is True
    assert listener.brightness == [2]


def test_an_event_for_a_subscriber_of_another_release_waits(actor: Actor, listener: Listener) -> None:
    light(actor, uuid7(), 1)
    unsubscribe("tests.listener")
    deliver_next()
    assert "No subscriber is called tests.listener" in Delivery.objects.get().last_error


def test_the_lag_is_the_age_of_the_oldest_due_delivery(actor: Actor, listener: Listener) -> None:
    assert Delivery.objects.oldest_age() == timedelta(0)
    light(actor, uuid7(), 1)
    Delivery.objects.update(created_at=Now() - timedelta(minutes=5))
    make_due()
    assert timedelta(minutes=5) <= Delivery.objects.oldest_age() < timedelta(minutes=6)


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (5, 16), (12, 2048), (40, 3600)])
def test_the_wait_doubles_up_to_an_hour(attempts: int, seconds: int) -> None:
    assert seconds * 0.8 <= backoff_seconds(attempts) <= seconds * 1.2


@pytest.mark.django_db(transaction=True)
def test_relays_side_by_side_deliver_each_event_once_and_in_order(actor: Actor) -> None:
    heard: list[tuple[UUID, int]] = []
    subscribe(
        "tests.listener",
        to=[LampLit],
        handler=lambda event: heard.append((event.aggregate_id, event.aggregate_version)),
    )
    lamps = [uuid7() for _ in range(5)]
    for _ in range(8):
        for lamp in lamps:
            light(actor, lamp, 1)

    def relay() -> None:
        idle = 0
        while idle < 20:
            idle = 0 if deliver_next() else idle + 1
        connection.close()

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    unsubscribe("tests.listener")
    assert Delivery.objects.count() == 0
    assert len(heard) == 40
    assert [[version for lamp, version in heard if lamp == wanted] for wanted in lamps] == [list(range(1, 9))] * 5


def test_upkeep_makes_the_months_that_are_missing(db: None) -> None:
    name = f"events_event_{datetime.now(UTC):%Y_%m}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {name}")
        keep_partitions()
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        assert cursor.fetchone() == (True,)
