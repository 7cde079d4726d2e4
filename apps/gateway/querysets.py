"""Questions about providers, models and deployments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce, Now, TruncDate
from pgvector.django import CosineDistance

from apps.core.actor import Actor, ActorKind
from apps.gateway.choices import ACTIVE_RESPONSES


class ProviderQuerySet(models.QuerySet[Any]):
    def with_model_count(self) -> Self:
        """Add `model_count`: the models that each serves."""
        serving = Q(deployments__is_active=True, deployments__model__is_active=True)
        return self.annotate(model_count=Count("deployments__model", filter=serving, distinct=True))


class DeploymentQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        """Keep what can be called: deployment, model and provider are all active."""
        return self.filter(is_active=True, model__is_active=True, provider__is_active=True)


class HealthCheckQuerySet(models.QuerySet[Any]):
    def of_providers(self) -> Self:
        """Keep the probes of providers as a whole."""
        return self.filter(deployment_id__isnull=True)


class CachePolicyQuerySet(models.QuerySet[Any]):
    def binding(self, *, organization_id: UUID, team_ids: tuple[UUID, ...], api_key_id: UUID | None) -> Self:
        """Keep the policies that apply to a caller: its organization's, its teams', its key's."""
        of_all = Q(team=None, api_key=None)
        return self.filter(of_all | Q(team__in=team_ids) | Q(api_key=api_key_id, api_key__isnull=False)).filter(
            organization=organization_id
        )

    def with_totals(self, since: date) -> Self:
        """Add `hits`, `semantic_hits`, `misses` and `saved_micros` from a day on, 0 where there are none."""
        recent = Q(days__day__gte=since)
        return self.annotate(
            **{
                name: Coalesce(Sum(f"days__{name}", filter=recent), 0)
                for name in ("hits", "semantic_hits", "misses", "saved_micros")
            }
        )


class CachedAnswerQuerySet(models.QuerySet[Any]):
    def nearest(self, *, context: bytes, vector: list[float], at: datetime) -> Self:
        """Keep the valid answers to questions in the same context, the nearest first; adds `distance` (cosine, 0 to 2)."""
        return (
            self.filter(context=context, expires_at__gt=at)
            .annotate(distance=CosineDistance("embedding", vector))
            .order_by("distance")
        )


# A silent process is given this long after it was first suspected: when the database itself was away, every lease has
# run out, and the living need a moment to renew theirs.
SUSPICION = timedelta(seconds=4)


class StoredResponseQuerySet(models.QuerySet[Any]):
    def visible_to(self, actor: Actor) -> Self:
        """Keep the actor's own responses in the organization it acts in; the platform itself sees all."""
        if actor.kind == ActorKind.SYSTEM:
            return self.all()
        if actor.organization_id is None or not (actor.user_id or actor.oauth_client_id):
            return self.none()
        own = Q(user_id=actor.user_id) if actor.user_id else Q(user=None, oauth_client_id=actor.oauth_client_id)
        return self.filter(own, organization_id=actor.organization_id)

    def kept(self, now: datetime) -> Self:
        """Keep what is not too old to be shown."""
        return self.filter(created_at__gte=now - timedelta(days=settings.RESPONSES_KEEP_DAYS))

    def active(self) -> Self:
        """Keep what is still being written."""
        return self.filter(status__in=ACTIVE_RESPONSES)

    def held_by(self, process_id: UUID) -> Self:
        """Keep what this process writes."""
        return self.active().filter(holder_id=process_id)

    def abandoned(self, processes: models.QuerySet[Any]) -> Self:
        """Keep active responses whose process is neither alive nor only just suspected of being dead."""
        hopeful = Q(lease_until__gt=Now()) | Q(suspected_at__isnull=True) | Q(suspected_at__gt=Now() - SUSPICION)
        return self.active().exclude(models.Exists(processes.filter(hopeful, id=models.OuterRef("holder_id"))))


class LimitQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def about(self, *, organization_id: UUID, subjects: list[str], scopes: tuple[str, ...]) -> Self:
        """Keep the limits of an organization and the platform's that are about one of `subjects`, everybody, or `scopes`."""
        return self.filter(
            Q(organization_id=organization_id) | Q(organization__isnull=True),
            Q(subject__in=["", *subjects]) | Q(scope__in=scopes),
        ).order_by("id")


class CacheDayQuerySet(models.QuerySet[Any]):
    def add_up(self, rows: Sequence[tuple[UUID, date, int, int, int, int]]) -> None:
        """Add rows (policy, day, hits, semantic hits, misses, saved micro-USD) to what is there.

        One statement; the rows of policies that are gone are left out.
        """
        values = ", ".join(["(%s::uuid, %s::date, %s::bigint, %s::bigint, %s::bigint, %s::bigint)"] * len(rows))
        # Every process writes here: rows are locked in one order.
        ordered = sorted(rows, key=lambda row: (str(row[0]), row[1]))
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                INSERT INTO gateway_cacheday AS kept (policy_id, day, hits, semantic_hits, misses, saved_micros)
                SELECT new.* FROM (VALUES {values}) AS new (policy_id, day, hits, semantic_hits, misses, saved_micros)
                JOIN gateway_cachepolicy AS policy ON policy.id = new.policy_id
                ON CONFLICT (policy_id, day) DO UPDATE SET
                    hits = kept.hits + EXCLUDED.hits,
                    semantic_hits = kept.semantic_hits + EXCLUDED.semantic_hits,
                    misses = kept.misses + EXCLUDED.misses,
                    saved_micros = kept.saved_micros + EXCLUDED.saved_micros
                """,  # noqa: S608 - only placeholders are put in
                [value for row in ordered for value in row],
            )


class GuardBindingQuerySet(models.QuerySet[Any]):
    def binding(self, *, organization_id: UUID, team_ids: tuple[UUID, ...], api_key_id: UUID | None) -> Self:
        """Keep the bindings of active policies that apply to a caller: everybody's, its organization's, teams', key's."""
        everybody = Q(organization=None, team=None, api_key=None)
        mine = Q(organization=organization_id) | Q(team__in=team_ids) | Q(api_key=api_key_id, api_key__isnull=False)
        return self.filter(everybody | mine, policy__is_active=True)


class GuardHitQuerySet(models.QuerySet[Any]):
    def per_day(self, since: datetime) -> Self:
        """Return rows of `day`, `mode` and `total`, counted from a moment on, by day."""
        return (
            self.filter(created_at__gte=since)
            .annotate(day=TruncDate("created_at"))
            .values("day", "mode")
            .annotate(total=Sum("count"))
            .order_by("day", "mode")
        )
