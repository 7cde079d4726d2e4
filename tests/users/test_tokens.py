"""Whom an access token stands for, whatever gave it, and what signs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from apps.core.actor import system_actor
from apps.events.models import Event
from apps.users.errors import TokenInvalid
from apps.users.events import OAuthClientChanged
from apps.users.models import User
from apps.users.selectors import actor_of_token
from apps.users.services.oauth_clients import change_oauth_client
from apps.users.signing import signing_key
from tests.factories.users import OAuthClientFactory
from tests.users.client import log_in
from tests.users.oauth_flow import Flow, basic

pytestmark = pytest.mark.django_db


@pytest.fixture
def persons_token(logged_in: Client) -> str:
    """Return a token that `person` consented to."""
    flow = Flow(*OAuthClientFactory.with_secret(), logged_in)
    return flow.exchange(flow.code()).json()["access_token"]


def test_a_client_acts_for_the_person_who_consented(persons_token: str, person: User) -> None:
    actor = actor_of_token(persons_token, request_id="req_1")

    assert (actor.kind, actor.user_id, actor.organization_id) == (
        "oauth_client",
        person.id,
        person.default_organization_id,
    )
    assert actor.request_id == "req_1"


def test_a_machine_acts_for_itself_in_its_organization(client: Client) -> None:
    machine, secret = OAuthClientFactory.with_secret(machine=True)
    asked = {"grant_type": "client_credentials", "scope": "models:read"}
    token = client.post("/oauth/token", asked, headers=basic(machine.client_id, secret)).json()["access_token"]

    actor = actor_of_token(token)

    assert (actor.oauth_client_id, actor.organization_id) == (machine.client_id, machine.organization_id)
    assert actor.scopes == {"models:read"}


def test_a_session_is_its_person(client: Client, person: User) -> None:
    actor = actor_of_token(log_in(client, person.email).json()["access_token"], request_id="req_1")

    assert (actor.kind, actor.user_id, actor.request_id) == ("user", person.id, "req_1")


def test_nobody_acts_for_a_person_without_an_organization(persons_token: str) -> None:
    User.objects.update(default_organization=None)

    with pytest.raises(TokenInvalid, match="left the organization"):
        actor_of_token(persons_token)


def test_a_client_that_is_not_changed_tells_nothing() -> None:
    client = OAuthClientFactory()

    change_oauth_client(client=client, fields=[], actor=system_actor())
    assert not Event.objects.filter(type=OAuthClientChanged.type).exists()
    change_oauth_client(client=client, fields=["name"], actor=system_actor())
    assert Event.objects.get(type=OAuthClientChanged.type).payload == {"fields": ["name"]}


def test_a_key_that_cannot_sign_as_promised_is_named(settings: Any, tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    settings.JWT_PRIVATE_KEY_FILE = tmp_path / "key.pem"
    settings.JWT_PRIVATE_KEY_FILE.write_bytes(pem)

    with pytest.raises(ImproperlyConfigured, match=r"key\.pem holds no RSA key"):
        signing_key()
