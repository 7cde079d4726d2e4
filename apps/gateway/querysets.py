"""Questions about providers, models and deployments."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Count, Q


class ProviderQuerySet(models.QuerySet[Any]):
    def with_model_count(self) -> Self:
        """Add `model_count`: the models that each serves."""
        serving = Q(deployments__is_active=True, deployments__model__is_active=True)
        return self.annotate(model_count=Count("deployments__model", filter=serving, distinct=True))


class DeploymentQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        """Keep what can be called: deployment, model and provider are all active."""
        return self.filter(is_active=True, model__is_active=True, provider__is_active=True)
