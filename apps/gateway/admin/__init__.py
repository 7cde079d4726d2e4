"""Staff pages of the gateway."""

from apps.gateway.admin.catalogue import DeploymentAdmin, ModelAdminPage, ProviderAdmin

__all__ = ["DeploymentAdmin", "ModelAdminPage", "ProviderAdmin"]
