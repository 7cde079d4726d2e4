"""Change who runs models."""

from __future__ import annotations

import asyncio

from django.db import transaction

from apps.core.actor import Actor
from apps.events.services import publish
from apps.gateway.events import ProviderChanged
from apps.gateway.models import Provider
from apps.gateway.providers.base import UpstreamTimedOut
from apps.gateway.services.announcing import announce_catalogue_change
from apps.gateway.services.loading import DISCOVERY_SECONDS, list_provider_models

TOLD = ("slug", "kind", "name", "base_url", "credential", "is_active")


@transaction.atomic
def save_provider(*, provider: Provider, actor: Actor) -> Provider:
    """Store a new or changed provider and let running processes know.

    The event names the changed fields, never their values. A credential is dropped when the address changes without it.
    """
    before = Provider.objects.select_for_update().filter(id=provider.id).first()
    provider.save()
    changed = tuple(name for name in TOLD if before is None or getattr(before, name) != getattr(provider, name))
    if changed:
        publish(ProviderChanged(aggregate_id=provider.id, slug=provider.slug, changed=changed), actor=actor)
        announce_catalogue_change()
    return provider


def probe_provider(provider: Provider) -> list[str]:
    """Return the models that a provider lists now: one HTTP request through its adapter. Raise AppError."""
    try:
        return asyncio.run(list_provider_models(provider))
    except TimeoutError:
        raise UpstreamTimedOut(f"{provider.name} did not answer within {DISCOVERY_SECONDS:g} s.") from None
