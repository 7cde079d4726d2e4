"""Entries of the trail are made by what they tell of: this makes something happen."""

from __future__ import annotations

from apps.core.actor import Actor
from apps.core.context import bound
from apps.users.models import ApiKey, Membership
from tests.factories.users import ApiKeyFactory


def make_key_as(actor: Actor, membership: Membership, *, name: str = "CI") -> ApiKey:
    """Return a fresh API key of a member, made by the actor in the actor's request."""
    with bound(actor=actor):
        return ApiKeyFactory(membership=membership, name=name)


def rename_as(actor: Actor, key: ApiKey, name: str) -> None:
    """Rename a key as the actor."""
    with bound(actor=actor):
        ApiKey.objects.filter(id=key.id).update(name=name)
