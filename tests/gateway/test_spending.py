"""What a call may cost at most."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.billing.models import PriceCard
from apps.gateway.providers.base import CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, Target
from apps.gateway.selectors import Route
from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.budgets import budgets_of
from apps.gateway.services import spending
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.spending import answer_bound, loose_prompt, observe_prompt, tight_prompt, worst_case
from tests.factories.billing import BudgetFactory
from tests.factories.users import ApiKeyFactory
from tests.gateway.conftest import offline_entry

CARD = PriceCard(input_micros=1_000_000, output_micros=4_000_000, cached_micros=500_000, cache_write_micros=1_250_000)
ROUTE = Route("dep_1", Target("openai", "openai", "", "", "m"), CARD, 0, 1, True)
FACTS = CallFacts(model="m", end_user="", tags=(), prompt_tokens=100, answer_tokens=None)


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "_ratios", type(spending._ratios)())


@pytest.mark.parametrize(
    ("card", "request_", "micros"),
    [
        (CARD, {}, 125 + 40),
        (replace(CARD, reasoning_micros=5_000_000), {}, 125 + 50),
        (replace(CARD, cache_write_1h_micros=2_000_000), {}, 200 + 40),
        (replace(CARD, long_after_tokens=99, long_input_micros=3_000_000, long_output_micros=6_000_000), {}, 300 + 60),
        (replace(CARD, long_after_tokens=100, long_input_micros=3_000_000), {}, 125 + 40),
        (CARD, {"service_tier": "priority"}, 2000 + 80),
        (CARD, {"service_tier": "flex"}, 125 + 40),
        (replace(CARD, cache_write_micros=1, input_micros=1, cached_micros=0), {}, 1 + 40),
    ],
    ids=["plain", "reasoning", "hour", "long", "not long", "priority", "flex", "rounded up"],
)
def test_the_worst_case_is_the_dearest_that_can_come(card: PriceCard, request_: dict[str, Any], micros: int) -> None:
    dear = replace(CARD, input_micros=20_000_000, output_micros=8_000_000)
    route = replace(ROUTE, price=card, tier_prices={"priority": dear})
    assert worst_case(route, 100, 10, request_) == micros


@pytest.mark.parametrize(
    ("bound", "largest", "request_", "kind", "tokens"),
    [
        (50, 1000, {}, CAPABILITY_CHAT, 50),
        (None, 1000, {"n": 2}, CAPABILITY_CHAT, 2000),
        (None, None, {}, CAPABILITY_CHAT, 4096),
        (50, 1000, {}, CAPABILITY_EMBEDDINGS, 0),
    ],
    ids=["the caller's", "the model's", "nobody's", "vectors"],
)
def test_an_answer_is_bounded(bound: int | None, largest: int | None, request_: dict, kind: str, tokens: int) -> None:
    entry = offline_entry("small")
    entry = replace(entry, info=replace(entry.info, max_output_tokens=largest))
    assert answer_bound(replace(FACTS, answer_tokens=bound), entry, request_, kind) == tokens


def test_a_prompt_has_a_margin_until_its_provider_has_shown_what_it_counts() -> None:
    assert (loose_prompt(ROUTE, FACTS), tight_prompt(ROUTE, FACTS)) == (133, 133)
    observe_prompt(ROUTE, estimate=10, tokens=8)
    assert (loose_prompt(ROUTE, FACTS), tight_prompt(ROUTE, FACTS)) == (133, 80)
    observe_prompt(ROUTE, estimate=9, tokens=12)
    observe_prompt(ROUTE, estimate=10, tokens=3)
    observe_prompt(ROUTE, estimate=0, tokens=50)
    assert (loose_prompt(ROUTE, FACTS), tight_prompt(ROUTE, FACTS)) == (134, 134)
    assert tight_prompt(ROUTE, replace(FACTS, prompt_tokens=9)) == 12


@pytest.mark.django_db
def test_a_caller_has_the_hard_budgets_that_can_concern_its_calls() -> None:
    key = ApiKeyFactory()
    team, other = uuid4(), uuid4()
    bound = Bound(key.organization_id, key.user_id, key, (team, other))

    def make(scope: str, subject: str = "", **fields: Any) -> UUID:
        return BudgetFactory(organization_id=key.organization_id, scope=scope, subject=subject, **fields).id

    whole, user, of_key, teams = make("organization"), make("user"), make("key", str(key.id)), make("team")
    one_team, tag, model = make("team", str(other)), make("tag"), make("model", "m")
    make("user", str(uuid4())), make("key", str(uuid4())), make("team", str(uuid4()))
    make("organization", is_active=False), make("organization", hard_micros=None, soft_micros=1)
    BudgetFactory(organization_id=uuid4())
    assert [(terms.budget_id, terms.subject) for terms in budgets_of(bound)] == [
        (whole, ""), (user, str(key.user_id)), (of_key, str(key.id)), (teams, str(team)), (teams, str(other)),
        (one_team, str(other)), (tag, ""), (model, "m"),
    ]  # fmt: skip
    assert [terms.budget_id for terms in budgets_of(Bound(key.organization_id))] == [whole, tag, model]


def test_so_many_models_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "MAX_RATIOS", 1)
    other = replace(ROUTE, target=replace(ROUTE.target, upstream_model="other"))
    observe_prompt(ROUTE, estimate=10, tokens=8)
    observe_prompt(other, estimate=10, tokens=8)
    assert (tight_prompt(ROUTE, FACTS), tight_prompt(other, FACTS)) == (133, 80)
