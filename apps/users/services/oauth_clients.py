"""OAuth2 clients: registered, changed, given a new secret."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models.functions import Now
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_access_token_model, get_grant_model, get_refresh_token_model

from apps.core.actor import Actor
from apps.events.services import publish
from apps.users.events import ConsentTakenBack, OAuthClientChanged, OAuthClientCreated
from apps.users.models import OAuthClient, User


@transaction.atomic
def register_oauth_client(*, client: OAuthClient, actor: Actor) -> str:
    """Store a new client and return its secret, of which only a hash is kept; "" for a public client."""
    client.clean()
    secret = generate_client_secret() if client.client_type == OAuthClient.CLIENT_CONFIDENTIAL else ""
    # What nobody knows cannot be shown, also where the field may not be empty.
    client.client_secret = secret or generate_client_secret()
    client.save(force_insert=True)
    publish(
        OAuthClientCreated(
            aggregate_id=client.id,
            organization_id=client.organization_id,
            grant_type=client.authorization_grant_type,
        ),
        actor=actor,
    )
    return secret


@transaction.atomic
def change_oauth_client(*, client: OAuthClient, fields: Sequence[str], actor: Actor) -> None:
    """Store the named fields of a client; its tokens are looked up at each request, so it counts at once."""
    if not fields:
        return
    client.clean()
    client.save(update_fields=[*fields, "updated_at", "updated"])
    publish(
        OAuthClientChanged(
            aggregate_id=client.id, organization_id=client.organization_id, fields=tuple(sorted(fields))
        ),
        actor=actor,
    )


@transaction.atomic
def rotate_client_secret(*, client: OAuthClient, actor: Actor) -> str:
    """Give a confidential client a new secret and return it; the old one stops at once."""
    secret = generate_client_secret()
    client.client_secret = secret
    change_oauth_client(client=client, fields=["client_secret"], actor=actor)
    return secret


@transaction.atomic
def take_back_consent(*, user: User, client: OAuthClient, actor: Actor) -> None:
    """End everything that a client may do for a person; its tokens refuse from the next request on."""
    get_refresh_token_model().objects.filter(user=user, application=client, revoked__isnull=True).update(revoked=Now())
    get_access_token_model().objects.filter(user=user, application=client).delete()
    get_grant_model().objects.filter(user=user, application=client).delete()
    publish(
        ConsentTakenBack(aggregate_id=client.id, organization_id=client.organization_id, user_id=user.id), actor=actor
    )
