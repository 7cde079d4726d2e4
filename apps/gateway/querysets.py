"""Questions about providers, models and deployments."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Exists, OuterRef


class ProviderQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        """Keep providers that calls may go to."""
        return self.filter(is_active=True)


class ModelQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        """Keep models that are offered at all."""
        return self.filter(is_active=True)

    def deployed(self) -> Self:
        """Keep models that at least one active provider serves."""
        deployments = self.model._meta.get_field("deployments").related_model._default_manager.active()
        return self.active().filter(Exists(deployments.filter(model=OuterRef("pk"))))


class DeploymentQuerySet(models.QuerySet[Any]):
    def active(self) -> Self:
        """Keep what can be called: deployment, model and provider are all active."""
        return self.filter(is_active=True, model__is_active=True, provider__is_active=True)
