"""The scopes of OAuth2: the one register, narrowed to what a client may have."""

from __future__ import annotations

from typing import Any

from oauth2_provider.models import AbstractApplication
from oauth2_provider.scopes import BaseScopes

from apps.users.choices import IDENTITY_SCOPES, SCOPES


class PorticoScopes(BaseScopes):
    """A client gets what its registration allows; those that act for people may also ask who the person is."""

    def get_all_scopes(self) -> dict[str, str]:
        """Return every scope with its sentence."""
        return {**IDENTITY_SCOPES, **SCOPES}

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        """Return what a client may ask for; all scopes where no client is named."""
        if application is None:
            return list(self.get_all_scopes())
        allowed = [scope for scope in application.allowed_scopes if scope in SCOPES]
        is_machine = application.authorization_grant_type == AbstractApplication.GRANT_CLIENT_CREDENTIALS
        return allowed if is_machine else [*IDENTITY_SCOPES, *allowed]

    def get_default_scopes(self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any) -> list[str]:
        """Return what a client gets without asking: a machine all it may have, others nothing, so people see a list."""
        if application is None or application.authorization_grant_type != AbstractApplication.GRANT_CLIENT_CREDENTIALS:
            return []
        return self.get_available_scopes(application=application)
