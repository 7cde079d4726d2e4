"""Who a key or token stands for, and whether a call that was allowed still is."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from apps.core.actor import Actor, ActorKind, system_actor
from apps.core.errors import PermissionRefused
from apps.gateway.selectors import Caller, caller_of_actor, confirm_caller, find_caller
from apps.users.choices import RevocationReason
from apps.users.errors import KeyUnknown
from apps.users.models import ApiKey, Membership, UserSession
from apps.users.selectors import actor_of_key, actor_of_user
from apps.users.services.sessions import revoke_session, start_token_session
from tests.factories.users import ApiKeyFactory, OAuthClientFactory

pytestmark = pytest.mark.django_db


def test_an_access_token_stands_for_its_person_until_it_expires(member: Membership) -> None:
    pair = start_token_session(user=member.user, device="test", ip_address=None, actor=system_actor())
    caller, identity = find_caller(pair.access.value)
    assert (caller.actor.user_id, caller.actor.organization_id) == (member.user_id, member.organization_id)
    assert timedelta(minutes=14) < caller.expires_at - datetime.now(UTC) < timedelta(minutes=16)
    assert (caller.terms.limits, caller.allowed_models, caller.has_expired()) == ((), None, False)
    confirm_caller(caller, model="any")
    revoke_session(session=UserSession.objects.get(), reason=RevocationReason.LOGOUT, actor=system_actor())
    with pytest.raises(PermissionRefused):
        confirm_caller(caller, model="any")
    assert identity.user == member.user


def test_an_oauth_token_stands_for_its_client_until_it_expires() -> None:
    client = OAuthClientFactory(machine=True)
    expires = timezone.now() + timedelta(minutes=5)
    get_access_token_model().objects.create(
        application=client,
        token="",
        token_checksum=hashlib.sha256(b"an-oauth-token-of-some-length").hexdigest(),
        expires=expires,
        scope="gateway:use",
    )
    caller, _ = find_caller("an-oauth-token-of-some-length")
    assert (caller.actor.kind, caller.expires_at) == (ActorKind.OAUTH_CLIENT, expires)


def test_a_key_brings_its_restrictions() -> None:
    expires = timezone.now() + timedelta(days=1)
    key, secret = ApiKeyFactory.with_secret(
        allowed_models=["one"], requests_per_minute=5, tokens_per_minute=100, expires_at=expires
    )
    caller, _ = find_caller(secret)
    [limit] = caller.terms.limits
    assert (limit.id, limit.requests, limit.tokens, limit.parallel) == (f"key:{key.id}", 5, 100, None)
    assert (caller.may_use("one"), caller.may_use("two")) == (True, False)
    assert caller.expires_at == expires
    assert caller.ids() == {str(key.id), str(key.user_id), str(key.organization_id)}
    same = caller_of_actor(actor_of_key(key=key))
    assert (same.terms, same.allowed_models) == (caller.terms, frozenset({"one"}))


def test_a_revoked_key_is_nobody() -> None:
    key = ApiKeyFactory()
    actor = actor_of_key(key=key)
    ApiKey.objects.update(revoked_at=timezone.now())
    with pytest.raises(KeyUnknown):
        caller_of_actor(actor)


def test_a_call_ends_when_its_model_is_taken_from_the_key() -> None:
    key, secret = ApiKeyFactory.with_secret()
    caller, _ = find_caller(secret)
    confirm_caller(caller, model="one")
    ApiKey.objects.filter(id=key.id).update(allowed_models=["two"])
    with pytest.raises(PermissionRefused):
        confirm_caller(caller, model="one")


def test_a_call_of_a_person_ends_when_they_leave(member: Membership) -> None:
    caller = Caller(actor=actor_of_user(user=member.user, organization_id=member.organization_id))
    confirm_caller(caller, model="any")
    member.delete()
    with pytest.raises(PermissionRefused):
        confirm_caller(caller, model="any")


def test_nobody_without_an_organization_is_confirmed() -> None:
    with pytest.raises(PermissionRefused):
        confirm_caller(Caller(actor=Actor(kind=ActorKind.USER)), model="any")
