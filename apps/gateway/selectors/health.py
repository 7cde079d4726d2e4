"""How providers and deployments are, now and over time, as the probes have it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Avg, Count, F, Func, Max, Q, Value
from django.db.models.fields import DateTimeField, DurationField

from apps.gateway.choices import HealthStatus
from apps.gateway.models import Deployment, HealthCheck, HealthState, Provider

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_BUCKETS = 500


@dataclass(frozen=True, slots=True)
class DeploymentHealth:
    """What the probes say of a deployment; without probes of its own, what they say of its provider."""

    deployment: Deployment
    status: str
    latency_ms: int | None
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """What the probes say of a provider. `uptime` is the share of answered probes in the last 24 hours, None without any."""

    provider: Provider
    status: str
    since: datetime | None
    checked_at: datetime | None
    latency_ms: int | None
    error: str
    uptime: float | None
    deployments: tuple[DeploymentHealth, ...]


@dataclass(frozen=True, slots=True)
class HealthBucket:
    """The probes of a provider in one span of time."""

    provider: str
    begins_at: datetime
    checks: int
    failures: int
    uptime: float
    latency_ms: float | None
    slowest_ms: int | None


def provider_healths(*, now: datetime | None = None) -> list[ProviderHealth]:
    """Return how the active providers are, by slug. Four queries."""
    now = now or datetime.now(UTC)
    states = {(row.provider_id, row.deployment_id): row for row in HealthState.objects.order_by("id")}
    uptimes = _uptimes(since=now - timedelta(days=1))
    rows: dict[UUID, list[Deployment]] = {}
    for deployment in Deployment.objects.active().select_related("model", "provider").order_by("model__name", "id"):
        rows.setdefault(deployment.provider_id, []).append(deployment)
    found = []
    for provider in Provider.objects.filter(is_active=True).order_by("slug"):
        state = states.get((provider.id, None))
        deployments = tuple(
            _describe(deployment, states.get((provider.id, deployment.id)), state)
            for deployment in rows.get(provider.id, ())
        )
        found.append(
            ProviderHealth(
                provider=provider,
                status=state.status if state else HealthStatus.UNKNOWN,
                since=state.since if state else None,
                checked_at=state.checked_at if state else None,
                latency_ms=state.latency_ms if state else None,
                error=state.error if state else "",
                uptime=uptimes.get(provider.id),
                deployments=deployments,
            )
        )
    return found


def health_history(
    *, since: datetime, until: datetime, bucket: timedelta, provider: Provider | None = None
) -> list[HealthBucket]:
    """Return the probes of providers as a whole in spans of `bucket`, oldest first, then by provider."""
    checks = HealthCheck.objects.of_providers().filter(checked_at__gte=since, checked_at__lt=until)
    if provider is not None:
        checks = checks.filter(provider_id=provider.id)
    span = Func(
        Value(bucket, output_field=DurationField()),
        F("checked_at"),
        Value(EPOCH, output_field=DateTimeField()),
        function="date_bin",
        output_field=DateTimeField(),
    )
    rows = (
        checks.annotate(begins_at=span)
        .values("begins_at", "provider_id")
        .annotate(
            checks=Count("id"),
            failures=Count("id", filter=Q(is_up=False)),
            mean=Avg("latency_ms", filter=Q(is_up=True)),
            slowest=Max("latency_ms", filter=Q(is_up=True)),
        )
        .order_by("begins_at", "provider_id")
    )
    slugs = dict(Provider.objects.values_list("id", "slug"))
    return [
        HealthBucket(
            provider=slugs[row["provider_id"]],
            begins_at=row["begins_at"],
            checks=row["checks"],
            failures=row["failures"],
            uptime=1 - row["failures"] / row["checks"],
            latency_ms=round(row["mean"], 1) if row["mean"] is not None else None,
            slowest_ms=row["slowest"],
        )
        for row in rows
        if row["provider_id"] in slugs
    ]


def model_healths() -> dict[str, str]:
    """Return what the probes say of each model by name: up when any deployment is, down when all are. Two queries."""
    states = {(row.provider_id, row.deployment_id): row for row in HealthState.objects.order_by("id")}
    found: dict[str, set[str]] = {}
    for deployment in Deployment.objects.active().select_related("model", "provider").order_by("id"):
        own = states.get((deployment.provider_id, deployment.id))
        health = _describe(deployment, own, states.get((deployment.provider_id, None)))
        found.setdefault(deployment.model.name, set()).add(health.status)
    order = (HealthStatus.UP, HealthStatus.UNKNOWN, HealthStatus.DOWN)
    return {name: next(status.value for status in order if status in statuses) for name, statuses in found.items()}


def _uptimes(*, since: datetime) -> dict[UUID, float]:
    rows = (
        HealthCheck.objects.of_providers()
        .filter(checked_at__gte=since)
        .values("provider_id")
        .annotate(checks=Count("id"), ups=Count("id", filter=Q(is_up=True)))
        .order_by("provider_id")
    )
    return {row["provider_id"]: row["ups"] / row["checks"] for row in rows}


def _describe(deployment: Deployment, own: HealthState | None, provider: HealthState | None) -> DeploymentHealth:
    state = provider if own is None or (provider is not None and provider.status == HealthStatus.DOWN) else own
    return DeploymentHealth(
        deployment=deployment,
        status=state.status if state else HealthStatus.UNKNOWN,
        latency_ms=state.latency_ms if state else None,
        checked_at=state.checked_at if state else None,
    )
