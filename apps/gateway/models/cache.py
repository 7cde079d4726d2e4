"""Whose answers are kept for whom, answers that are found by meaning, and what the keeping has brought."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from pgvector.django import HalfVectorField, HnswIndex

from apps.core.models import Entity
from apps.gateway.choices import CacheScope
from apps.gateway.querysets import CachedAnswerQuerySet, CacheDayQuerySet, CachePolicyQuerySet
from apps.users.models import ApiKey, Organization, Team

DIMENSIONS = 3072
"""Of stored vectors. Shorter ones are filled up with zeros, which changes no angle between them."""
SHORTEST_TTL_SECONDS = 10
LONGEST_TTL_SECONDS = 30 * 24 * 3600


class CachePolicy(Entity):
    """How answers are cached for an organization, for one of its teams, or for one key.

    Of those that apply to a caller the narrowest holds, whole: key before team before organization. One that caches
    neither way switches the cache off for its team or key. What was cached under one policy, or before it was last
    changed (`generation`), is never given under another.
    """

    ID_PREFIX: ClassVar[str] = "cpol"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="cache_policies")
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.CASCADE, related_name="cache_policies")
    api_key = models.ForeignKey(
        ApiKey, null=True, blank=True, on_delete=models.CASCADE, related_name="cache_policies", verbose_name="API key"
    )
    is_exact = models.BooleanField("exact", default=True, help_text="Answer repeated requests from the cache.")
    is_semantic = models.BooleanField(
        "semantic", default=False, help_text="Answer questions that mean the same, though in other words."
    )
    ttl_seconds = models.PositiveIntegerField(
        "time to live",
        default=3600,
        validators=[MinValueValidator(SHORTEST_TTL_SECONDS), MaxValueValidator(LONGEST_TTL_SECONDS)],
        help_text="Seconds for which an answer is given again.",
    )
    scope = models.CharField(
        max_length=16,
        choices=CacheScope.choices,
        default=CacheScope.ORGANIZATION,
        help_text="Who gets whose answers, among those whom the policy applies to.",
    )
    similarity = models.FloatField(
        default=0.95,
        validators=[MinValueValidator(0.5), MaxValueValidator(1.0)],
        help_text="Cosine similarity from which two questions mean the same: 0.95 is careful, 0.85 is bold.",
    )
    embedding_model = models.CharField(
        max_length=160, blank=True, help_text="Model that turns questions into vectors; each costs an embeddings call."
    )
    max_temperature = models.FloatField(
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(2.0)],
        help_text="Requests with a higher temperature want variety and are not cached; empty: no bound.",
    )
    hit_price_percent = models.PositiveSmallIntegerField(
        "price of a hit",
        default=0,
        validators=[MaxValueValidator(100)],
        help_text="Percent of what the answer would have cost.",
    )
    generation = models.PositiveIntegerField(default=1, editable=False)

    objects = CachePolicyQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "cache policies"
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(team=None, api_key=None),
                name="gateway_cachepolicy_organization_once",
                violation_error_message="The organization has a cache policy.",
            ),
            models.UniqueConstraint(
                fields=["team"],
                condition=Q(team__isnull=False),
                name="gateway_cachepolicy_team_once",
                violation_error_message="The team has a cache policy.",
            ),
            models.UniqueConstraint(
                fields=["api_key"],
                condition=Q(api_key__isnull=False),
                name="gateway_cachepolicy_key_once",
                violation_error_message="The key has a cache policy.",
            ),
            models.CheckConstraint(
                condition=Q(team=None) | Q(api_key=None),
                name="gateway_cachepolicy_one_subject",
                violation_error_message="Name a team or a key, not both.",
            ),
            models.CheckConstraint(condition=Q(hit_price_percent__lte=100), name="gateway_cachepolicy_hit_price_share"),
            models.CheckConstraint(
                condition=Q(similarity__gte=0.5, similarity__lte=1.0), name="gateway_cachepolicy_similarity_range"
            ),
            models.CheckConstraint(
                condition=Q(is_semantic=False) | ~Q(embedding_model=""),
                name="gateway_cachepolicy_semantic_needs_model",
                violation_error_message="Name the embedding model that compares questions.",
            ),
        ]

    def __str__(self) -> str:
        return f"cache of {self.subject}"

    @property
    def subject(self) -> str:
        """Return whom the policy is for."""
        return str(self.api_key or self.team or self.organization)

    def clean(self) -> None:
        """Refuse a team or key of another organization."""
        for name in ("team", "api_key"):
            bound: Any = getattr(self, name)
            if bound is not None and bound.organization_id != self.organization_id:
                raise ValidationError({name: "This belongs to another organization."})


class CachedAnswer(models.Model):
    """One answer that is found by the meaning of its question. The answer is encrypted; the question is not kept."""

    id = models.BigAutoField(primary_key=True)
    policy = models.ForeignKey(CachePolicy, on_delete=models.CASCADE, related_name="answers", db_index=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    user_id = models.UUIDField(null=True, db_index=True, help_text="Who asked.")
    context = models.BinaryField(max_length=32, help_text="Hash of everything about the request but its question.")
    embedding = HalfVectorField(dimensions=DIMENSIONS)
    answer = models.TextField()
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    objects = CachedAnswerQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["context", "expires_at"], name="gateway_cached_context"),
            models.Index(fields=["policy"], name="gateway_cached_policy"),
            HnswIndex(
                name="gateway_cached_meaning",
                fields=["embedding"],
                m=16,
                ef_construction=64,
                opclasses=["halfvec_cosine_ops"],
            ),
        ]

    def __str__(self) -> str:
        return f"answer {self.pk} of {self.created_at:%Y-%m-%d %H:%M}"


class CacheDay(models.Model):
    """What one policy has brought on one day (UTC). Statistics, written every few seconds; money is in usage records."""

    id = models.BigAutoField(primary_key=True)
    policy = models.ForeignKey(CachePolicy, on_delete=models.CASCADE, related_name="days", db_index=False)
    day = models.DateField()
    hits = models.PositiveBigIntegerField(default=0)
    semantic_hits = models.PositiveBigIntegerField(default=0)
    misses = models.PositiveBigIntegerField(default=0)
    saved_micros = models.PositiveBigIntegerField(default=0)

    objects = CacheDayQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["policy", "day"], name="gateway_cacheday_once")]

    def __str__(self) -> str:
        return f"{self.day}: {self.hits} of {self.hits + self.misses}"
