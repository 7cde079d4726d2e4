"""Change aliases and routing rules."""

from __future__ import annotations

from collections.abc import Iterable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db import transaction

from apps.core.actor import Actor
from apps.core.errors import ExpressionInvalid, InvalidInput
from apps.events.services import publish
from apps.gateway.choices import RuleAction
from apps.gateway.events import AliasChanged, RoutingRuleChanged
from apps.gateway.models import Alias, Deployment, Model, Provider, RoutingRule
from apps.gateway.selectors.routing import compile_condition
from apps.gateway.services.announcing import announce_catalogue_change

LISTS = ("fallbacks", "context_fallbacks", "content_fallbacks")


@transaction.atomic
def save_alias(*, alias: Alias, actor: Actor) -> Alias:
    """Store a new or changed alias. Raise InvalidInput, with `errors` by field."""
    errors = check_fallbacks(alias)
    if Model.objects.filter(name=alias.name).exists():
        errors["name"] = ["A model has this name, and a model's own name always means that model."]
    if errors:
        raise InvalidInput("The alias cannot be saved.", errors=errors)
    what = "created" if alias._state.adding else "updated"
    alias.save()
    _tell_alias(alias, what, actor)
    return alias


@transaction.atomic
def delete_alias(*, alias: Alias, actor: Actor) -> None:
    """Take an alias away: calls that use it find no model from now on."""
    _tell_alias(alias, "deleted", actor)
    alias.delete()


@transaction.atomic
def save_rule(*, rule: RoutingRule, deployments: Iterable[Deployment] | None = None, actor: Actor) -> RoutingRule:
    """Store a new or changed rule, with its deployments where they are given. Raise InvalidInput, with `errors` by field."""
    rows = list(deployments) if deployments is not None else None
    errors = check_rule(
        rule, rows if rows is not None else ([] if rule._state.adding else list(rule.deployments.all()))
    )
    if errors:
        raise InvalidInput("The rule cannot be saved.", errors=errors)
    what = "created" if rule._state.adding else "updated"
    rule.save()
    if rows is not None:
        rule.deployments.set(rows)
    _tell_rule(rule, what, actor)
    return rule


@transaction.atomic
def delete_rule(*, rule: RoutingRule, actor: Actor) -> None:
    """Take a rule away."""
    _tell_rule(rule, "deleted", actor)
    rule.delete()


def check_rule(rule: RoutingRule, deployments: list[Deployment]) -> dict[str, list[str]]:
    """Return what is wrong with a rule, by field."""
    errors = check_fallbacks(rule)
    try:
        compile_condition(rule.condition)
    except ExpressionInvalid as error:
        errors["condition"] = [error.message]
    try:
        ZoneInfo(rule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        errors["time_zone"] = ["There is no such time zone; use a name such as Europe/Berlin."]
    if rule.action == RuleAction.REFUSE:
        if rule.target or deployments:
            errors["action"] = ["A rule that refuses has neither target nor deployments."]
        return errors
    if rule.target and not is_name_known(rule.target):
        errors["target"] = [f"There is neither a model nor an alias {rule.target!r}."]
    if not (rule.target or deployments or any(getattr(rule, name) for name in LISTS)):
        errors["action"] = ["Say where the calls go: a target, deployments, or fallbacks."]
    served = {deployment.model.name for deployment in deployments}
    if len(served) > 1 or (served and rule.target and _model_of(rule.target) not in served):
        errors["deployments"] = ["All deployments have to serve the one model that the rule sends to."]
    return errors


def check_fallbacks(row: Alias | RoutingRule | Model) -> dict[str, list[str]]:
    """Return what is wrong with the lists of fallbacks of a row, by field."""
    found = {}
    for field in LISTS:
        unknown = [name for name in getattr(row, field) or [] if not is_name_known(name)]
        if unknown:
            found[field] = [f"There is neither a model nor an alias {name!r}." for name in unknown]
    return found


def is_name_known(name: str) -> bool:
    """Tell whether a name means something to anybody: a model, an alias, or a model at one provider."""
    if Model.objects.filter(name=name).exists() or Alias.objects.filter(name=name).exists():
        return True
    provider, _, rest = name.partition("/")
    return Provider.objects.filter(slug=provider, deployments__model__name=rest).exists()


def _model_of(name: str) -> str:
    alias = Alias.objects.filter(name=name).select_related("model").first()
    if alias is not None:
        return alias.model.name
    return name if Model.objects.filter(name=name).exists() else name.partition("/")[2]


def _tell_alias(alias: Alias, what: str, actor: Actor) -> None:
    event = AliasChanged(aggregate_id=alias.id, name=alias.name, model=alias.model.name, what=what)
    publish(event, actor=actor)
    announce_catalogue_change()


def _tell_rule(rule: RoutingRule, what: str, actor: Actor) -> None:
    event = RoutingRuleChanged(aggregate_id=rule.id, name=rule.name, what=what, is_active=rule.is_active)
    publish(event, actor=actor)
    announce_catalogue_change()
