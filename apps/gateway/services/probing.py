"""Ask providers how they are, now and then, and let everybody know when that changes. One prober per installation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from apps.core.actor import system_actor
from apps.core.redis import get_redis
from apps.events.services import publish
from apps.gateway.choices import Capability, HealthStatus, ProbeKind
from apps.gateway.events import ProviderCameBack, ProviderWentDown
from apps.gateway.models import Deployment, HealthCheck, HealthState, Provider
from apps.gateway.providers.base import Target, UpstreamError, UpstreamRateLimited, UpstreamRejected
from apps.gateway.providers.registry import get_provider
from apps.gateway.runtime.sessions import Sessions
from apps.gateway.runtime.sharing import HEALTH_CHANNEL
from apps.gateway.selectors.catalogue import build_target
from apps.gateway.selectors.routing import subject_of
from apps.gateway.services.announcing import announce_catalogue_change

logger = structlog.get_logger(__name__)

PROBE_SECONDS = 5.0
"""A provider that takes longer to answer a probe is down."""
DOWN_AFTER = 2
"""One failed probe may be the network's hiccup; so many in a row are not."""
SWEEP_SECONDS = 5.0
ANXIOUS_SECONDS = 10.0
"""Whoever failed is asked more often, so that it is back in use soon."""
MAX_ERROR = 300


@dataclass(frozen=True, slots=True)
class Probe:
    """What is asked of whom."""

    provider: Provider
    deployment: Deployment | None
    target: Target

    @property
    def kind(self) -> ProbeKind:
        """Return what is asked."""
        return ProbeKind.MODELS if self.deployment is None else ProbeKind.COMPLETION


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a probe; `error` is empty when it was answered."""

    probe: Probe
    is_up: bool
    latency_ms: int
    error: str = ""
    error_code: str = ""


def probe_providers(*, now: datetime | None = None) -> int:
    """Probe the providers that are due; return how many went down or came back."""
    now = now or datetime.now(UTC)
    due = find_due(now=now)
    if not due:
        return 0
    results = asyncio.run(run_probes(due))
    return sum(record_probe(result, now=now) for result in results)


def find_due(*, now: datetime) -> list[Probe]:
    """Return the probes whose time has come: of active providers, and of deployments that want an answer probed."""
    seconds = settings.GATEWAY_PROBE_SECONDS
    if not seconds:
        return []
    states = {(row.provider_id, row.deployment_id): row for row in HealthState.objects.order_by("id")}
    found: list[Probe] = []
    for provider in Provider.objects.filter(is_active=True).order_by("slug"):
        if _is_due(states.get((provider.id, None)), now, seconds) and (target := build_target(provider)) is not None:
            found.append(Probe(provider, None, target))
    wanted = Deployment.objects.active().filter(probe_completion=True).select_related("model", "provider")
    for deployment in wanted.order_by("id"):
        if Capability.CHAT not in deployment.model.capabilities:
            continue
        state = states.get((deployment.provider_id, deployment.id))
        target = build_target(deployment.provider, deployment)
        if target is not None and _is_due(state, now, seconds):
            found.append(Probe(deployment.provider, deployment, target))
    return found


async def run_probes(probes: Sequence[Probe]) -> list[Result]:
    """Return what comes of probes, all made at once."""
    async with Sessions() as sessions:
        chosen = [sessions.choose(p.target.base_url, is_operators=p.provider.from_environment) for p in probes]
        return await asyncio.gather(*[_run(probe, session) for probe, session in zip(probes, chosen, strict=True)])


@transaction.atomic
def record_probe(result: Result, *, now: datetime) -> bool:
    """Write a result down; tell whether it changes what is thought of the provider or deployment, and let all know then."""
    probe = result.probe
    HealthCheck.objects.create(
        checked_at=now,
        provider_id=probe.provider.id,
        deployment_id=probe.deployment.id if probe.deployment else None,
        kind=probe.kind,
        is_up=result.is_up,
        latency_ms=result.latency_ms,
        error_code=result.error_code,
    )
    state, _ = HealthState.objects.select_for_update().get_or_create(
        provider=probe.provider,
        deployment=probe.deployment,
        defaults={"since": now, "checked_at": now, "status": HealthStatus.UNKNOWN},
    )
    before, since = state.status, state.since
    state.failures = 0 if result.is_up else state.failures + 1
    state.checked_at, state.error = now, result.error[:MAX_ERROR]
    state.latency_ms = result.latency_ms if result.is_up else None
    if result.is_up:
        state.status = HealthStatus.UP
    elif state.failures >= DOWN_AFTER:
        state.status = HealthStatus.DOWN
    has_changed = state.status != before
    if has_changed:
        state.since = now
    state.save()
    if not has_changed or (before == HealthStatus.UNKNOWN and result.is_up):
        return False
    _tell(state, result, seconds=int((now - since).total_seconds()))
    return True


def _tell(state: HealthState, result: Result, *, seconds: int) -> None:
    deployment = state.deployment
    facts: dict[str, Any] = {
        "slug": state.provider.slug,
        "deployment": deployment.public_id if deployment else "",
        "model": deployment.model.name if deployment else "",
    }
    if state.status == HealthStatus.DOWN:
        event: Any = ProviderWentDown(aggregate_id=state.provider_id, error_code=result.error_code, **facts)
    else:
        event = ProviderCameBack(aggregate_id=state.provider_id, down_seconds=seconds, **facts)
    publish(event, actor=system_actor())
    concerned = (
        [deployment.public_id]
        if deployment is not None
        else [row.public_id for row in Deployment.objects.filter(provider=state.provider).order_by("id")]
    )
    news = {
        "kind": "probe",
        "subject": subject_of(state),
        "is_down": state.status == HealthStatus.DOWN,
        "deployments": concerned,
    }
    transaction.on_commit(lambda: _send(news))
    announce_catalogue_change()


def _send(news: dict[str, Any]) -> None:
    try:
        get_redis().publish(HEALTH_CHANNEL, orjson.dumps(news))
    except RedisError as error:
        logger.warning("health_change_unannounced", error=str(error)[:200])


def _is_due(state: HealthState | None, now: datetime, seconds: float) -> bool:
    if state is None:
        return True
    if state.failures:
        seconds = min(seconds, ANXIOUS_SECONDS if state.status == HealthStatus.DOWN else SWEEP_SECONDS)
    # A little early rather than a whole sweep late.
    return now - state.checked_at >= timedelta(seconds=seconds - 1)


async def _run(probe: Probe, session: Any) -> Result:
    begun = time.perf_counter()
    error, code = "", ""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await _ask(probe, session)
    except TimeoutError:
        error, code = f"No answer within {PROBE_SECONDS:g} s.", "gateway.upstream_timed_out"
    except (UpstreamRateLimited, UpstreamRejected) as refusal:
        # It answers. A list of models is not offered by everyone; an answer of one token that is refused is no answer.
        if probe.deployment is not None and isinstance(refusal, UpstreamRejected):
            error, code = refusal.message, refusal.code
    except UpstreamError as failure:
        error, code = failure.message, failure.code
    return Result(probe, not code, int((time.perf_counter() - begun) * 1000), error, code)


async def _ask(probe: Probe, session: Any) -> None:
    provider = get_provider(probe.target.kind)
    if probe.deployment is None:
        await provider.list_models(session=session, target=probe.target)
        return
    request = {
        "model": probe.target.upstream_model,
        "messages": [{"role": "user", "content": "Say: ok"}],
        "max_tokens": 1,
    }
    await provider.complete(session=session, target=probe.target, request=request, request_id="probe")
