"""Where the OAuth2 server is stricter than its library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings
from oauth2_provider.models import get_grant_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749 import errors


class PorticoOAuth2Validator(OAuth2Validator):
    """Refuses suspended people everywhere, anything but S256 before consent, and a refresh token's second use in a race."""

    def is_pkce_required(self, client_id: str, request: Any) -> bool:
        """Ask every client for PKCE. Raise InvalidRequestError for any method but S256 (RFC 9700, 2.1.1)."""
        if request.code_challenge is not None and request.code_challenge_method != "S256":
            raise errors.InvalidRequestError(description="Use code_challenge_method=S256.", request=request)
        return True

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Tell whether a client may have these scopes; for people something has to stand on the consent page."""
        is_allowed: bool = super().validate_scopes(client_id, scopes, client, request, *args, **kwargs)
        return bool(scopes) and is_allowed

    def validate_code(self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any) -> bool:
        """Tell whether a code is good; not for a person who was suspended meanwhile.

        A code that is not takes back what it was traded for before (RFC 6749, 4.1.2): somebody else had it too.
        """
        if not super().validate_code(client_id, code, client, request, *args, **kwargs):
            get_refresh_token_model().revoke_family(_family_of(code, client))
            return False
        return bool(request.user.is_active)

    def get_code_challenge(self, code: str, request: Any) -> Any:
        """Return the challenge that a code was asked for with."""
        with _still_good(code, request.client):
            return super().get_code_challenge(code, request)

    def get_code_challenge_method(self, code: str, request: Any) -> Any:
        """Return how that challenge was made."""
        with _still_good(code, request.client):
            return super().get_code_challenge_method(code, request)

    def confirm_redirect_uri(
        self, client_id: str, code: str, redirect_uri: str, client: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Tell whether a code was sent to this address."""
        with _still_good(code, client):
            is_same: bool = super().confirm_redirect_uri(client_id, code, redirect_uri, client, *args, **kwargs)
        return is_same

    def invalidate_authorization_code(self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any) -> None:
        """Use a code up; of two exchanges at once neither keeps its tokens."""
        try:
            super().invalidate_authorization_code(client_id, code, request, *args, **kwargs)
        except errors.InvalidGrantError:
            get_refresh_token_model().revoke_family(_family_of(code, request.client))
            raise

    def validate_refresh_token(self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any) -> bool:
        """Tell whether a refresh token is good; not for a person who was suspended meanwhile."""
        is_good = super().validate_refresh_token(refresh_token, client, request, *args, **kwargs)
        return is_good and request.user.is_active

    def validate_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        """Tell whether an access token is good; not for a person who was suspended meanwhile."""
        is_good = super().validate_bearer_token(token, scopes, request)
        return is_good and (request.user is None or request.user.is_active)

    def save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Store new tokens; of two refreshes at once neither keeps the family (RFC 9700, 4.14.2)."""
        used = getattr(request, "refresh_token_instance", None)
        try:
            return super().save_bearer_token(token, request, *args, **kwargs)
        except errors.InvalidGrantError:
            if used is not None:
                get_refresh_token_model().revoke_family(used.token_family)
            raise

    def _save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        used = getattr(request, "refresh_token_instance", None)
        if used is not None:
            locked = get_refresh_token_model().objects.select_for_update().get(pk=used.pk)
            if locked.revoked is not None:
                raise errors.InvalidGrantError(request=request)
        return super()._save_bearer_token(token, request, *args, **kwargs)

    def _create_refresh_token(
        self, request: Any, refresh_token_code: str, access_token: Any, previous_refresh_token: Any
    ) -> Any:
        created = super()._create_refresh_token(request, refresh_token_code, access_token, previous_refresh_token)
        if previous_refresh_token is None and request.code:
            created.token_family = _family_of(request.code, request.client)
            created.save(update_fields=["token_family"])
        return created

    def get_oidc_issuer_endpoint(self, request: Any) -> str:
        """Return the issuer: this installation's public address."""
        issuer: str = settings.SITE_URL
        return issuer

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        """Return a person's claims; the scopes decide which of them are given."""
        user = request.user
        return {
            "sub": user.public_id,
            "name": user.name,
            "email": user.email,
            "email_verified": user.email_verified_at is not None,
        }


@contextmanager
def _still_good(code: str, client: Any) -> Iterator[None]:
    """Refuse a code that another exchange used up since it was found to be good, and take back what that one got."""
    try:
        yield
    except get_grant_model().DoesNotExist:
        get_refresh_token_model().revoke_family(_family_of(code, client))
        raise errors.InvalidGrantError from None


def _family_of(code: str, client: Any) -> UUID:
    """Return the family of the tokens that a code is traded for: it can be told from the code when that is gone."""
    return UUID(bytes=hashlib.blake2b(f"{client.pk}:{code}".encode(), digest_size=16).digest())
