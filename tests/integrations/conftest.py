"""Sinks, clocks and endpoints for tests of webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine

from apps.integrations.models import WebhookEndpoint
from tests.factories.integrations import WebhookEndpointFactory
from tests.support.sink import Sink

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _loopback_allowed(settings) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.1/32"]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Run a receiver that answers 204."""
    with Sink() as sink:
        yield sink


@pytest.fixture
def endpoint(db: None, sink: Sink) -> WebhookEndpoint:
    """Return an active endpoint that leads to the sink."""
    return WebhookEndpointFactory(url=sink.url)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock at START; `.shift(delta)` moves it."""
    with time_machine.travel(START, tick=False) as traveller:
        yield traveller
