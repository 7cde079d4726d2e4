"""OAuth2 clients."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from jwcrypto import jwk
from oauth2_provider.models import AbstractApplication

from apps.core.models import Entity
from apps.users.models.people import Organization
from apps.users.querysets import OAuthClientManager
from apps.users.signing import signing_key


class OAuthClient(Entity, AbstractApplication):  # type: ignore[misc]
    """A program that acts through OAuth2: for people who consent, or for itself (client credentials).

    It belongs to an organization; with client credentials it acts there with the role of its `user` and never with more
    than `allowed_scopes`.
    """

    ID_PREFIX: ClassVar[str] = "client"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="oauth_clients")
    allowed_scopes = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    is_active = models.BooleanField(default=True)

    objects = OAuthClientManager()

    class Meta:
        verbose_name = "OAuth client"
        verbose_name_plural = "OAuth clients"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    authorization_grant_type__in=[
                        AbstractApplication.GRANT_AUTHORIZATION_CODE,
                        AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                        AbstractApplication.GRANT_DEVICE_CODE,
                    ]
                ),
                name="users_oauthclient_grant_safe",
            ),
            models.CheckConstraint(
                condition=~models.Q(authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS)
                | models.Q(client_type=AbstractApplication.CLIENT_CONFIDENTIAL, user__isnull=False),
                name="users_oauthclient_machine_confidential",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.client_id

    def natural_key(self) -> tuple[str]:
        return (self.client_id,)

    def is_usable(self, request: Any) -> bool:
        """Tell the OAuth server whether this client may do anything: it and its organization are active."""
        return self.is_active and self.organization.is_active

    @property
    def jwk_key(self) -> jwk.JWK:
        """Return the key that signs this client's ID tokens: the platform's, always RS256."""
        return jwk.JWK.from_pem(signing_key().private_pem)
