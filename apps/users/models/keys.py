"""API keys."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from apps.core.models import Entity
from apps.users.models.people import Organization, User
from apps.users.querysets import ApiKeyQuerySet


class ApiKey(Entity):
    """A secret that acts for a user in an organization. Only its SHA-256 is kept; the prefix is what people see.

    Empty `scopes` or `allowed_models` mean no restriction beyond the user's own. Requests and tokens are limited per
    minute, calls at a time by `parallel_calls`; null is no limit.
    While a rotation overlaps, the secret before the present one opens as well, until `previous_expires_at`.
    """

    ID_PREFIX: ClassVar[str] = "key"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys")
    team = models.ForeignKey(
        "users.Team",
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="api_keys",
        help_text="The team that the key's calls count for.",
    )
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=24, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    previous_secret_hash = models.CharField(max_length=64, null=True, blank=True, editable=False)
    previous_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    allowed_models = ArrayField(models.CharField(max_length=160), default=list, blank=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    parallel_calls = models.PositiveIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        constraints = [
            models.UniqueConstraint(fields=["secret_hash"], name="users_apikey_secret_unique"),
            models.UniqueConstraint(fields=["previous_secret_hash"], name="users_apikey_previous_unique"),
            models.CheckConstraint(
                condition=models.Q(previous_secret_hash__isnull=True, previous_expires_at__isnull=True)
                | models.Q(previous_secret_hash__isnull=False, previous_expires_at__isnull=False),
                name="users_apikey_overlap_complete",
            ),
        ]
        indexes = [models.Index(fields=["organization", "-created_at"], name="users_apikey_organization")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_usable(self) -> bool:
        """Tell whether the key itself is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())
