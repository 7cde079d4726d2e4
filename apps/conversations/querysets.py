"""Questions about conversations, messages and runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from apps.conversations.choices import ACTIVE
from apps.core.actor import Actor, ActorKind

# A silent process is given this long after it was first suspected: when the database itself was away, every lease has
# run out, and the living need a moment to renew theirs.
SUSPICION = timedelta(seconds=4)


def _owned_by(actor: Actor, prefix: str = "") -> Q:
    return Q(**{f"{prefix}organization_id": actor.organization_id, f"{prefix}user_id": actor.user_id})


class ConversationQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the actor's own conversations in the organization it acts in; the platform itself sees all."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(_owned_by(actor)) if actor.user_id and actor.organization_id else self.none()

    def alive(self) -> Self:
        return self.filter(deleted_at__isnull=True)

    def deleted(self) -> Self:
        return self.filter(deleted_at__isnull=False)

    def titled_like(self, text: str) -> Self:
        """Keep titles that contain every word of the text, in any order and case."""
        found = self
        for word in text.split():
            found = found.filter(title__icontains=word)
        return found

    def locked(self) -> Self:
        """Lock the rows in order of key. Needs a transaction."""
        return self.select_for_update(of=("self",)).order_by("id")


class MessageQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the messages of the actor's own, undeleted conversations."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not (actor.user_id and actor.organization_id):
            return self.none()
        return self.filter(_owned_by(actor, "conversation__"), conversation__deleted_at__isnull=True)

    def alive(self) -> Self:
        return self.filter(deleted_at__isnull=True)


class RunQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the runs of the actor's own, undeleted conversations."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not (actor.user_id and actor.organization_id):
            return self.none()
        return self.filter(_owned_by(actor), conversation__deleted_at__isnull=True)

    def active(self) -> Self:
        return self.filter(status__in=ACTIVE)

    def held_by(self, process_id: UUID) -> Self:
        """Keep the active runs that this process answers."""
        return self.active().filter(owner_id=process_id)

    def abandoned(self, processes: models.QuerySet[Any]) -> Self:
        """Keep active runs whose process is neither alive nor only just suspected of being dead."""
        hopeful = Q(lease_until__gt=Now()) | Q(suspected_at__isnull=True) | Q(suspected_at__gt=Now() - SUSPICION)
        return self.active().exclude(models.Exists(processes.filter(hopeful, id=models.OuterRef("owner_id"))))

    def locked(self) -> Self:
        """Lock the rows in order of key. Needs a transaction."""
        return self.select_for_update(of=("self",)).order_by("id")
