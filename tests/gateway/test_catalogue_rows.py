"""Rows of the catalogue: credentials stay where they were given for, and addresses stay in bounds."""

from __future__ import annotations

import socket

import pytest
from django.db import IntegrityError, connection
from pytest_django import Settings

from apps.core.actor import Actor, system_actor
from apps.core.http.session import AddressInfo, Resolve
from apps.events.models import Event
from apps.gateway.errors import ModelUnknown
from apps.gateway.models import Provider
from apps.gateway.runtime.sessions import GuardedResolver, Sessions
from apps.gateway.selectors import find_usable_model, load_snapshot, usable_models
from apps.gateway.services.providers import save_provider
from apps.gateway.subscribers import refresh_prices
from apps.users.selectors import actor_of_key
from tests.factories.gateway import DeploymentFactory, ModelFactory, ProviderFactory
from tests.factories.users import ApiKeyFactory

ADDRESS = "https://models.example.com/v1"


@pytest.fixture
def provider(db: None) -> Provider:
    ProviderFactory(slug="ours", kind="openai", base_url=ADDRESS, credential="sk-secret")
    return Provider.objects.get(slug="ours")


def test_a_new_address_drops_the_credential(provider: Provider) -> None:
    provider.base_url = "https://evil.example.com/v1"
    provider.save(update_fields=["base_url"])
    assert Provider.objects.get(slug="ours").credential == ""


def test_a_new_address_with_its_own_credential_keeps_that(provider: Provider) -> None:
    provider.base_url, provider.credential = "https://other.example.com/v1", "sk-other"
    provider.save()
    assert Provider.objects.get(slug="ours").credential == "sk-other"


def test_other_changes_keep_the_credential(provider: Provider) -> None:
    provider.name = "Another name"
    provider.save()
    assert Provider.objects.get(slug="ours").credential == "sk-secret"
    assert provider.has_credential


def test_the_credential_is_encrypted_at_rest(provider: Provider) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT credential FROM gateway_provider WHERE slug = 'ours'")
        [stored] = cursor.fetchone()
    assert "sk-secret" not in stored
    assert stored.startswith("v1:")


def test_a_provider_of_the_environment_holds_no_credential(db: None) -> None:
    with pytest.raises(IntegrityError):
        ProviderFactory(from_environment=True, credential="sk-secret")


def test_saving_tells_what_changed_and_no_value(provider: Provider) -> None:
    provider.credential = "sk-new-secret"
    save_provider(provider=provider, actor=system_actor())
    event = Event.objects.get(type="provider.changed")
    assert event.payload == {"slug": "ours", "changed": ["credential"]}
    save_provider(provider=provider, actor=system_actor())
    assert Event.objects.filter(type="provider.changed").count() == 1


@pytest.mark.parametrize(
    "base_url", ["http://169.254.169.254/v1", "https://127.0.0.1/v1", "http://models.example.com/v1", "ftp://x/", ""]
)
def test_an_address_out_of_bounds_gets_no_calls(db: None, base_url: str) -> None:
    DeploymentFactory(provider=ProviderFactory(kind="openai", base_url=base_url))
    assert load_snapshot().models == {}


def test_the_operator_may_open_private_networks(db: None, settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = ["127.0.0.0/8"]
    DeploymentFactory(provider=ProviderFactory(kind="openai", base_url="http://127.0.0.1:8080/v1/"))
    [entry] = load_snapshot().models.values()
    assert entry.routes[0].target.base_url == "http://127.0.0.1:8080/v1"
    assert not entry.routes[0].is_operators


def resolve_to(address: str) -> Resolve:
    """Resolve every name to one address."""

    async def resolve(host: str, port: int) -> list[AddressInfo]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    return resolve


async def test_a_name_that_leads_inside_is_not_connected_to() -> None:
    with pytest.raises(OSError, match="may not reach"):
        await GuardedResolver(resolve_to("10.0.0.1"))("sneaky.example.com", 443)
    [found] = await GuardedResolver(resolve_to("93.184.215.14"))("models.example.com", 443)
    assert found[4] == ("93.184.215.14", 443)


async def test_without_tls_only_opened_networks_are_connected_to(settings) -> None:
    settings.OUTBOUND_ALLOW = ["10.0.0.0/8"]
    with pytest.raises(OSError, match="may not reach"):
        await GuardedResolver(resolve_to("93.184.215.14"), is_plain=True)("models.example.com", 80)
    [found] = await GuardedResolver(resolve_to("10.0.0.1"), is_plain=True)("models.example.com", 80)
    assert found[4] == ("10.0.0.1", 80)
    async with Sessions() as sessions:
        assert sessions.choose("HTTP://models.example.com/v1", is_operators=False) is sessions.plain
        assert sessions.choose("https://models.example.com/v1", is_operators=False) is sessions.guarded
        assert sessions.choose("http://models.example.com/v1", is_operators=True) is sessions.open


def test_inactive_rows_are_no_routes(db: None) -> None:
    DeploymentFactory(is_active=False)
    DeploymentFactory(model__is_active=False)
    DeploymentFactory(provider__is_active=False)
    assert load_snapshot().models == {}


def test_routes_come_in_order_of_priority(db: None, django_assert_num_queries) -> None:
    model = ModelFactory(name="both")
    DeploymentFactory(model=model, provider__slug="second", priority=5)
    DeploymentFactory(model=model, provider__slug="first", priority=1)
    with django_assert_num_queries(5):
        [entry] = load_snapshot().models.values()
    assert entry.info.providers == ("first", "second")


def test_a_key_lists_its_models_only(db: None) -> None:
    for name in ("one", "two"):
        DeploymentFactory(model__name=name)
    actor: Actor = actor_of_key(key=ApiKeyFactory(allowed_models=["two"]))
    assert [info.name for info in usable_models(actor)] == ["two"]
    assert [info.name for info in usable_models(system_actor())] == ["one", "two"]
    with pytest.raises(ModelUnknown):
        find_usable_model(actor, "one")


def test_a_new_price_is_announced(db: None, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        refresh_prices(None)
    assert len(callbacks) == 1
