"""Probes of single components, on django-health-check. Each ends within its time limit, whatever the component does."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.migrations.executor import MigrationExecutor
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable, ServiceWarning

from apps.core.redis import get_redis
from apps.events.models import Delivery
from apps.gateway.models import Provider

LIMIT = datetime.timedelta(seconds=1)
MAX_OUTBOX_LAG = datetime.timedelta(minutes=1)
MIN_FREE_BYTES = 256 * 1024**2


@dataclasses.dataclass
class Probe(HealthCheck):
    """A check that can also say what it saw."""

    timeout = LIMIT
    details: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass
class DatabaseProbe(Probe):
    """Postgres answers, and its schema is this release's."""

    def run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_setting('server_version'), pg_is_in_recovery(),"
                    " (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())"
                )
                version, is_replica, sessions = cursor.fetchone()
                self.details = {"version": version, "is_replica": is_replica, "sessions": sessions}
            pending = _unapplied_migrations()
        except Exception as error:
            raise ServiceUnavailable("Postgres does not answer.") from error
        finally:
            connections[DEFAULT_DB_ALIAS].close()
        self.details["unapplied_migrations"] = pending
        if pending:
            raise ServiceUnavailable(f"{len(pending)} migrations are not applied; run `manage.py migrate`.")


def _unapplied_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


@dataclasses.dataclass
class CacheProbe(Probe):
    """Redis answers."""

    def run(self) -> None:
        try:
            client = get_redis()
            client.ping()
            memory = client.info("memory")
        except Exception as error:
            raise ServiceUnavailable("Redis does not answer.") from error
        self.details = {"used_memory_bytes": memory["used_memory"]}


@dataclasses.dataclass
class QueueProbe(Probe):
    """The broker answers, somebody works, and the outbox moves."""

    def run(self) -> None:
        try:
            lag, dead = Delivery.objects.oldest_age(), Delivery.objects.dead().count()
            pending = Delivery.objects.pending().count()
        except Exception as error:
            raise ServiceUnavailable("The outbox cannot be read.") from error
        finally:
            connections[DEFAULT_DB_ALIAS].close()
        self.details = {
            "outbox_lag_seconds": round(lag.total_seconds(), 3),
            "outbox_pending": pending,
            "outbox_dead": dead,
        }
        try:
            workers = current_app.control.ping(timeout=0.5) or []
        except Exception as error:
            raise ServiceUnavailable("The broker does not answer; sweeps do its work more slowly.") from error
        self.details["workers"] = len(workers)
        if not workers:
            raise ServiceWarning("No worker answers.")
        if lag > MAX_OUTBOX_LAG:
            raise ServiceWarning("The outbox is behind; is `manage.py relay` running?")
        if dead:
            raise ServiceWarning(f"{dead} deliveries are dead letters; see the admin.")


@dataclasses.dataclass
class DiskProbe(Probe):
    """The data directory can be written: the usage journal needs it."""

    def run(self) -> None:
        try:
            free = shutil.disk_usage(settings.DATA_DIR).free
        except OSError as error:
            raise ServiceUnavailable("PORTICO_DATA cannot be read.") from error
        self.details = {"free_bytes": free}
        if not os.access(settings.DATA_DIR, os.W_OK) or free < MIN_FREE_BYTES:
            raise ServiceUnavailable("PORTICO_DATA is full or not writable; calls cannot be metered.")


@dataclasses.dataclass
class ProvidersProbe(Probe):
    """At least one provider is switched on."""

    def run(self) -> None:
        try:
            names = list(Provider.objects.filter(is_active=True).order_by("slug").values_list("slug", flat=True))
        except Exception as error:
            raise ServiceUnavailable("The catalogue cannot be read.") from error
        finally:
            connections[DEFAULT_DB_ALIAS].close()
        self.details = {"active": names}
        if not names:
            raise ServiceWarning("No provider is active; run `manage.py load_models`.")
