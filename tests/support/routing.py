"""Models, callers and a health without Redis, for tests of routing that need neither database nor network."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from apps.billing.services.pricing import PriceCard
from apps.core.actor import Actor, ActorKind
from apps.gateway.choices import RuleAction
from apps.gateway.providers.base import Target
from apps.gateway.runtime.health import Health
from apps.gateway.selectors import Caller, ModelEntry, ModelInfo, Route, Snapshot
from apps.gateway.selectors.routing import (
    NO_FALLBACKS,
    AliasEntry,
    Fallbacks,
    RoutingTable,
    RuleEntry,
    compile_condition,
)
from apps.gateway.services.facts import CallFacts
from tests.gateway.conftest import LONG_AGO

ORGANIZATION = UUID(int=1)
OTHER_ORGANIZATION = UUID(int=2)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


class Alone:
    """What a plan knows of other processes: nothing. Notes what is taken and given back."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.told: list[dict[str, Any]] = []
        self.health = Health(clock=self.clock, wall_clock=self.clock, share=self.told.append)
        self.places: dict[str, int] = {}
        self.ended_trials: list[str] = []

    async def take_trial(self, deployment_id: str) -> bool:
        return self.health.take_trial(deployment_id)

    def end_trial(self, deployment_id: str) -> None:
        self.ended_trials.append(deployment_id)

    async def take_place(self, route: Route, name: str) -> bool:
        taken = self.places.get(route.deployment_id, 0)
        self.places[route.deployment_id] = min(taken + 1, route.max_parallel or 0)
        return taken < (route.max_parallel or 0)

    def give_place_back(self, route: Route, name: str) -> None:
        self.places[route.deployment_id] -= 1


def price(micros: int) -> PriceCard:
    """Return a price at which prompt and answer tokens cost the same."""
    return PriceCard(
        input_micros=micros,
        output_micros=micros,
        cached_micros=micros,
        cache_write_micros=micros,
        reasoning_micros=None,
    )


def route(name: str, *, provider: str = "", cost: int = 0, priority: int = 0, weight: int = 1, **fields: Any) -> Route:
    """Return a deployment under a name, at a provider of the same name unless told."""
    target = Target(provider or name, "sandbox", "", "", name)
    return Route(name, target, price(cost), priority, weight, True, **fields)


def model(
    name: str,
    *routes: Route,
    window: int | None = None,
    fallbacks: Fallbacks = NO_FALLBACKS,
    strategy: str = "weighted",
) -> ModelEntry:
    """Return a chat model with its deployments, one of the same name unless told."""
    info = ModelInfo("model_1", name, "T0", window, None, ("chat",), "tests", 0, True, (), None)
    return ModelEntry(info, routes or (route(f"{name}-1"),), strategy, fallbacks)


def snapshot(
    *models: ModelEntry,
    aliases: Iterable[tuple[UUID | None, AliasEntry]] = (),
    rules: Iterable[RuleEntry] = (),
    down: Iterable[str] = (),
) -> Snapshot:
    """Return a catalogue."""
    table = RoutingTable(
        aliases=MappingProxyType({(owner, alias.name): alias for owner, alias in aliases}),
        rules=tuple(rules),
        down=frozenset(down),
    )
    return Snapshot(models={entry.info.name: entry for entry in models}, taken_at=LONG_AGO, routing=table)


def rule(condition: str, **fields: Any) -> RuleEntry:
    """Return a rule that sends calls somewhere."""
    values: dict[str, Any] = {
        "id": "rule_1",
        "name": "a rule",
        "zone": ZoneInfo("UTC"),
        "action": RuleAction.SEND,
        "target": "",
        "deployments": frozenset(),
        "fallbacks": NO_FALLBACKS,
        "message": "",
        "overrides_keys": False,
    }
    return RuleEntry(condition=compile_condition(condition), **{**values, **fields})


def caller(*allowed: str, organization_id: UUID = ORGANIZATION) -> Caller:
    """Return a caller that may use these models, or all."""
    actor = Actor(kind=ActorKind.API_KEY, user_id=UUID(int=3), organization_id=organization_id, api_key_id=UUID(int=4))
    return Caller(actor=actor, allowed_models=frozenset(allowed) or None)


def facts(
    name: str, *, prompt_tokens: int = 10, answer_tokens: int | None = None, tags: tuple[str, ...] = ()
) -> CallFacts:
    """Return the facts of a call."""
    return CallFacts(model=name, end_user="", tags=tags, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)
