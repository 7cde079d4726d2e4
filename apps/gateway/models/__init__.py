"""Nouns of the gateway."""

from apps.gateway.models.cache import DIMENSIONS, LONGEST_TTL_SECONDS, CachedAnswer, CacheDay, CachePolicy
from apps.gateway.models.catalogue import MODEL_NAME, Deployment, Model, Provider
from apps.gateway.models.guardrails import GuardBinding, GuardHit, GuardPolicy
from apps.gateway.models.limits import Limit
from apps.gateway.models.responses import RespondingProcess, ResponseEvents, StoredResponse
from apps.gateway.models.routing import Alias, HealthCheck, HealthState, RoutingRule

__all__ = [
    "DIMENSIONS",
    "LONGEST_TTL_SECONDS",
    "MODEL_NAME",
    "Alias",
    "CacheDay",
    "CachePolicy",
    "CachedAnswer",
    "Deployment",
    "GuardBinding",
    "GuardHit",
    "GuardPolicy",
    "HealthCheck",
    "HealthState",
    "Limit",
    "Model",
    "Provider",
    "RespondingProcess",
    "ResponseEvents",
    "RoutingRule",
    "StoredResponse",
]
