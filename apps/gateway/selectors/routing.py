"""What routing goes by, as running processes hold it: aliases, rules, and who is down according to the probes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from apps.core.errors import ExpressionInvalid
from apps.core.expressions import Condition, Kind, Vocabulary
from apps.gateway.choices import HealthStatus, RuleAction
from apps.gateway.models import Alias, HealthState, RoutingRule

logger = structlog.get_logger(__name__)

RULE_VOCABULARY = Vocabulary(
    {
        "model": Kind.TEXT,
        "tags": Kind.TEXTS,
        "team": Kind.TEXT,
        "user": Kind.TEXT,
        "key": Kind.TEXT,
        "organization": Kind.TEXT,
        "end_user": Kind.TEXT,
        "prompt_tokens": Kind.NUMBER,
        "answer_tokens": Kind.NUMBER,
        "stream": Kind.TRUTH,
        "has_tools": Kind.TRUTH,
        "has_images": Kind.TRUTH,
        "hour": Kind.NUMBER,
        "minute": Kind.NUMBER,
        "weekday": Kind.NUMBER,
        "metadata": Kind.FIELDS,
    }
)
"""What conditions of routing rules may speak of; the guide on routing explains each."""


@dataclass(frozen=True, slots=True)
class Fallbacks:
    """Names of models to ask when the first one cannot answer, in order, by the reason."""

    general: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    """The prompt is too long."""
    content: tuple[str, ...] = ()
    """The provider's policy refuses the content."""

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.general or self.context or self.content)

    def over(self, other: Fallbacks) -> Fallbacks:
        """Return these, and the other's where these say nothing."""
        return Fallbacks(self.general or other.general, self.context or other.context, self.content or other.content)


NO_FALLBACKS = Fallbacks()


@dataclass(frozen=True, slots=True)
class AliasEntry:
    """Another name for a model."""

    name: str
    model: str
    fallbacks: Fallbacks


@dataclass(frozen=True, slots=True)
class RuleEntry:
    """A routing rule with its condition compiled. `deployments` holds public ids; empty for all."""

    id: str
    name: str
    condition: Condition
    zone: ZoneInfo
    action: RuleAction
    target: str
    deployments: frozenset[str]
    fallbacks: Fallbacks
    message: str
    overrides_keys: bool


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Aliases and rules at one moment, and what the last probes found down (slugs of providers, ids of deployments)."""

    aliases: Mapping[tuple[UUID | None, str], AliasEntry] = field(default_factory=lambda: MappingProxyType({}))
    rules: tuple[RuleEntry, ...] = ()
    """Of everybody, in order."""
    rules_by_organization: Mapping[UUID, tuple[RuleEntry, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Where an organization has rules of its own: all that are asked for its calls, in order."""
    down: frozenset[str] = frozenset()

    def find_alias(self, name: str, organization_id: UUID | None) -> AliasEntry | None:
        """Return what a name stands for in an organization; its own aliases go before everybody's."""
        if not self.aliases:
            return None
        return self.aliases.get((organization_id, name)) or self.aliases.get((None, name))

    def rules_of(self, organization_id: UUID | None) -> tuple[RuleEntry, ...]:
        """Return the rules that are asked for an organization's calls, in order."""
        if organization_id is None or not self.rules_by_organization:
            return self.rules
        return self.rules_by_organization.get(organization_id, self.rules)

    def aliases_of(self, organization_id: UUID | None) -> list[AliasEntry]:
        """Return the aliases of an organization, by name."""
        found = {name: entry for (owner, name), entry in self.aliases.items() if owner is None}
        found |= {name: entry for (owner, name), entry in self.aliases.items() if owner == organization_id}
        return [found[name] for name in sorted(found)]


NO_ROUTING = RoutingTable()


def load_routing() -> RoutingTable:
    """Return the active aliases and rules, and what is down. Four queries; a rule that cannot be read is left out."""
    aliases = {
        (alias.organization_id, alias.name): AliasEntry(alias.name, alias.model.name, fallbacks_of(alias))
        for alias in Alias.objects.filter(is_active=True, model__is_active=True).select_related("model").order_by("id")
    }
    rows = list(
        RoutingRule.objects.filter(is_active=True).prefetch_related("deployments__model").order_by("position", "id")
    )
    entries = [(row.organization_id, entry) for row in rows if (entry := build_rule(row)) is not None]
    organizations = {owner for owner, _ in entries if owner is not None}
    return RoutingTable(
        aliases=MappingProxyType(aliases),
        rules=tuple(entry for owner, entry in entries if owner is None),
        rules_by_organization=MappingProxyType(
            {
                organization: tuple(entry for owner, entry in entries if owner in {None, organization})
                for organization in organizations
            }
        ),
        down=_find_down(),
    )


def build_rule(row: RoutingRule) -> RuleEntry | None:
    """Return a stored rule, ready to be asked; None when its condition or time zone is not understood any more."""
    try:
        condition, zone = compile_condition(row.condition), ZoneInfo(row.time_zone)
    except (ExpressionInvalid, ZoneInfoNotFoundError, ValueError, OSError) as error:
        logger.warning("routing_rule_unreadable", rule=row.public_id, error=str(error)[:200])
        return None
    deployments = list(row.deployments.all())
    return RuleEntry(
        id=row.public_id,
        name=row.name,
        condition=condition,
        zone=zone,
        action=RuleAction(row.action),
        target=row.target or (deployments[0].model.name if deployments else ""),
        deployments=frozenset(deployment.public_id for deployment in deployments),
        fallbacks=fallbacks_of(row),
        message=row.message,
        overrides_keys=row.overrides_keys,
    )


@lru_cache(maxsize=1024)
def compile_condition(source: str) -> Condition:
    """Return the condition of a routing rule. Raise ExpressionInvalid."""
    return RULE_VOCABULARY.compile(source)


def fallbacks_of(row: Any) -> Fallbacks:
    """Return the lists of a model, an alias or a rule."""
    if not (row.fallbacks or row.context_fallbacks or row.content_fallbacks):
        return NO_FALLBACKS
    return Fallbacks(tuple(row.fallbacks), tuple(row.context_fallbacks), tuple(row.content_fallbacks))


def subject_of(state: HealthState) -> str:
    """Return the name under which running processes know what a state is about."""
    return state.deployment.public_id if state.deployment is not None else state.provider.slug


def _find_down() -> frozenset[str]:
    rows = HealthState.objects.filter(status=HealthStatus.DOWN).select_related("provider", "deployment")
    return frozenset(subject_of(row) for row in rows.order_by("id"))
