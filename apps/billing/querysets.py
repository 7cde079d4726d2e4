"""Questions to the price list and the usage."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Count, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from apps.billing.choices import ServiceTier, UsageStatus
from apps.core.actor import Actor, ActorKind

ADMINISTRATORS = frozenset({"owner", "admin"})
SUMS = ("requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_micros")
TIMES = ("latency_ms_sum", "first_token_ms_sum", "first_token_count")


class PriceQuerySet(models.QuerySet[Any]):
    def valid_at(self, at: datetime) -> Self:
        """Keep one price per provider, model and service tier: the newest that is valid at the moment."""
        return (
            self.filter(Q(valid_until__isnull=True) | Q(valid_until__gt=at), valid_from__lte=at)
            .order_by("provider", "model", "service_tier", "-valid_from")
            .distinct("provider", "model", "service_tier")
        )

    def of_model(self, provider: str, model: str, service_tier: str = ServiceTier.STANDARD) -> Self:
        """Keep the history of one model's price in one service tier, newest first."""
        return self.filter(provider=provider, model=model, service_tier=service_tier).order_by("-valid_from")


class UsageQuerySet(models.QuerySet[Any]):
    """What usage records and their hourly sums have in common."""

    time_column = "created_at"

    def visible_to(self, actor: Actor) -> Self:
        """Keep what the actor's organization used: all for its administrators, else the actor's own.

        A key that belongs to nobody sees what was done with it.
        """
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if not actor.organization_id:
            return self.none()
        found = self.filter(organization_id=actor.organization_id)
        if actor.role in ADMINISTRATORS:
            return found
        if actor.user_id:
            return found.filter(user_id=actor.user_id)
        return found.filter(api_key_id=actor.api_key_id) if actor.api_key_id else self.none()

    def between(self, since: datetime | None, until: datetime | None) -> Self:
        """Keep `since <= time < until`; None leaves that side open."""
        found = self
        if since is not None:
            found = found.filter(**{f"{self.time_column}__gte": since})
        if until is not None:
            found = found.filter(**{f"{self.time_column}__lt": until})
        return found

    def summed(self, *groups: str) -> models.QuerySet[Any, dict[str, Any]]:
        """Return one row of sums per group, `total_` before the name of each field."""
        return self.order_by().values(*groups).annotate(**self.sums())

    def total(self) -> dict[str, int]:
        """Return the sums over all rows, named as in `summed`."""
        return self.aggregate(**self.sums())

    def sums(self) -> dict[str, Any]:
        """Return the expressions of SUMS and TIMES over this table."""
        raise NotImplementedError


class UsageRecordQuerySet(UsageQuerySet):
    def charged(self) -> Self:
        """Add `charged_micros`: what each call costs with its adjustments."""
        return self.annotate(charged_micros=F("cost_micros") + Coalesce(self._adjustments(), 0))

    def sums(self) -> dict[str, Any]:
        """Return the sums over records, costs with their adjustments: the same figures as the hours hold."""
        columns: dict[str, Any] = {
            "requests": Count("*"),
            "errors": Count("id", filter=Q(status__in=[UsageStatus.ERROR, UsageStatus.INTERRUPTED])),
            "cost_micros": Sum(F("cost_micros") + Coalesce(self._adjustments(), 0)),
            "latency_ms_sum": Sum("latency_ms"),
            "first_token_ms_sum": Sum("first_token_ms"),
            "first_token_count": Count("first_token_ms"),
        }
        return {f"total_{name}": Coalesce(columns.get(name, Sum(name)), 0) for name in SUMS + TIMES}

    def _adjustments(self) -> Subquery:
        made = self.model.adjustments().filter(record_id=OuterRef("id"), created_at=OuterRef("created_at"))
        return Subquery(made.order_by().values("record_id").annotate(micros=Sum("amount_micros")).values("micros"))


class UsageHourQuerySet(UsageQuerySet):
    time_column = "hour"

    def sums(self) -> dict[str, Any]:
        """Return the sums over hours."""
        return {f"total_{name}": Coalesce(Sum(name), 0) for name in SUMS + TIMES}


class BudgetQuerySet(models.QuerySet[Any]):
    def of_organization_of(self, actor: Actor) -> Self:
        """Keep the budgets of the actor's organization; all for the system."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        return self.filter(organization_id=actor.organization_id) if actor.organization_id else self.none()

    def enforced(self) -> Self:
        """Keep the active ones with a hard limit."""
        return self.filter(is_active=True, hard_micros__isnull=False)


class BudgetPeriodQuerySet(models.QuerySet[Any]):
    def current(self, now: datetime) -> Self:
        """Keep the periods that a moment lies in."""
        return self.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now), starts_at__lte=now)
