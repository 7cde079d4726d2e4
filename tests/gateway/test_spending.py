"""What a call may cost at most."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.billing.models import PriceCard
from apps.gateway.providers.base import CAPABILITY_CHAT, CAPABILITY_EMBEDDINGS, Target
from apps.gateway.providers.tokens import count_prompt, estimate_prompt
from apps.gateway.selectors import Route
from apps.gateway.selectors.bound import Bound
from apps.gateway.selectors.budgets import budgets_of
from apps.gateway.services import spending
from apps.gateway.services.facts import CallFacts
from apps.gateway.services.spending import PromptBound, answer_bound, bound_prompt, observe_prompt, worst_case
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


def tight(route: Route = ROUTE, facts: CallFacts = FACTS, text: str = "hi") -> int:
    return PromptBound(facts, {"messages": [{"role": "user", "content": text}]}).tight(route)


def test_a_prompt_has_a_margin_until_its_provider_has_shown_what_it_counts() -> None:
    assert tight() == 133
    observe_prompt(ROUTE, estimate=10, tokens=8)
    assert tight() == 80
    observe_prompt(ROUTE, estimate=9, tokens=12)
    observe_prompt(ROUTE, estimate=10, tokens=3)
    observe_prompt(ROUTE, estimate=0, tokens=50)
    assert tight() == 134
    assert tight(facts=replace(FACTS, prompt_tokens=9)) == 12


def test_what_no_text_can_have_says_nothing_of_other_prompts() -> None:
    observe_prompt(ROUTE, estimate=10, tokens=100_000)
    assert tight() == 400


@pytest.mark.parametrize("text", ["🫠🪬🪩🫥", "龘靐齉爩", "ѯѱѳѵѷ", "\x01\x02", "a̶̡̢̛", "}{;)(~`^"], ids=ascii)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4", "m"])
def test_no_text_is_too_dense_for_its_bound(text: str, model: str) -> None:
    request = {"messages": [{"role": "user", "content": text * 200}]}
    route = replace(ROUTE, target=replace(ROUTE.target, upstream_model=model))
    observe_prompt(route, estimate=100, tokens=90)
    bound = PromptBound(replace(FACTS, prompt_tokens=estimate_prompt(request)), request)
    tokens = count_prompt(request, model)
    assert tokens > estimate_prompt(request) * 1.25
    assert bound.loose(route) >= tokens
    assert bound.tight(route) >= tokens


async def test_long_prompts_are_counted_before_anybody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    monkeypatch.setattr(
        spending, "count_prompt", lambda request, model: threads.append(threading.current_thread().name) or 50_000
    )
    runtime: Any = SimpleNamespace(loop=asyncio.get_running_loop())
    short = await bound_prompt(runtime, replace(FACTS, prompt_tokens=20_000), {}, [ROUTE])
    assert threads == []
    long = await bound_prompt(runtime, replace(FACTS, prompt_tokens=20_001), {}, [ROUTE])
    assert threads != [threading.current_thread().name]
    assert (short.loose(ROUTE), long.tight(ROUTE)) == (80_008, 67_500)
    assert len(threads) == 1


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
    assert (tight(ROUTE), tight(other)) == (133, 80)
