"""Bring the catalogue files and the environment's providers into the database, again and again, without harm."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from apps.billing.choices import ServiceTier
from apps.billing.services.prices import set_price
from apps.billing.services.pricing import PriceCard
from apps.core.actor import Actor
from apps.core.locks import lock
from apps.events.services import publish
from apps.gateway.choices import Capability, ProviderKind, Tier
from apps.gateway.events import CatalogueLoaded
from apps.gateway.models import Deployment, Model, Provider
from apps.gateway.providers.base import UpstreamError
from apps.gateway.providers.registry import get_provider
from apps.gateway.runtime.sessions import Sessions
from apps.gateway.selectors.catalogue import build_target
from apps.gateway.services.announcing import announce_catalogue_change
from apps.gateway.services.catalogue_files import CatalogueModel, read_catalogue

logger = structlog.get_logger(__name__)

CATALOGUE_ID = UUID("00000000-0000-7000-8000-000000000001")
"""The one catalogue, as an aggregate of events."""
DISCOVERY_SECONDS = 3.0
LATEST = ":latest"
PLAIN_PRICES = frozenset({"input_micros", "output_micros", "cached_micros", "cache_write_micros", "reasoning_micros"})


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load found and did."""

    providers: int
    models: int
    deployments: int
    changed: int


@transaction.atomic
def load_catalogue(*, actor: Actor, discovered: Mapping[str, Sequence[str]] | None = None) -> LoadResult:
    """Create and update models, prices, providers and deployments.

    What staff edited stays as it is, field by field: only values that are still the ones loaded before are replaced.
    Deployments are made for the providers that the environment names, and are never switched on again. `discovered` holds
    the names of models that a provider's own server listed.
    """
    lock("gateway.load_catalogue")
    catalogue = read_catalogue()
    changed = 0
    models = {model.name: model for model in Model.objects.select_for_update().order_by("name")}
    for slug, entries in catalogue.items():
        for entry in entries:
            if slug != ProviderKind.OLLAMA:
                changed += _load_model(entry, models)
                changed += _load_price(slug, entry, models[entry.name], actor)
    providers = _load_providers()
    deployments = {(row.provider_id, row.upstream_model) for row in Deployment.objects.order_by("id")}
    for provider in providers:
        names = _names_at(provider, catalogue, discovered or {}, models)
        for name, upstream_model in names:
            if (provider.id, upstream_model) not in deployments:
                Deployment.objects.get_or_create(model=models[name], provider=provider, upstream_model=upstream_model)
                changed += 1
    if changed:
        event = CatalogueLoaded(
            aggregate_id=CATALOGUE_ID, models=len(models), deployments=Deployment.objects.count(), changed=changed
        )
        publish(event, actor=actor)
        announce_catalogue_change()
    return LoadResult(
        providers=len(providers), models=len(models), deployments=Deployment.objects.count(), changed=changed
    )


def discover_models() -> dict[str, list[str]]:
    """Return what the environment's own servers (Ollama) list, by provider; a server that is down lists nothing."""
    if ProviderKind.OLLAMA not in settings.GATEWAY_PROVIDERS:
        return {}
    provider = Provider(slug=ProviderKind.OLLAMA.value, kind=ProviderKind.OLLAMA, name="Ollama", from_environment=True)
    try:
        return {provider.slug: asyncio.run(list_provider_models(provider))}
    except (UpstreamError, TimeoutError) as error:
        logger.warning("models_undiscovered", provider=provider.slug, error=str(error))
        return {}


async def list_provider_models(provider: Provider) -> list[str]:
    """Return the models that a provider's server lists. Raise UpstreamError or TimeoutError when it does not answer."""
    target = build_target(provider)
    if target is None:
        return []
    async with asyncio.timeout(DISCOVERY_SECONDS), Sessions() as sessions:
        session = sessions.choose(target.base_url, is_operators=provider.from_environment)
        return await get_provider(provider.kind).list_models(session=session, target=target)


