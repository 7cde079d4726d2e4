"""Rate limits: saved and deleted. They hold for the next call of every process."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import InvalidInput
from apps.events.services import publish
from apps.gateway.events import LimitChanged, LimitDeleted
from apps.gateway.models import Limit
from apps.users.services.announcing import PLATFORM_ID, announce_identity_change


@transaction.atomic
def save_limit(*, limit: Limit, actor: Actor, fields: tuple[str, ...] = ()) -> Limit:
    """Store a new limit, or the named `fields` of one that exists. Raise InvalidInput for what cannot be a limit."""
    try:
        limit.full_clean()
    except ValidationError as error:
        found = {name: [str(text) for text in texts] for name, texts in error.message_dict.items()}
        raise InvalidInput("; ".join(text for texts in found.values() for text in texts), errors=found) from error
    is_new = limit._state.adding
    limit.save(update_fields=None if is_new else [*fields, "updated_at"])
    publish(
        LimitChanged(
            aggregate_id=limit.id,
            organization_id=limit.organization_id,
            scope=limit.scope,
            is_new=is_new,
            fields=tuple(sorted(fields)),
        ),
        actor=actor,
    )
    _announce(limit)
    return limit


@transaction.atomic
def delete_limit(*, limit: Limit, actor: Actor) -> None:
    """Take a limit away."""
    fact: dict[str, Any] = {"aggregate_id": limit.id, "organization_id": limit.organization_id, "scope": limit.scope}
    if Limit.objects.filter(id=limit.id).delete()[0]:
        publish(LimitDeleted(**fact), actor=actor)
        _announce(limit)


def _announce(limit: Limit) -> None:
    if limit.organization_id is None:
        announce_identity_change(kind="platform", id=PLATFORM_ID)
    else:
        announce_identity_change(kind="organization", id=limit.organization_id)
