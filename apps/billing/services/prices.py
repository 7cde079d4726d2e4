"""Change what a model costs, without forgetting what it cost."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from django.db import transaction

from apps.billing.choices import ServiceTier
from apps.billing.events import PriceChanged
from apps.billing.models import Price, PriceCard
from apps.core.actor import Actor
from apps.core.locks import lock
from apps.events.services import publish


@transaction.atomic
def set_price(
    *,
    provider: str,
    model: str,
    card: PriceCard,
    valid_from: datetime,
    actor: Actor,
    service_tier: str = ServiceTier.STANDARD,
) -> bool:
    """Let a model cost `card` from a moment on, in one service tier; tell whether that changed anything.

    Nothing is closed or deleted: a new row counts from its moment on, one of the same moment is corrected. Where the price
    of that moment is the same already, nothing is written.
    """
    lock(f"billing.price:{provider}:{model}")
    held = Price.objects.of_model(provider, model, service_tier).valid_at(valid_from).first()
    if held is not None and held.card == card:
        return False
    price, _ = Price.objects.update_or_create(
        provider=provider,
        model=model,
        service_tier=service_tier,
        valid_from=valid_from,
        defaults={**asdict(card), "valid_until": None},
    )
    announce_price(price=price, actor=actor)
    return True


def announce_price(*, price: Price, actor: Actor) -> None:
    """Publish that a price was written. Needs the transaction that wrote it."""
    publish(
        PriceChanged(
            aggregate_id=price.id,
            provider=price.provider,
            model=price.model,
            service_tier=price.service_tier,
            valid_from=price.valid_from,
            **asdict(price.card),
        ),
        actor=actor,
    )
