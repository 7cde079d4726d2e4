"""Questions to the trail."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.db import models
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from apps.audit.choices import Operation, Source
from apps.core.actor import Actor, ActorKind
from apps.core.errors import InvalidInput
from apps.core.ids import decode_id
from apps.events.events import event_types

ADMINISTRATORS = frozenset({"owner", "admin"})
SEARCHED_DOCUMENTS = ("actor", "before", "after", "payload")
_PUBLIC_ID = re.compile(r"^([a-z][a-z_]*)_[0-7][0-9a-z]{25}$")
_ACTOR_FIELDS = ("user_id", "api_key_id", "oauth_client_id", "impersonator_id")


def plain_id(text: str) -> str:
    """Return the stored form of a public id (`key_01…` → a UUID); any other text as it is."""
    match = _PUBLIC_ID.match(text)
    if match is None:
        return text
    try:
        return str(decode_id(match.group(1), text))
    except InvalidInput:
        return text


class TrailQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the trail of the organization that the actor administers; the platform itself sees all."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not actor.organization_id or actor.role not in ADMINISTRATORS:
            return self.none()
        return self.filter(organization_id=actor.organization_id)

    def newest_first(self) -> Self:
        return self.order_by("-occurred_at", "-id")

    def summaries(self) -> Self:
        """Leave the documents out: a list does not show them."""
        return self.defer("before", "after", "payload")

    def of_type(self, name: str) -> Self:
        """Keep an event type (`price.changed`), a table (`users_apikey`) or one operation on it (`users_apikey.updated`)."""
        if name in event_types():  # the source lets the planner skip the other half of the trail
            return self.filter(source=Source.EVENT, type=name)
        table, _, operation = name.rpartition(".")
        if table and operation in Operation.values:
            return self.filter(source=Source.CHANGE, object_type=table, action=operation)
        return self.filter(Q(type=name) | Q(object_type=name))

    def of_object(self, object_id: str, *, table: str = "") -> Self:
        """Keep what happened to one object, named by its public or plain id.

        Ids that are not UUIDs are only unique within a table: name it.
        """
        found = self.filter(object_id=plain_id(object_id))
        return found.filter(Q(source=Source.EVENT) | Q(object_type=table)) if table else found

    def by(self, actor_id: str) -> Self:
        """Keep what one user, key or client did, named by its public or plain id."""
        plain = plain_id(actor_id)
        asked = Q()
        for field in _ACTOR_FIELDS:
            asked |= Q(actor__contains={field: plain})
        return self.filter(asked)

    def search(self, words: str) -> Self:
        """Keep entries in which every word occurs: in the type, an id, the request, the actor, before, after or payload."""
        found = self.alias(**{f"{name}_text": Cast(name, TextField()) for name in SEARCHED_DOCUMENTS})
        for word in words.split():
            plain = plain_id(word)
            asked = Q(type__icontains=word) | Q(object_id__icontains=plain) | Q(request_id__icontains=word)
            for name in SEARCHED_DOCUMENTS:
                asked |= Q(**{f"{name}_text__icontains": plain})
            found = found.filter(asked)
        return found

    def after(self, moment: datetime, entry_id: UUID) -> Self:
        """Keep what comes after an entry in a list with the newest first: what is older."""
        return self.filter(Q(occurred_at__lt=moment) | Q(occurred_at=moment, id__lt=entry_id), occurred_at__lte=moment)

    def before(self, moment: datetime, entry_id: UUID) -> Self:
        """Keep what comes before an entry in a list with the newest first: what is newer."""
        return self.filter(Q(occurred_at__gt=moment) | Q(occurred_at=moment, id__gt=entry_id), occurred_at__gte=moment)
