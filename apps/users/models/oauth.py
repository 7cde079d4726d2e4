"""OAuth2 clients."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from jwcrypto import jwk
from oauth2_provider.models import AbstractApplication

from apps.core.models import Entity
from apps.users.choices import SCOPES
from apps.users.models.people import Organization
from apps.users.querysets import OAuthClientManager
from apps.users.signing import signing_key

# RFC 9700, 2.1.2 and 2.4: no implicit grant, no password grant.
GRANTS = [
    (AbstractApplication.GRANT_AUTHORIZATION_CODE, "For people (authorization code with PKCE)"),
    (AbstractApplication.GRANT_CLIENT_CREDENTIALS, "For itself (client credentials)"),
]
LOOPBACK_HOSTS = {"127.0.0.1", "::1"}


class OAuthClient(Entity, AbstractApplication):
    """A program that acts through OAuth2: for people who consent, or for itself (client credentials).

    It belongs to an organization; with client credentials it acts there with the role of its `user` and never with more
    than `allowed_scopes`.
    """

    ID_PREFIX: ClassVar[str] = "client"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="oauth_clients")
    authorization_grant_type = models.CharField("grant", max_length=44, choices=GRANTS)
    algorithm = models.CharField(max_length=5, default=AbstractApplication.RS256_ALGORITHM, editable=False)
    hash_client_secret = models.BooleanField(default=True, editable=False)
    allowed_scopes = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    is_active = models.BooleanField(default=True)

    objects = OAuthClientManager()

    class Meta:
        verbose_name = "OAuth client"
        verbose_name_plural = "OAuth clients"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(authorization_grant_type__in=[grant for grant, _ in GRANTS]),
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

    def clean(self) -> None:
        """Raise ValidationError unless the redirect URIs and the grant fit together.

        Redirect URIs are https, or http on a loopback address for programs on the person's own machine (RFC 8252, 7.3).
        """
        errors: dict[str, str] = {}
        uris = self.redirect_uris.split()
        is_machine = self.authorization_grant_type == AbstractApplication.GRANT_CLIENT_CREDENTIALS
        if refused := [uri for uri in uris if not _is_safe_redirect(uri)]:
            errors["redirect_uris"] = f"Neither https nor http on a loopback address, or not exact: {refused[0]}"
        elif not uris and not is_machine:
            errors["redirect_uris"] = "People have to be sent back somewhere."
        if is_machine and self.client_type != AbstractApplication.CLIENT_CONFIDENTIAL:
            errors["client_type"] = "Only a confidential client can act for itself."
        if is_machine and self.user_id is None:
            errors["user"] = "A client that acts for itself needs a user whose role it has."
        if unknown := [scope for scope in self.allowed_scopes if scope not in SCOPES]:
            errors["allowed_scopes"] = f"Unknown: {', '.join(unknown)}"
        elif is_machine and not self.allowed_scopes:
            errors["allowed_scopes"] = "A client that acts for itself gets no token without a scope."
        if errors:
            raise ValidationError(errors)

    def redirect_uri_allowed(self, uri: str) -> bool:
        """Tell whether a redirect URI is registered: to the letter, except for the port of a loopback address."""
        if uri in self.redirect_uris.split():
            return True
        return _is_loopback(uri) and bool(super().redirect_uri_allowed(uri))

    def get_allowed_schemes(self) -> list[str]:
        """Return the schemes that this client's people may be sent to."""
        return sorted({urlsplit(uri).scheme for uri in self.redirect_uris.split()} | {"https"})

    def is_usable(self, request: Any) -> bool:
        """Tell the OAuth server whether this client may do anything: it and its organization are active."""
        return self.is_active and self.organization.is_active

    @property
    def jwk_key(self) -> jwk.JWK:
        """Return the key that signs this client's ID tokens: the platform's, always RS256."""
        return jwk.JWK.from_pem(signing_key().private_pem)


def _is_loopback(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS


def _is_safe_redirect(uri: str) -> bool:
    parts = urlsplit(uri)
    is_plain = bool(parts.hostname) and "#" not in uri and "*" not in uri and "@" not in parts.netloc
    return is_plain and (parts.scheme == "https" or _is_loopback(uri))