def _load_model(entry: CatalogueModel, models: dict[str, Model]) -> int:
    """Create a model, or update what staff left alone; return 1 when something changed."""
    model = models.get(entry.name)
    if model is None:
        loaded = {**entry.values}
        models[entry.name] = Model.objects.create(name=entry.name, loaded_values=loaded, **entry.values)
        return 1
    before = model.loaded_values
    updates = {
        name: value
        for name, value in entry.values.items()
        if name in before and getattr(model, name) == before[name] and before[name] != value
    }
    if not updates:
        return 0
    for name, value in updates.items():
        setattr(model, name, value)
    model.loaded_values = {**before, **updates}
    model.save(update_fields=[*updates, "loaded_values", "updated_at"])
    return 1


def _load_price(slug: str, entry: CatalogueModel, model: Model, actor: Actor) -> int:
    """Set the prices, of each service tier, that the file gives for the first time or gives anew; return 1 for a change."""
    if entry.price is None:
        return 0
    held = model.loaded_values.get("prices", {})
    cards = {ServiceTier.STANDARD.value: entry.price, **entry.tiers}
    names = {tier: slug if tier == ServiceTier.STANDARD else f"{slug} {tier}" for tier in cards}
    told = {names[tier]: _remember(card, entry) for tier, card in cards.items()}
    changed = [
        set_price(provider=slug, model=entry.name, card=card, valid_from=entry.as_of, actor=actor, service_tier=tier)
        for tier, card in cards.items()
        if held.get(names[tier]) != told[names[tier]]
    ]
    if changed:
        model.loaded_values = {**model.loaded_values, "prices": {**held, **told}}
        model.save(update_fields=["loaded_values", "updated_at"])
    return int(any(changed))


def _remember(card: PriceCard, entry: CatalogueModel) -> dict[str, Any]:
    """Return what a file said, as it is compared at the next load: what it may leave out only where it did not."""
    told = {name: value for name, value in asdict(card).items() if name in PLAIN_PRICES or value is not None}
    return {**told, "as_of": entry.as_of.isoformat()}


def _load_providers() -> list[Provider]:
    """Return the rows of the environment's providers, made where missing. A provider of staff's keeps its slug."""
    providers = []
    for slug, named in settings.GATEWAY_PROVIDERS.items():
        provider, _ = Provider.objects.get_or_create(
            slug=slug,
            defaults={"kind": slug, "name": named["name"], "base_url": named["base_url"], "from_environment": True},
        )
        if not provider.from_environment:
            logger.warning("provider_slug_taken", slug=slug)
            continue
        if provider.base_url != named["base_url"]:
            provider.base_url = named["base_url"]  # for show: calls take the setting itself
            provider.save(update_fields=["base_url", "updated_at"])
        providers.append(provider)
    return providers


def _names_at(
    provider: Provider,
    catalogue: Mapping[str, list[CatalogueModel]],
    discovered: Mapping[str, Sequence[str]],
    models: dict[str, Model],
) -> list[tuple[str, str]]:
    """Return (public name, upstream name) of what a provider serves; models it discovered are made here."""
    if provider.kind != ProviderKind.OLLAMA:
        return [(entry.name, entry.name) for entry in catalogue.get(provider.slug, ())]
    families = {entry.name: entry for entry in catalogue.get(provider.slug, ())}
    pairs = []
    for upstream_model in discovered.get(provider.slug, ()):
        name = upstream_model.removesuffix(LATEST)
        if name not in models:
            models[name] = Model.objects.create(name=name, **_describe_discovered(name, families))
        pairs.append((name, upstream_model))
    return pairs


def _describe_discovered(name: str, families: Mapping[str, CatalogueModel]) -> dict[str, Any]:
    known = families.get(name.partition(":")[0].rpartition("/")[2])
    if known is not None:
        return {**known.values, "loaded_values": known.values}
    capability = Capability.EMBEDDINGS if "embed" in name else Capability.CHAT
    return {"tier": Tier.T0, "capabilities": [capability.value], "owned_by": ProviderKind.OLLAMA.value}
