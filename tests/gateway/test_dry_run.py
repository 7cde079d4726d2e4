"""`x-portico-dry-run`: what would be decided about a call, told without anything being asked, counted, taken or written."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.billing.models import Budget, BudgetPeriod
from apps.billing.selectors.budget_matching import window_of
from apps.core.actor import Actor, ActorKind
from apps.core.ids import uuid7
from apps.core.redis import get_redis
from apps.gateway.providers.base import CAPABILITY_CHAT
from apps.gateway.selectors import Caller
from apps.gateway.services.dry_run import _embed_nothing, explain_call
from apps.users.models import ApiKey
from tests.factories.billing import BudgetFactory
from tests.factories.gateway import CachePolicyFactory, GuardBindingFactory, LimitFactory
from tests.gateway.conftest import run_in_database
from tests.support.waiting import until

DRY = {"x-portico-dry-run": "true"}
CHAT = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[echo:x]"}], "max_tokens": 100}


def everything_kept() -> dict[str, Any]:
    """Return all of Redis but what says who listens, and how often each table was written."""
    redis = get_redis()
    kept = {key: redis.dump(key) for key in redis.scan_iter("portico:*")}
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname ~ '^(billing|gateway)_'"
        )
        return kept | dict(cursor.fetchall())


@pytest.fixture
async def post(runtime, http, key):
    """Return a coroutine function that posts as `key` and returns the answer."""

    async def send(path: str = "/chat/completions", body: dict[str, Any] | None = None, **headers: str):
        return await http.post(
            f"/v1{path}",
            json=CHAT if body is None else body,
            headers={"Authorization": f"Bearer {key[1]}", **DRY} | {k.replace("_", "-"): v for k, v in headers.items()},
        )

    return send


async def set_up(key: ApiKey, **limits: int) -> None:
    """Give a key a limit, a budget, a guardrail and a cache."""

    def build() -> None:
        LimitFactory(organization=key.organization, scope="organization", **{"requests_per_minute": 5} | limits)
        BudgetFactory(organization_id=key.organization_id, name="Monthly", hard_micros=2_000_000)
        GuardBindingFactory()
        CachePolicyFactory(organization=key.organization)

    await run_in_database(build)


async def test_it_tells_every_decision_and_changes_nothing(post, key, records, monkeypatch) -> None:
    await set_up(key[0])
    monkeypatch.setattr("apps.gateway.providers.sandbox.SandboxProvider.complete", forbidden)
    before = await run_in_database(everything_kept)
    body = CHAT | {"messages": [{"role": "user", "content": "Mail ada@example.com and bob@example.com"}]}
    answers = [await post(body=body) for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].headers["x-portico-dry-run"] == "true"
    told = answers[-1].json()
    assert told.pop("id").startswith("req_")
    [candidate] = told["model"].pop("candidates")
    assert candidate.pop("deployment").startswith("dep_")
    prompt_tokens = told.pop("prompt_tokens")
    [budget] = told.pop("budgets")
    assert told == {
        "object": "dry_run",
        "decision": "allow",
        "error": None,
        "model": {"asked": "sandbox-small", "chosen": "sandbox-small", "rule": None, "fallbacks": []},
        "answer_tokens": 100,
        "guardrails": {
            "changes_prompt": True,
            "filters_answer": True,
            "findings": [{"detector": "pii", "kind": "email", "mode": "mask", "count": 2}],
            "models_not_asked": [],
        },
        "cache": {"state": "miss", "age_seconds": None, "meaning_not_compared": False},
        "limits": [
            {
                "whose": f"organization {key[0].organization.public_id}",
                "of": "requests",
                "limit": 5,
                "used": 0,
                "left": 5,
            }
        ],
        "worst_case_cost": told["worst_case_cost"],
    }
    assert candidate == {
        "provider": "sandbox",
        "upstream_model": "sandbox-small",
        "priority": 0,
        "weight": candidate["weight"],
        "state": "closed",
    }
    assert 5 < prompt_tokens < 50
    assert 0.0001 < float(told["worst_case_cost"]) < 0.0002
    assert (budget["name"], float(budget["limit"]), float(budget["spent"]), float(budget["left"])) == (
        "Monthly",
        2,
        0,
        2,
    )
    assert budget["resets_at"] is not None
    assert await records() == []
    assert await run_in_database(everything_kept) == before


async def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("a dry run asks no provider")


async def test_real_calls_move_what_it_tells(post, key) -> None:
    await set_up(key[0])
    assert (await post(x_portico_dry_run="no")).json()["object"] == "chat.completion"
    await until(lambda: any(get_redis().scan_iter("portico:cache:*")))
    told = (await post()).json()
    assert [(limit["used"], limit["left"]) for limit in told["limits"]] == [(1, 4)]
    assert told["cache"]["state"] == "hit"
    assert float(told["worst_case_cost"]) == 0


class TestRefusals:
    async def test_of_a_limit(self, post, key, http) -> None:
        await set_up(key[0], requests_per_minute=1)
        await post(x_portico_dry_run="")
        answer = await post()
        told = answer.json()
        assert (answer.status_code, told["decision"]) == (200, "refuse")
        assert (told["error"]["status"], told["error"]["code"]) == (429, "gateway.request_limit_reached")
        assert 0 < told["error"]["retry_after"] <= 61
        assert told["budgets"][0]["name"] == "Monthly", "the rest is told all the same"

    async def test_of_a_prompt_that_is_too_long_for_a_limit(self, post, key) -> None:
        await set_up(key[0], tokens_per_minute=1)
        told = (await post()).json()
        assert (told["error"]["code"], told["limits"]) == ("gateway.token_limit_reached", [])

    async def test_of_a_budget(self, post, key) -> None:
        def spend() -> None:
            budget = BudgetFactory(organization_id=key[0].organization_id, name="Tight", hard_micros=1000)
            starts_at, ends_at = window_of(budget.window, timezone.now())
            BudgetPeriod.objects.create(
                budget=budget, subject="", starts_at=starts_at, ends_at=ends_at, spent_micros=950, leased_micros=20
            )

        await run_in_database(spend)
        told = (await post()).json()
        assert (told["error"]["status"], told["error"]["code"]) == (402, "billing.budget_exceeded")
        assert '"Tight"' in told["error"]["message"]
        [budget] = told["budgets"]
        assert (budget["spent"], budget["reserved"], budget["left"]) == ("0.000950", "0.000020", "0.000050")

    async def test_of_a_guardrail(self, post) -> None:
        await run_in_database(lambda: GuardBindingFactory(policy__pii_input="block"))
        told = (await post(body=CHAT | {"messages": [{"role": "user", "content": "Mail ada@example.com"}]})).json()
        assert (told["error"]["status"], told["error"]["code"]) == (400, "gateway.content_blocked")
        assert told["guardrails"]["findings"][0]["count"] == 1

    async def test_of_a_cache_that_must_answer(self, post, key) -> None:
        await set_up(key[0])
        told = (await post(cache_control="only-if-cached")).json()
        assert told["error"]["code"] == "gateway.cache_missed"

    @pytest.mark.parametrize(
        ("model", "code"),
        [("nothing", "gateway.model_unknown"), ("sandbox-embedding", "gateway.model_unsuited")],
    )
    async def test_of_a_model(self, post, model: str, code: str) -> None:
        told = (await post(body=CHAT | {"model": model})).json()
        assert (told["decision"], told["error"]["code"]) == ("refuse", code)
        assert (told["model"]["asked"], told["model"]["chosen"]) == (model, None)

    async def test_of_a_model_without_a_price(self, upstream, post, runtime, settings) -> None:
        settings.GATEWAY_UNPRICED_MODELS = "deny"
        await runtime.catalogue.reload()
        told = (await post(body=CHAT | {"model": "upstream-model"})).json()
        assert (told["error"]["status"], told["error"]["code"]) == (402, "billing.model_unpriced")
        assert (await post()).json()["decision"] == "allow"

    async def test_of_somebody_without_an_organization(self, runtime) -> None:
        nobody = Caller(actor=Actor(kind=ActorKind.USER, user_id=uuid7()))
        told = await explain_call(
            runtime=runtime, caller=nobody, request=dict(CHAT), kind=CAPABILITY_CHAT, request_id=uuid7()
        )
        assert (told["decision"], told["error"]["status"]) == ("refuse", 403)

    async def test_of_a_key_is_refused_as_ever(self, http, runtime) -> None:
        answer = await http.post("/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer sk-no", **DRY})
        assert answer.status_code == 401


@pytest.mark.parametrize("model", [None, "", 7])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": CHAT["messages"]}),
        ("/messages", {"max_tokens": 50, "messages": CHAT["messages"]}),
        ("/responses", {"input": "Hi"}),
        ("/completions", {"prompt": "Hi"}),
        ("/embeddings", {"input": "Hi"}),
    ],
)
async def test_a_request_that_names_no_model_is_refused_as_ever(post, path: str, body: dict[str, Any], model) -> None:
    answers = [await post(path, body), await post(path, body | {"model": model})]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert ["model" in answer.json()["error"]["message"] for answer in answers] == [True, True]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/messages", {"model": "sandbox-small", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}),
        ("/responses", {"model": "sandbox-small", "input": "Hi"}),
        ("/completions", {"model": "sandbox-small", "prompt": "Hi"}),
        ("/embeddings", {"model": "sandbox-embedding", "input": "Hi"}),
    ],
)
async def test_every_entrance_answers(post, records, path: str, body: dict[str, Any]) -> None:
    told = (await post(path, body)).json()
    assert (told["object"], told["decision"]) == ("dry_run", "allow")
    assert (told["guardrails"], told["cache"], told["limits"], told["budgets"]) == (None, None, [], [])
    assert await records() == []


async def test_what_cannot_be_asked_is_left_out(post, key, runtime, monkeypatch) -> None:
    await set_up(key[0])
    await post()

    async def down(_: object) -> None:
        raise OSError("the database is gone")

    monkeypatch.setattr(runtime.loader, "load", down)
    told = (await post()).json()
    assert (told["decision"], told["budgets"]) == ("allow", None)
    with pytest.raises(AssertionError):
        await _embed_nothing("model", "text")


async def test_a_budget_that_was_just_switched_off_is_left_out(post, key, runtime) -> None:
    await set_up(key[0])
    await post()
    await run_in_database(lambda: Budget.objects.update(is_active=False))
    assert (await post()).json()["budgets"] == []


async def test_without_redis_and_with_refusing_it_says_so(post, key, runtime, settings, monkeypatch) -> None:
    await set_up(key[0])
    settings.GATEWAY_LIMITS_WITHOUT_REDIS = "refuse"
    monkeypatch.setattr(runtime.limiter, "_redis_due", float("inf"))
    told = (await post()).json()
    assert (told["error"]["status"], told["limits"]) == (503, [])
