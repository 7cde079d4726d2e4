"""The catalogue as running processes hold it: one immutable snapshot with everything a call needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

import structlog
from django.conf import settings

from apps.billing.selectors import price_list
from apps.billing.services.pricing import PriceCard
from apps.core.outbound.errors import OutboundRefused
from apps.core.outbound.guard import inspect_url
from apps.gateway.choices import ProviderKind, Strategy
from apps.gateway.models import Deployment, Model, Provider
from apps.gateway.providers.base import Target
from apps.gateway.selectors.routing import NO_FALLBACKS, NO_ROUTING, Fallbacks, RoutingTable, fallbacks_of, load_routing

logger = structlog.get_logger(__name__)

NO_TIERS: Mapping[str, PriceCard] = MappingProxyType({})
FREE = PriceCard(input_micros=0, output_micros=0, cached_micros=0, cache_write_micros=0, reasoning_micros=None)
"""What answers cost that nobody charges for."""
UNPRICED = PriceCard(input_micros=0, output_micros=0, cached_micros=0, cache_write_micros=0, reasoning_micros=None)
"""What a model without a price costs: nothing is known, so nothing. Not the same object as a price of zero."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as people and programs are told of it."""

    id: str
    name: str
    tier: str
    context_window: int | None
    max_output_tokens: int | None
    capabilities: tuple[str, ...]
    owned_by: str
    created: int
    """Unix seconds at which the model entered the catalogue."""
    is_sandbox: bool
    providers: tuple[str, ...]
    """Slugs, the preferred one first."""
    price: PriceCard | None
    """At the preferred provider; None when it has none."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to a model."""

    deployment_id: str
    target: Target
    price: PriceCard
    priority: int
    weight: int
    is_operators: bool
    """The address comes from the operator's environment: private networks are no surprise there."""
    max_parallel: int | None = None
    """Calls at the same time over all processes; None for no limit."""
    max_attempts: int = 2
    """How often one call may be sent here."""
    cool_down_failures: int = 5
    cool_down_seconds: float = 10.0
    tier_prices: Mapping[str, PriceCard] = field(default_factory=lambda: NO_TIERS)
    """What it costs in service tiers that have prices of their own."""

    def price_in(self, service_tier: str) -> PriceCard:
        """Return what it costs in a service tier that an answer named: its own price, or the standard one."""
        return self.tier_prices.get(service_tier, self.price)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model and the ways to it."""

    info: ModelInfo
    routes: tuple[Route, ...]
    strategy: str = Strategy.WEIGHTED.value
    fallbacks: Fallbacks = NO_FALLBACKS


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole catalogue at one moment: callable models by name, in alphabetical order."""

    models: Mapping[str, ModelEntry]
    taken_at: datetime
    routing: RoutingTable = NO_ROUTING


def load_snapshot(*, now: datetime | None = None) -> Snapshot:
    """Return the catalogue with the prices valid now. Five queries, whatever its size (six with rules)."""
    now = now or datetime.now(UTC)
    listed = price_list(now)
    prices = listed.standard
    routes: dict[str, list[Route]] = {}
    models: dict[str, Model] = {}
    rows = Deployment.objects.active().select_related("model", "provider").order_by("model__name", "priority", "id")
    for deployment in rows:
        target = build_target(deployment.provider, deployment)
        if target is None:
            continue
        name = deployment.model.name
        models[name] = deployment.model
        routes.setdefault(name, []).append(
            Route(
                deployment_id=deployment.public_id,
                target=target,
                price=prices.get((target.provider, target.upstream_model)) or stand_in_price(target.kind),
                priority=deployment.priority,
                weight=deployment.weight,
                is_operators=deployment.provider.from_environment,
                max_parallel=deployment.max_parallel,
                max_attempts=deployment.max_attempts,
                cool_down_failures=deployment.cool_down_failures,
                cool_down_seconds=deployment.cool_down_seconds,
                tier_prices=listed.tiers.get((target.provider, target.upstream_model), NO_TIERS),
            )
        )
    entries = {
        name: ModelEntry(
            info=describe_model(model, [r.target.provider for r in routes[name]], prices),
            routes=tuple(routes[name]),
            strategy=model.strategy,
            fallbacks=fallbacks_of(model),
        )
        for name, model in models.items()
    }
    return Snapshot(models=MappingProxyType(entries), taken_at=now, routing=load_routing())


def stand_in_price(kind: str) -> PriceCard:
    """Return what a deployment without a price of its own costs: the sandbox nothing, others as the settings say."""
    if kind == ProviderKind.SANDBOX:
        return FREE
    if settings.GATEWAY_UNPRICED_MODELS == "cap":
        micros = settings.GATEWAY_UNPRICED_MICROS
        return PriceCard(input_micros=micros, output_micros=micros, cached_micros=micros, cache_write_micros=micros)
    return UNPRICED


def describe_model(model: Model, providers: list[str], prices: Mapping[tuple[str, str], PriceCard]) -> ModelInfo:
    """Return what may be told of a model that `providers` serve, in that order."""
    slugs = tuple(dict.fromkeys(providers))
    return ModelInfo(
        id=model.public_id,
        name=model.name,
        tier=model.tier,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=tuple(model.capabilities),
        owned_by=model.owned_by,
        created=int(model.created_at.timestamp()),
        is_sandbox=model.is_sandbox,
        providers=slugs,
        price=next((prices[slug, model.name] for slug in slugs if (slug, model.name) in prices), None),
    )


def build_target(provider: Provider, deployment: Deployment | None = None) -> Target | None:
    """Return where calls to a provider go; None when the environment no longer names it, or its address is refused.

    Without a deployment the target is good for listing models, that is for a test of the connection.
    """
    base_url, credential = provider.base_url, provider.credential
    if provider.from_environment:
        named = settings.GATEWAY_PROVIDERS.get(provider.slug)
        if named is None:
            return None
        base_url, credential = named["base_url"], named["credential"]
    elif provider.kind != ProviderKind.SANDBOX:
        try:
            inspect_url(base_url)
        except OutboundRefused as error:
            logger.warning("provider_address_refused", provider=provider.slug, error=error.message)
            return None
    return Target(
        provider=provider.slug,
        kind=provider.kind,
        base_url=base_url.rstrip("/"),
        credential=credential,
        upstream_model=deployment.upstream_model if deployment else "",
        connect_timeout_seconds=deployment.connect_timeout_seconds if deployment else 5.0,
        read_timeout_seconds=deployment.read_timeout_seconds if deployment else 15.0,
    )
