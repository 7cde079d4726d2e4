"""Staff pages of the gateway."""

from apps.gateway.admin.cache import CachePolicyAdmin
from apps.gateway.admin.catalogue import DeploymentAdmin, ModelAdminPage, ProviderAdmin
from apps.gateway.admin.guardrails import GuardHitAdmin, GuardPolicyAdmin
from apps.gateway.admin.limits import LimitAdmin
from apps.gateway.admin.responses import RespondingProcessAdmin, StoredResponseAdmin
from apps.gateway.admin.routing import AliasAdmin, HealthStateAdmin, RoutingRuleAdmin

__all__ = [
    "AliasAdmin",
    "CachePolicyAdmin",
    "DeploymentAdmin",
    "GuardHitAdmin",
    "GuardPolicyAdmin",
    "HealthStateAdmin",
    "LimitAdmin",
    "ModelAdminPage",
    "ProviderAdmin",
    "RespondingProcessAdmin",
    "RoutingRuleAdmin",
    "StoredResponseAdmin",
]
