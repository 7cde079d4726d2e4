"""Loading the catalogue: complete, repeatable, and never over the head of staff."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from unittest.mock import patch

import pytest
from django.core.management import call_command
from pytest_django import Settings

from apps.billing.models import Price
from apps.core.actor import system_actor
from apps.events.models import Event
from apps.gateway.models import Deployment, Model, Provider
from apps.gateway.providers.base import UpstreamUnavailable
from apps.gateway.selectors import load_snapshot
from apps.gateway.services import catalogue_files, loading
from apps.gateway.services.catalogue_files import read_catalogue
from apps.gateway.services.loading import load_catalogue
from tests.factories.gateway import ProviderFactory

pytestmark = pytest.mark.django_db
SANDBOX = {"name": "Sandbox", "base_url": "", "credential": ""}
OPENAI = {"name": "OpenAI", "base_url": "http://127.0.0.1:1/v1", "credential": "sk-from-the-environment"}
OLLAMA = {"name": "Ollama", "base_url": "http://127.0.0.1:1", "credential": ""}


@pytest.fixture(autouse=True)
def _environment(settings: Settings) -> None:
    settings.GATEWAY_PROVIDERS = {"sandbox": SANDBOX, "openai": OPENAI}


def load(**arguments):
    return load_catalogue(actor=system_actor(), **arguments)


def test_every_catalogue_model_of_a_named_provider_answers_to_its_plain_name() -> None:
    load()
    routes = {name: entry.routes[0] for name, entry in load_snapshot().models.items()}
    expected = {entry.name for slug in ("openai", "sandbox") for entry in read_catalogue()[slug]}
    assert set(routes) == expected
    target = routes["gpt-4o-mini"].target
    assert (target.base_url, target.credential) == ("http://127.0.0.1:1/v1", "sk-from-the-environment")
    assert (target.kind, target.upstream_model) == ("openai", "gpt-4o-mini")
    assert routes["gpt-4o-mini"].price.input_micros == 150_000
    assert routes["sandbox-small"].price.output_micros > 0


def test_loading_again_changes_nothing() -> None:
    first = load()
    events = Event.objects.count()
    again = load()
    assert (again.models, again.deployments, again.changed) == (first.models, first.deployments, 0)
    assert Event.objects.count() == events


def test_what_staff_edited_stays(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    load()
    Model.objects.filter(name="gpt-4o").update(tier="T3", is_active=False)
    Deployment.objects.filter(model__name="o3").update(is_active=False, weight=7)
    Price.objects.filter(model="gpt-4o").update(input_micros=1)
    text = (catalogue_files.DIRECTORY / "openai.json").read_text()
    (tmp_path / "openai.json").write_text(text.replace("128000", "256000").replace('"tier": "T2"', '"tier": "T1"'))
    monkeypatch.setattr(loading, "read_catalogue", lambda: read_catalogue(tmp_path))
    load()
    model = Model.objects.get(name="gpt-4o")
    assert (model.tier, model.is_active) == ("T3", False), "edited by staff"
    assert model.context_window == 256_000, "left alone by staff"
    assert Deployment.objects.get(model__name="o3").weight == 7
    assert not Deployment.objects.get(model__name="o3").is_active
    assert set(Price.objects.filter(model="gpt-4o").values_list("input_micros", flat=True)) == {1}


def test_a_new_price_of_the_file_is_added_and_the_old_one_kept(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    load()
    text = (catalogue_files.DIRECTORY / "openai.json").read_text()
    changed = text.replace('"input": "0.15"', '"input": "0.20"').replace(
        '"as_of": "2026-11-01"', '"as_of": "2026-11-15"'
    )
    (tmp_path / "openai.json").write_text(changed)
    monkeypatch.setattr(loading, "read_catalogue", lambda: read_catalogue(tmp_path))
    load()
    prices = Price.objects.of_model("openai", "gpt-4o-mini").values_list("input_micros", flat=True)
    assert list(prices) == [200_000, 150_000]


def test_a_model_without_a_price_is_loaded_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    files = read_catalogue()
    files["openai"] = [
        replace(entry, price=None) if entry.name == "gpt-4o-mini" else entry for entry in files["openai"]
    ]
    monkeypatch.setattr(loading, "read_catalogue", lambda: files)
    load()
    models = load_snapshot().models
    assert models["gpt-4o-mini"].info.price is None
    assert models["gpt-4o"].info.price is not None
    assert not Price.objects.of_model("openai", "gpt-4o-mini").exists()


def test_a_changed_address_of_the_environment_is_shown_and_used(settings: Settings) -> None:
    load()
    settings.GATEWAY_PROVIDERS = {"openai": {**OPENAI, "base_url": "http://127.0.0.1:2/v1"}}
    load()
    assert Provider.objects.get(slug="openai").base_url == "http://127.0.0.1:2/v1"
    assert load_snapshot().models["gpt-4o"].routes[0].target.base_url == "http://127.0.0.1:2/v1"
    settings.GATEWAY_PROVIDERS = {}
    assert load_snapshot().models == {}, "a provider that the environment no longer names gets no calls"


def test_a_provider_of_staff_keeps_its_slug() -> None:
    ours = ProviderFactory(slug="openai", kind="openai", base_url="https://example.com/v1")
    load()
    ours.refresh_from_db()
    assert (ours.from_environment, ours.base_url) == (False, "https://example.com/v1")
    assert not Deployment.objects.filter(provider=ours).exists()


def test_ollama_is_asked_for_its_models(settings: Settings) -> None:
    settings.GATEWAY_PROVIDERS = {"ollama": OLLAMA}
    load(discovered={"ollama": ["llama3.2:latest", "qwen3:8b", "my-embedder:v1"]})
    found = {entry.info.name: entry for entry in load_snapshot().models.values()}
    assert set(found) == {"llama3.2", "qwen3:8b", "my-embedder:v1"}
    assert found["llama3.2"].routes[0].target.upstream_model == "llama3.2:latest"
    assert found["llama3.2"].info.capabilities == ("chat", "tools")
    assert found["qwen3:8b"].info.context_window == 40_960
    assert found["my-embedder:v1"].info.capabilities == ("embeddings",)
    assert found["my-embedder:v1"].info.price is None
    assert load(discovered={"ollama": ["llama3.2:latest"]}).changed == 0


def test_an_ollama_that_is_down_does_not_fail_the_start(settings: Settings) -> None:
    settings.GATEWAY_PROVIDERS = {"sandbox": SANDBOX, "ollama": OLLAMA}
    out = StringIO()
    call_command("load_models", stdout=out)
    assert out.getvalue().startswith("2 providers, ")
    assert Deployment.objects.filter(provider__slug="sandbox").count() == 3


def test_the_command_asks_ollama_through_its_adapter(settings: Settings) -> None:
    settings.GATEWAY_PROVIDERS = {"ollama": OLLAMA}
    with patch("apps.gateway.providers.ollama.OllamaProvider.list_models", return_value=["phi4:14b"]):
        call_command("load_models", stdout=StringIO())
    assert Deployment.objects.filter(model__name="phi4:14b", upstream_model="phi4:14b").exists()


def test_without_ollama_nobody_is_asked(settings: Settings) -> None:
    with patch("apps.gateway.providers.ollama.OllamaProvider.list_models", side_effect=UpstreamUnavailable("no")):
        assert loading.discover_models() == {}


def test_the_files_are_complete() -> None:
    catalogue = read_catalogue()
    assert {"openai", "anthropic", "openrouter", "ollama", "sandbox"} <= set(catalogue)
    names = [entry.name for entries in catalogue.values() for entry in entries]
    assert len(names) == len(set(names))
    unpriced = {entry.name for slug, entries in catalogue.items() for entry in entries if entry.price is None}
    assert unpriced == {entry.name for entry in catalogue["ollama"]}
    assert {"gpt-4o-mini", "claude-sonnet-4-5"} <= set(names)


def test_the_catalogue_knows_tiers_and_long_prompts() -> None:
    entries = {entry.name: entry for entries in read_catalogue().values() for entry in entries}
    mini, sol, sonnet = entries["gpt-4o-mini"], entries["gpt-6.1-sol"], entries["claude-sonnet-4-5"]
    assert (mini.tiers["batch"].input_micros, mini.tiers["priority"].output_micros) == (75_000, 1_000_000)
    assert "flex" not in mini.tiers
    assert (sol.price.long_after_tokens, sol.price.long_input_micros, sol.price.long_output_micros) == (
        272_000, 4_000_000, 15_000_000,
    )  # fmt: skip
    assert (sol.tiers["flex"].long_after_tokens, sol.tiers["flex"].long_output_micros) == (272_000, 7_500_000)
    assert (sonnet.price.cache_write_1h_micros, sonnet.price.long_cache_write_1h_micros) == (6_000_000, 12_000_000)


def test_tiers_are_loaded_and_reach_the_routes_and_staff_keep_what_they_edited() -> None:
    load()
    route = load_snapshot().models["gpt-4o-mini"].routes[0]
    assert (route.price_in("batch").input_micros, route.price_in("").input_micros) == (75_000, 150_000)
    assert route.price_in("scale") is route.price
    Price.objects.filter(model="gpt-4o-mini", service_tier="batch").update(input_micros=1)
    load()
    assert load_snapshot().models["gpt-4o-mini"].routes[0].price_in("batch").input_micros == 1
