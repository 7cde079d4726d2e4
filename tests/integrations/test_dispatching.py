"""The threads that send: a few per endpoint, no ring lost, nothing begun after the end."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.db import connection

from apps.integrations.models import WebhookDelivery
from apps.integrations.services import dispatching
from apps.integrations.services.dispatching import Dispatcher, close_dispatcher, get_dispatcher
from apps.integrations.services.queueing import PARALLEL_PER_ENDPOINT
from tests.factories.integrations import WebhookDeliveryFactory, WebhookEndpointFactory
from tests.support.sink import Reply, Sink
from tests.support.waiting import wait_until


@pytest.fixture
def dispatcher():
    made = Dispatcher(threads=8)
    yield made
    made.close(seconds=5)


@pytest.mark.django_db(transaction=True)
def test_ringing_sends_what_is_due_and_more_than_one_shift(dispatcher: Dispatcher, sink: Sink) -> None:
    endpoint = WebhookEndpointFactory(url=sink.url)
    WebhookDeliveryFactory.create_batch(25, endpoint=endpoint)
    dispatcher.ring(endpoint.id)
    wait_until(lambda: WebhookDelivery.objects.filter(state="succeeded").count() == 25)
    assert len(sink.received) == 25


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_stalls_takes_no_thread_from_another(dispatcher: Dispatcher, sink: Sink) -> None:
    release = threading.Event()

    def stall(request):
        release.wait(10)
        return Reply()

    with Sink(stall) as stalling:
        slow = WebhookEndpointFactory(url=stalling.url)
        quick = WebhookEndpointFactory(url=sink.url)
        WebhookDeliveryFactory.create_batch(10, endpoint=slow)
        WebhookDeliveryFactory.create_batch(10, endpoint=quick)
        for _ in range(10):
            dispatcher.ring(slow.id)
        for _ in range(10):
            dispatcher.ring(quick.id)
        assert len(sink.wait_for(10)) == 10
        assert WebhookDelivery.objects.of_endpoint(slow.id).filter(state="sending").count() == PARALLEL_PER_ENDPOINT
        release.set()
        wait_until(lambda: not WebhookDelivery.objects.open().exists())


def test_a_ring_while_all_threads_of_an_endpoint_are_busy_is_heard_later(dispatcher, monkeypatch) -> None:
    endpoint_id, gate, looks = uuid4(), threading.Event(), []

    def look(*, endpoint_id, leave_database):
        looks.append(endpoint_id)
        gate.wait(10)
        return False

    monkeypatch.setattr(dispatching, "deliver_queue", look)
    for _ in range(PARALLEL_PER_ENDPOINT):
        dispatcher.ring(endpoint_id)
    wait_until(lambda: len(looks) == PARALLEL_PER_ENDPOINT)
    dispatcher.ring(endpoint_id)
    gate.set()
    wait_until(lambda: len(looks) == PARALLEL_PER_ENDPOINT + 1)
    wait_until(lambda: not dispatcher._running)


def test_a_shift_that_fails_gives_its_thread_back(dispatcher, monkeypatch) -> None:
    endpoint_id, looks = uuid4(), []

    def fail(*, endpoint_id, leave_database):
        looks.append(endpoint_id)
        raise ZeroDivisionError

    monkeypatch.setattr(dispatching, "deliver_queue", fail)
    for count in range(1, 7):
        dispatcher.ring(endpoint_id)
        wait_until(lambda count=count: len(looks) == count and not dispatcher._running)


def test_after_closing_nothing_begins(dispatcher, monkeypatch) -> None:
    looks = []
    monkeypatch.setattr(dispatching, "deliver_queue", lambda **_: looks.append(1))
    dispatcher.close(seconds=1)
    dispatcher.ring(uuid4())
    assert looks == []


def test_closing_waits_for_what_is_being_sent(monkeypatch) -> None:
    started, gate, ended = threading.Event(), threading.Event(), []

    def look(*, endpoint_id, leave_database):
        started.set()
        gate.wait(10)
        ended.append(1)
        return True

    monkeypatch.setattr(dispatching, "deliver_queue", look)
    close_dispatcher(seconds=0)
    made = get_dispatcher()
    assert get_dispatcher() is made
    made.ring(uuid4())
    started.wait(10)
    threading.Timer(0.05, gate.set).start()
    close_dispatcher(seconds=10)
    assert ended == [1]
    assert get_dispatcher() is not made
    close_dispatcher(seconds=0)


@pytest.mark.django_db(transaction=True)
def test_sending_goes_on_while_the_processes_own_pool_is_closed(sink: Sink) -> None:
    """Celery closes it around every task."""
    options = connection.settings_dict["OPTIONS"]
    endpoint = WebhookEndpointFactory(url=sink.url)
    WebhookDeliveryFactory.create_batch(30, endpoint=endpoint)
    options["pool"] = {"min_size": 0, "max_size": 4, "timeout": 5}
    dispatcher = Dispatcher(threads=8)
    try:
        for _ in range(4):
            dispatcher.ring(endpoint.id)
        for count in range(1, 31):
            sink.wait_for(count)
            process_pool = connection.copy()
            with process_pool.cursor() as cursor:
                cursor.execute("SELECT 1")
            process_pool.close()
            process_pool.close_pool()
        wait_until(lambda: WebhookDelivery.objects.filter(state="succeeded").count() == 30)
    finally:
        dispatcher.close(seconds=5)
        connection.copy(alias=dispatching.POOL).close_pool()
        del options["pool"]
    assert len(sink.received) == 30
