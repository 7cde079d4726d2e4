"""Staff pages of the gateway."""

from apps.gateway.admin.cache import CachePolicyAdmin
from apps.gateway.admin.catalogue import DeploymentAdmin, ModelAdminPage, ProviderAdmin
from apps.gateway.admin.limits import LimitAdmin
from apps.gateway.admin.responses import RespondingProcessAdmin, StoredResponseAdmin

__all__ = [
    "CachePolicyAdmin",
    "DeploymentAdmin",
    "LimitAdmin",
    "ModelAdminPage",
    "ProviderAdmin",
    "RespondingProcessAdmin",
    "StoredResponseAdmin",
]
