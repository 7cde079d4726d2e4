"""Nouns of the gateway."""

from apps.gateway.models.catalogue import MODEL_NAME, Deployment, Model, Provider

__all__ = ["MODEL_NAME", "Deployment", "Model", "Provider"]
