"""Facts of the gateway's catalogue. Calls are no events: they are usage records of billing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from apps.events.events import DomainEvent

ONLY_AUDIT = "the audit trail keeps it; running processes are told over Redis"


@dataclass(frozen=True, kw_only=True)
class ProviderChanged(DomainEvent):
    """A provider was added, or its address, credential or state changed."""

    type: ClassVar[str] = "provider.changed"
    aggregate_type: ClassVar[str] = "provider"
    example: ClassVar[dict[str, Any]] = {"slug": "openai", "changed": ["base_url", "credential"]}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    slug: str
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CatalogueLoaded(DomainEvent):
    """The catalogue file and the environment's providers were brought into the database, and something changed."""

    type: ClassVar[str] = "catalogue.loaded"
    aggregate_type: ClassVar[str] = "catalogue"
    example: ClassVar[dict[str, Any]] = {"models": 42, "deployments": 40, "changed": 3}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    models: int
    deployments: int
    changed: int
