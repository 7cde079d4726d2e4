"""Facts of the gateway's catalogue. Calls are no events: they are usage records of billing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

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


@dataclass(frozen=True, kw_only=True)
class CallStopRequested(DomainEvent):
    """Staff asked for a running call to be ended. How it ended is in its usage record, which has the same id."""

    type: ClassVar[str] = "call.stop_requested"
    aggregate_type: ClassVar[str] = "call"
    example: ClassVar[dict[str, Any]] = {}
    unheard_because: ClassVar[str] = ONLY_AUDIT


@dataclass(frozen=True, kw_only=True)
class LimitChanged(DomainEvent):
    """A rate limit was made, or fields of it changed; their names, not their values."""

    type: ClassVar[str] = "limit.changed"
    aggregate_type: ClassVar[str] = "limit"
    example: ClassVar[dict[str, Any]] = {"scope": "team", "is_new": False, "fields": ["requests_per_minute"]}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    scope: str
    is_new: bool
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LimitDeleted(DomainEvent):
    """A rate limit was taken away."""

    type: ClassVar[str] = "limit.deleted"
    aggregate_type: ClassVar[str] = "limit"
    example: ClassVar[dict[str, Any]] = {"scope": "team"}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    scope: str


@dataclass(frozen=True, kw_only=True)
class GuardPolicyChanged(DomainEvent):
    """A guardrail policy was made, or fields of it changed; their names, not their values."""

    type: ClassVar[str] = "guard_policy.changed"
    aggregate_type: ClassVar[str] = "guard_policy"
    example: ClassVar[dict[str, Any]] = {"is_new": False, "fields": ["pii_input"]}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    is_new: bool
    fields: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GuardPolicyDeleted(DomainEvent):
    """A guardrail policy was taken away, with its bindings."""

    type: ClassVar[str] = "guard_policy.deleted"
    aggregate_type: ClassVar[str] = "guard_policy"
    example: ClassVar[dict[str, Any]] = {"bindings": 2}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    bindings: int


@dataclass(frozen=True, kw_only=True)
class GuardPolicyBound(DomainEvent):
    """A guardrail policy applies to an organization, a team, a key, or everybody; `is_bound` false: no longer."""

    type: ClassVar[str] = "guard_policy.bound"
    aggregate_type: ClassVar[str] = "guard_policy"
    example: ClassVar[dict[str, Any]] = {
        "is_bound": True,
        "team_id": "018f1c1e-0000-7000-8000-000000000001",
        "api_key_id": None,
    }
    unheard_because: ClassVar[str] = ONLY_AUDIT

    is_bound: bool
    team_id: UUID | None = None
    api_key_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class GuardrailTriggered(DomainEvent):
    """A guardrail found something in a call: one event for a call and policy, with kinds and counts, never the text.

    Each of `hits` is detector, kind, mode, direction and count.
    """

    type: ClassVar[str] = "guardrail.triggered"
    aggregate_type: ClassVar[str] = "guard_policy"
    is_public: ClassVar[bool] = True
    example: ClassVar[dict[str, Any]] = {
        "request_id": "018f1c1e-0000-7000-8000-000000000002",
        "model": "gpt-4o",
        "api_key_id": "018f1c1e-0000-7000-8000-000000000003",
        "hits": [{"detector": "pii", "kind": "email", "mode": "mask", "direction": "input", "count": 2}],
    }

    request_id: UUID
    model: str
    api_key_id: UUID | None
    hits: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class ResponseDeleted(DomainEvent):
    """A stored response was deleted by its owner, before its time."""

    type: ClassVar[str] = "response.deleted"
    aggregate_type: ClassVar[str] = "response"
    example: ClassVar[dict[str, Any]] = {"model": "gpt-4o-mini"}
    unheard_because: ClassVar[str] = "the audit trail keeps it"

    model: str


@dataclass(frozen=True, kw_only=True)
class CachePolicyChanged(DomainEvent):
    """How answers are cached was decided anew, for an organization, one of its teams or one key."""

    type: ClassVar[str] = "cache_policy.changed"
    aggregate_type: ClassVar[str] = "cache_policy"
    example: ClassVar[dict[str, Any]] = {
        "team_id": None,
        "api_key_id": None,
        "changed": ["is_semantic", "similarity"],
    }
    unheard_because: ClassVar[str] = ONLY_AUDIT

    team_id: UUID | None
    api_key_id: UUID | None
    changed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CachePurged(DomainEvent):
    """Everything that was cached under a policy was forgotten."""

    type: ClassVar[str] = "cache.purged"
    aggregate_type: ClassVar[str] = "cache_policy"
    example: ClassVar[dict[str, Any]] = {}
    unheard_because: ClassVar[str] = ONLY_AUDIT


@dataclass(frozen=True, kw_only=True)
class ProviderWentDown(DomainEvent):
    """A provider, or one of its deployments (then named), does not answer health probes any more."""

    type: ClassVar[str] = "provider.went_down"
    aggregate_type: ClassVar[str] = "provider"
    example: ClassVar[dict[str, Any]] = {
        "slug": "openai",
        "deployment": "",
        "model": "",
        "error_code": "gateway.upstream_timed_out",
    }
    unheard_because: ClassVar[str] = ONLY_AUDIT

    slug: str
    deployment: str
    model: str
    error_code: str


@dataclass(frozen=True, kw_only=True)
class ProviderCameBack(DomainEvent):
    """A provider, or one of its deployments (then named), answers health probes again."""

    type: ClassVar[str] = "provider.came_back"
    aggregate_type: ClassVar[str] = "provider"
    example: ClassVar[dict[str, Any]] = {"slug": "openai", "deployment": "", "model": "", "down_seconds": 95}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    slug: str
    deployment: str
    model: str
    down_seconds: int


@dataclass(frozen=True, kw_only=True)
class AliasChanged(DomainEvent):
    """Another name for a model was made, changed or taken away."""

    type: ClassVar[str] = "alias.changed"
    aggregate_type: ClassVar[str] = "alias"
    example: ClassVar[dict[str, Any]] = {"name": "fast", "model": "gpt-4o-mini", "what": "updated"}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    name: str
    model: str
    what: str


@dataclass(frozen=True, kw_only=True)
class RoutingRuleChanged(DomainEvent):
    """A routing rule was made, changed or taken away."""

    type: ClassVar[str] = "routing_rule.changed"
    aggregate_type: ClassVar[str] = "routing_rule"
    example: ClassVar[dict[str, Any]] = {"name": "long prompts", "what": "created", "is_active": True}
    unheard_because: ClassVar[str] = ONLY_AUDIT

    name: str
    what: str
    is_active: bool
