"""Figures that live in the database and belong in /metrics: read when Prometheus asks, absent while Postgres is away."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import DEFAULT_DB_ALIAS, Error, connections
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg_pool import PoolTimeout

from apps.events.models import Delivery


class PlatformCollector(Collector):
    """The outbox: how far behind, how much waits, how much is dead."""

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without asking the database (the registry calls this once)."""
        yield from _families(None)

    def collect(self) -> Iterator[Metric]:
        """Read the figures; give none rather than wrong ones."""
        try:
            yield from _families(
                (
                    Delivery.objects.oldest_age().total_seconds(),
                    Delivery.objects.pending().count(),
                    Delivery.objects.dead().count(),
                )
            )
        except (Error, PoolTimeout):
            return
        finally:
            if not connections[DEFAULT_DB_ALIAS].in_atomic_block:
                connections[DEFAULT_DB_ALIAS].close()


def _families(values: tuple[float, int, int] | None) -> Iterator[Metric]:
    names = [
        ("portico_outbox_lag_seconds", "Age of the oldest event that waits for a subscriber."),
        ("portico_outbox_pending", "Deliveries that wait."),
        ("portico_outbox_dead", "Deliveries that were given up and wait for a person."),
    ]
    for index, (name, description) in enumerate(names):
        yield GaugeMetricFamily(name, description, value=None if values is None else values[index])
