"""Staff's pages of routing: aliases, rules, health, and the explanation of a route."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.core.actor import system_actor
from apps.core.errors import InvalidInput
from apps.core.redis import get_redis
from apps.events.models import Event
from apps.gateway.models import Alias, Deployment, HealthCheck, HealthState, Model, RoutingRule
from apps.gateway.runtime.rule_failures import COUNTS_KEY, WORDS_KEY, note_failure, read_failures, take_failures
from apps.gateway.runtime.sharing import BREAKERS_KEY, Sharing
from apps.gateway.selectors import load_snapshot
from apps.gateway.services.routing.saving import check_rule, delete_alias, save_alias, save_rule
from tests.factories.gateway import DeploymentFactory, ModelFactory
from tests.factories.users import ApiKeyFactory, TeamFactory, UserFactory

pytestmark = pytest.mark.django_db
LISTS = {"fallbacks": "", "context_fallbacks": "", "content_fallbacks": ""}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    return client


@pytest.fixture
def deployment() -> Deployment:
    return DeploymentFactory(model__name="small", provider__slug="ours", model__context_window=1000)


def page(name: str, *ids: object) -> str:
    return reverse(f"admin:gateway_{name}", args=ids)


def rule_fields(**fields: Any) -> dict[str, Any]:
    return {
        "name": "long prompts", "organization": "", "position": 10, "condition": "prompt_tokens > 500",
        "time_zone": "UTC", "action": "send", "target": "small", "message": "", "is_active": "on", **LISTS, **fields,
    }  # fmt: skip


def types() -> list[tuple[str, str]]:
    return [
        (event.type, event.payload["what"])
        for event in Event.objects.filter(type__in=["alias.changed", "routing_rule.changed"]).order_by("id")
    ]


def test_an_alias_is_made_changed_and_taken_away(
    staff: Client, deployment: Deployment, django_capture_on_commit_callbacks
) -> None:
    fields = {"name": "fast", "organization": "", "model": deployment.model_id, "is_active": "on", **LISTS}
    with django_capture_on_commit_callbacks() as callbacks:
        assert staff.post(page("alias_add"), fields).status_code == 302
    assert len(callbacks) >= 1, "running processes are told"
    alias = Alias.objects.get()
    staff.post(page("alias_change", alias.pk), {**fields, "fallbacks": "small"})
    alias.refresh_from_db()
    assert alias.fallbacks == ["small"]
    assert b"fast" in staff.get(page("alias_changelist"), {"q": "fast"}).content
    staff.post(page("alias_delete", alias.pk), {"post": "yes"})
    save_alias(alias=Alias(name="other", model=deployment.model), actor=system_actor())
    ticked = {"action": "delete_selected", "_selected_action": [Alias.objects.get().pk], "post": "yes"}
    staff.post(page("alias_changelist"), ticked)
    assert not Alias.objects.exists()
    whats = ["created", "updated", "deleted", "created", "deleted"]
    assert types() == [("alias.changed", what) for what in whats]


@pytest.mark.parametrize(
    ("fields", "field"), [({"name": "small"}, "name"), ({"name": "x", "fallbacks": ["absent"]}, "fallbacks")]
)
def test_an_alias_that_means_nothing_is_refused(deployment: Deployment, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_alias(alias=Alias(model=deployment.model, **fields), actor=system_actor())
    assert list(refused.value.errors) == [field]
    assert not Alias.objects.exists()


def test_an_alias_of_an_alias_and_a_provider_may_stand_in(deployment: Deployment) -> None:
    save_alias(alias=Alias(name="fast", model=deployment.model), actor=system_actor())
    second = Alias(name="second", model=deployment.model, fallbacks=["fast", "ours/small"])
    save_alias(alias=second, actor=system_actor())
    delete_alias(alias=second, actor=system_actor())
    assert load_snapshot().routing.find_alias("fast", None).model == "small"  # type: ignore[union-attr]


def test_a_rule_is_made_changed_and_taken_away(staff: Client, deployment: Deployment) -> None:
    answer = staff.post(page("routingrule_add"), rule_fields(deployments=[deployment.pk]))
    assert answer.status_code == 302
    rule = RoutingRule.objects.get()
    assert list(rule.deployments.all()) == [deployment]
    [entry] = load_snapshot().routing.rules
    assert (entry.target, entry.deployments) == ("small", {deployment.public_id})
    staff.post(page("routingrule_change", rule.pk), rule_fields(action="refuse", target="", message="No."))
    rule.refresh_from_db()
    assert (rule.action, rule.message, rule.deployments.count()) == ("refuse", "No.", 0)
    note_failure(rule.public_id, "Key not found")
    get_redis().hset(COUNTS_KEY, rule.public_id, 3)
    get_redis().hset(WORDS_KEY, rule.public_id, "Key not found")
    listed = staff.get(page("routingrule_changelist")).content.decode()
    assert "3 times; the last time: Key not found" in listed
    assert "refused" in listed
    assert "prompt_tokens (number)" in staff.get(page("routingrule_change", rule.pk)).content.decode()
    ticked = {"action": "delete_selected", "_selected_action": [rule.pk], "post": "yes"}
    staff.post(page("routingrule_changelist"), ticked)
    save_rule(rule=RoutingRule(name="x", condition="true", target="small"), actor=system_actor())
    staff.post(page("routingrule_delete", RoutingRule.objects.get().pk), {"post": "yes"})
    assert [what for _, what in types()] == ["created", "updated", "deleted", "created", "deleted"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"condition": "model =="}, "Line 1, column 9"),
        ({"condition": "absent == 1"}, "undeclared reference"),
        ({"time_zone": "Middle/Earth"}, "no such time zone"),
        ({"target": "absent"}, "neither a model nor an alias"),
        ({"target": ""}, "Say where the calls go"),
        ({"action": "refuse"}, "neither target nor deployments"),
        ({"fallbacks": "absent"}, "neither a model nor an alias"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused_with_its_place(
    staff: Client, deployment: Deployment, fields: dict[str, Any], says: str
) -> None:
    answer = staff.post(page("routingrule_add"), rule_fields(**fields))
    assert answer.status_code == 200
    assert says in answer.content.decode()
    assert not RoutingRule.objects.exists()


@pytest.mark.parametrize(
    ("target", "serving", "is_fit"),
    [
        ("", "small other", False),
        ("fast", "other", False),
        ("fast", "small", True),
        ("ours/small", "small", True),
        ("small", "small", True),
        ("", "other", True),
    ],
)
def test_the_deployments_of_a_rule_serve_one_model(
    deployment: Deployment, target: str, serving: str, is_fit: bool
) -> None:
    DeploymentFactory(model__name="other")
    save_alias(alias=Alias(name="fast", model=deployment.model), actor=system_actor())
    rows = Deployment.objects.filter(model__name__in=serving.split()).select_related("model").order_by("id")
    errors = check_rule(RoutingRule(name="x", condition="true", target=target), list(rows))
    assert (errors == {}, "deployments" in errors) == (is_fit, not is_fit)


def test_a_rule_is_checked_by_whoever_saves_it(deployment: Deployment) -> None:
    with pytest.raises(InvalidInput) as refused:
        save_rule(rule=RoutingRule(name="x", condition="(", target="small"), actor=system_actor())
    assert list(refused.value.errors) == ["condition"]
    assert not RoutingRule.objects.exists()


def test_deployments_that_are_not_given_stay(deployment: Deployment) -> None:
    rule = RoutingRule(name="x", condition="true")
    save_rule(rule=rule, deployments=[deployment], actor=system_actor())
    save_rule(rule=rule, actor=system_actor())
    assert list(rule.deployments.all()) == [deployment]


def test_what_a_stored_rule_says_may_not_be_understood_any_more(deployment: Deployment) -> None:
    RoutingRule.objects.create(name="old", condition="gone == 1", target="small")
    RoutingRule.objects.create(name="zone", condition="true", time_zone="Old/Place", target="small")
    ours = TeamFactory().organization
    RoutingRule.objects.create(name="theirs", condition="true", target="small", organization=ours, position=1)
    everybody = RoutingRule.objects.create(name="all", condition="true", position=2)
    everybody.deployments.set([deployment])
    routing = load_snapshot().routing
    assert [rule.name for rule in routing.rules_of(None)] == ["all"]
    assert [rule.name for rule in routing.rules_of(ours.id)] == ["theirs", "all"]
    assert routing.rules[0].target == "small", "that of its deployments"


def test_a_models_fallbacks_are_checked_on_its_page(staff: Client, deployment: Deployment) -> None:
    model = deployment.model
    fields = {
        "name": model.name, "tier": "T1", "capabilities": ["chat"], "owned_by": "", "is_active": "on",
        "strategy": "cost", **LISTS, "fallbacks": "absent",
        **{f"deployments-{name}_FORMS": 0 for name in ("TOTAL", "INITIAL", "MIN_NUM", "MAX_NUM")},
    }  # fmt: skip
    assert "neither a model nor an alias" in staff.post(page("model_change", model.pk), fields).content.decode()
    ModelFactory(name="large")
    assert staff.post(page("model_change", model.pk), {**fields, "fallbacks": "large"}).status_code == 302
    model.refresh_from_db()
    assert (model.strategy, model.fallbacks) == ("cost", ["large"])
    entry = load_snapshot().models["small"]
    assert (entry.strategy, entry.fallbacks.general) == ("cost", ("large",))


def test_health_is_shown_with_the_deployment(staff: Client, deployment: Deployment) -> None:
    assert "nothing yet" in staff.get(page("deployment_changelist")).content.decode()
    assert "no probes yet" in staff.get(page("deployment_change", deployment.pk)).content.decode()
    now = datetime.now(UTC)
    HealthState.objects.create(provider=deployment.provider, status="up", since=now, checked_at=now, latency_ms=1234)
    HealthCheck.objects.create(
        provider_id=deployment.provider_id,
        checked_at=now - timedelta(minutes=1),
        kind="models",
        is_up=True,
        latency_ms=1234,
    )
    name = deployment.public_id.encode()
    get_redis().hset(BREAKERS_KEY, name, b'{"kind":"open","subject":"%s","until":9e9,"reason":"server_error"}' % name)
    shown = staff.get(page("deployment_change", deployment.pk)).content.decode()
    assert "1,234 ms" in shown
    assert "100.0 % up" in shown
    assert "Cooling down, 300 s left (server_error)" in shown
    assert "Up" in staff.get(page("healthstate_changelist"), {"q": "ours"}).content.decode()


def test_a_route_is_explained(staff: Client, deployment: Deployment) -> None:
    ModelFactory(name="vectors", capabilities=["embeddings"])
    DeploymentFactory(model__name="large", provider__slug="far")
    Model.objects.filter(name="small").update(fallbacks=["large", "small", "vectors"], context_fallbacks=["large"])
    save_rule(rule=RoutingRule(name="night", condition="hour < 6", target="large", position=1), actor=system_actor())
    save_rule(
        rule=RoutingRule(name="odd", condition="metadata.x == ''", target="large", position=2), actor=system_actor()
    )
    save_rule(
        rule=RoutingRule(
            name="tools", condition="has_tools && has_images && metadata.x == 'y'", target="large", position=3
        ),
        actor=system_actor(),
    )
    HealthState.objects.create(
        provider=deployment.provider, status="down", since=datetime.now(UTC), checked_at=datetime.now(UTC)
    )
    url = page("routingrule_explain")
    asked = {"model": "small", "kind": "chat", "prompt_tokens": 100, "moment_0": "2026-11-21", "moment_1": "12:00:00"}

    def explain(**fields: Any) -> str:
        answer = staff.get(url, {**asked, **fields})
        assert answer.status_code == 200
        return " ".join(answer.content.decode().split())

    assert "Explain a route" in staff.get(url).content.decode()
    plain = explain()
    assert "small goes to small" in plain
    assert "night: does not hold" in plain
    assert "odd: passed over: Key not found" in plain
    assert "down according to the last probes" in plain
    assert "vectors is left out" in plain
    assert "small is left out: it is the model itself" in plain
    by_night = explain(moment_1="03:00:00")
    assert "small goes to large" in by_night
    assert "odd: not asked: an earlier rule decided" in by_night
    assert "<strong>tools</strong>: holds" in explain(has_tools="on", has_images="on", metadata="x=y\nno pair")
    too_long = explain(prompt_tokens=2000)
    assert "longer than the context window of small (1000 tokens)" in too_long
    assert "prompt too long" in too_long
    name = deployment.public_id.encode()
    get_redis().hset(BREAKERS_KEY, name, b'{"kind":"open","subject":"%s","until":9e9}' % name)
    assert "left alone for 300 s: it failed again and again" in explain()
    get_redis().hset(BREAKERS_KEY, name, b'{"kind":"barred","subject":"%s","until":9e9}' % name)
    assert "left alone for 120 s: its provider limits the rate of calls" in explain()


def test_a_route_is_explained_for_a_key_and_a_team(staff: Client, deployment: Deployment) -> None:
    key = ApiKeyFactory(allowed_models=["other"])
    team = TeamFactory()
    save_rule(
        rule=RoutingRule(name="team", condition=f"team == '{team.public_id}'", target="small"), actor=system_actor()
    )
    asked = {"model": "small", "kind": "chat", "prompt_tokens": 1}
    url = page("routingrule_explain")
    assert "or this key may not use it" in staff.get(url, {**asked, "key": key.public_id}).content.decode()
    assert "<strong>team</strong>" in staff.get(url, {**asked, "team": team.public_id}).content.decode()
    organization = team.organization.public_id
    assert "team: does not hold" in staff.get(url, {**asked, "organization": organization}).content.decode()
    for wrong in ({"key": "nonsense"}, {"team": "team_00000000000000000000000000"}, {"prompt_tokens": "x"}):
        assert "goes to" not in staff.get(url, {**asked, **wrong}).content.decode()


def test_rules_that_hold_for_a_model_that_the_key_may_not_use_say_so(staff: Client, deployment: Deployment) -> None:
    DeploymentFactory(model__name="large")
    save_rule(rule=RoutingRule(name="up", condition="true", target="large"), actor=system_actor())
    save_alias(alias=Alias(name="fast", model=deployment.model), actor=system_actor())
    key = ApiKeyFactory(allowed_models=["small"])
    asked = {"model": "fast", "kind": "chat", "prompt_tokens": 1, "key": key.public_id}
    shown = staff.get(page("routingrule_explain"), asked).content.decode()
    assert "holds, but the key may not use large" in shown
    assert "fast is another name for small." in shown


def test_staff_without_the_right_explain_nothing(client: Client) -> None:
    client.force_login(UserFactory(is_staff=True))
    assert client.get(page("routingrule_explain")).status_code == 403


async def test_failures_of_rules_are_added_up_over_processes() -> None:
    take_failures()
    process = Sharing()
    for at in range(2):
        note_failure("rule_1", f"no. {at}")
    process.tick(1e9)
    await process.close()  # waits for what is under way: told five seconds apart, news arrive in their order
    note_failure("rule_1", "no. 2")
    process.tick(2e9)
    await process.close()
    assert (take_failures(), read_failures()) == ({}, {"rule_1": (3, "no. 2")})


def test_without_redis_no_failures_are_shown(settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert read_failures() == {}
