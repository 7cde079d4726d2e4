"""Who sees which rows, how hashes are capped, what settings are refused."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.hashers import check_password, make_password

from apps.core.actor import ANONYMOUS, Actor, system_actor
from apps.core.errors import DependencyDown
from apps.users import hashers
from apps.users.checks import check_bootstrap_key
from apps.users.models import ApiKey, Membership, OAuthClient, Organization, Team, User, UserSession
from tests.factories.users import ApiKeyFactory, MembershipFactory, OAuthClientFactory, TeamFactory
from tests.users.client import log_in

pytestmark = pytest.mark.django_db

MODELS = [User, Organization, Membership, ApiKey, OAuthClient, UserSession, Team]


@pytest.fixture
def rows(client, member: Membership) -> None:
    """Make one row of everything, once for `member` and once for somebody elsewhere."""
    for membership in (member, MembershipFactory()):
        ApiKeyFactory(membership=membership)
        OAuthClientFactory(membership=membership)
        TeamFactory(organization=membership.organization)
        log_in(client, membership.user.email)


@pytest.mark.parametrize("model", MODELS)
def test_the_platform_sees_all_people_their_own_and_nobody_nothing(rows: None, actor: Actor, model) -> None:
    seen = [model.objects.visible_to(who).count() for who in (system_actor(), actor, ANONYMOUS)]

    assert seen == [2, 1, 0]


def test_organizations_are_seen_by_who_acts_in_them_without_being_a_person(member: Membership) -> None:
    machine = Actor(kind="oauth_client", organization_id=member.organization_id)

    assert Organization.objects.visible_to(machine).get() == member.organization


def test_people_and_clients_are_found_by_their_natural_keys(member: Membership) -> None:
    client = OAuthClientFactory()

    assert User.objects.get_by_natural_key(member.user.email.upper()) == member.user
    assert OAuthClient.objects.get_by_natural_key(*client.natural_key()) == client


def test_client_secrets_verify_by_their_own_hash() -> None:
    encoded = make_password("a secret", hasher="client_sha256")

    assert check_password("a secret", encoded)
    assert not check_password("another", encoded)
    assert "a secret" not in str(hashers.ClientSecretHasher().safe_summary(encoded))


def test_passwords_are_argon2id_as_strong_as_promised() -> None:
    encoded = hashers.CappedArgon2PasswordHasher().encode("correct horse", "a-salt-of-some-length")

    assert encoded.startswith("argon2$argon2id$v=19$m=65536,t=4,p=4$")
    assert hashers.CappedArgon2PasswordHasher().verify("correct horse", encoded)


def test_more_hashes_than_fit_at_once_are_refused_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashers, "_slots", threading.BoundedSemaphore(1))
    monkeypatch.setattr(hashers, "WAIT_SECONDS", 0.01)

    with hashers._Slot(), pytest.raises(DependencyDown):
        hashers.CappedArgon2PasswordHasher().encode("correct horse", "a-salt-of-some-length")
    assert hashers.CappedArgon2PasswordHasher().encode("correct horse", "a-salt-of-some-length")


@pytest.mark.parametrize(("key", "ids"), [("", []), ("x" * 32, []), ("short", ["users.E001"])])
def test_an_unusable_key_in_the_environment_stops_the_start(settings, key: str, ids: list[str]) -> None:
    settings.BOOTSTRAP_API_KEY = key

    assert [message.id for message in check_bootstrap_key(None)] == ids
