"""Hard budgets through the edge: what does not fit is refused before anybody is called, and nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
import pytest_asyncio
from django.db import OperationalError
from pytest_django import Settings

from apps.billing.errors import BudgetExceeded, BudgetsUnreachable
from apps.billing.models import Budget, BudgetHolder, BudgetPeriod, Price
from apps.billing.selectors.budget_matching import EPOCH
from apps.billing.services.budgets import update_budget
from apps.billing.services.leases import PeriodKey, lease_quota, release_holder
from apps.core.actor import system_actor
from apps.core.redis import get_async_redis
from apps.gateway.runtime import Runtime
from apps.gateway.runtime.budgets import Budgets, concern, refuse
from apps.gateway.runtime.lease_book import Period
from apps.gateway.runtime.loading import Loader
from apps.gateway.selectors.budgets import BudgetTerms
from apps.gateway.services import spending
from apps.gateway.services.facts import CallFacts
from apps.users.models import ApiKey
from tests.factories.billing import BudgetFactory
from tests.factories.gateway import LimitFactory
from tests.gateway.conftest import run_in_database

pytestmark = pytest.mark.django_db(transaction=True)

BODY = {"model": "sandbox-small", "messages": [{"role": "user", "content": "[echo:hi]"}], "max_tokens": 10}
FACTS = CallFacts(model="m", end_user="eve", tags=("a", "b"), prompt_tokens=10, answer_tokens=10)


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "_ratios", type(spending._ratios)())


@pytest.fixture
def post(http: httpx.AsyncClient, secret: str) -> Callable[..., Awaitable[httpx.Response]]:
    async def send(**changes: Any) -> httpx.Response:
        return await http.post(
            "/v1/chat/completions", json=BODY | changes, headers={"authorization": f"Bearer {secret}"}
        )

    return send


@pytest.fixture
def make_budget(key: tuple[ApiKey, str]) -> Callable[..., Awaitable[Budget]]:
    async def make(**fields: Any) -> Budget:
        return await run_in_database(lambda: BudgetFactory(organization_id=key[0].organization_id, **fields))

    return make


async def figures() -> tuple[int, int]:
    period = await run_in_database(BudgetPeriod.objects.get)
    return period.spent_micros, period.leased_micros


async def test_a_call_is_charged_to_its_budget(post: Callable, make_budget: Callable, records: Callable) -> None:
    await make_budget(hard_micros=1000)
    answer = await post()
    (record,) = await records()
    assert answer.status_code == 200
    spent, leased = await figures()
    assert (spent, spent + leased <= 1000) == (record.cost_micros, True)


async def test_a_call_that_may_cost_too_much_is_refused_and_nobody_is_called(
    post: Callable, make_budget: Callable, records: Callable
) -> None:
    await make_budget(hard_micros=20, name="Tiny")
    answer = await post()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (402, "billing.budget_exceeded", "insufficient_quota")
    assert answer.headers["x-should-retry"] == "false"
    assert 'The budget "Tiny" of the organization' in error["message"]
    assert "of $0.00002, $0.00 are spent and $0.00 reserved" in error["message"]
    assert "It begins anew at " in error["message"]
    assert await records() == []


async def test_a_call_that_fails_gives_back_what_it_had_reserved(
    post: Callable, make_budget: Callable, runtime: Runtime
) -> None:
    await make_budget(hard_micros=60)
    for _ in range(3):
        assert (await post(messages=[{"role": "user", "content": "[fail:400]"}])).status_code == 400
    assert (await post()).status_code == 200


async def test_a_soft_limit_lets_everything_through(post: Callable, make_budget: Callable, records: Callable) -> None:
    await make_budget(hard_micros=None, soft_micros=1)
    assert (await post()).status_code == 200
    (record,) = await records()
    assert await figures() == (record.cost_micros, 0)


async def test_an_increase_holds_for_the_next_call(post: Callable, make_budget: Callable, runtime: Runtime) -> None:
    budget = await make_budget(hard_micros=5)
    assert (await post()).status_code == 402
    await run_in_database(
        partial(update_budget, actor=system_actor(), budget_id=budget.id, changes={"hard_micros": 10_000})
    )
    runtime.budgets.hear(orjson.dumps({"budget": str(budget.id)}))
    assert (await post()).status_code == 200


@pytest.mark.parametrize(
    ("mode", "is_bound", "status", "cost"),
    [
        ("budgeted", True, 402, None),
        ("budgeted", False, 200, 0),
        ("deny", False, 402, None),
        ("allow", True, 200, 0),
        ("cap", True, 200, 1),
    ],
)
async def test_a_model_without_a_price(
    mode: str, is_bound: bool, status: int, cost: int | None, upstream: Any, post: Callable, make_budget: Callable,
    records: Callable, runtime: Runtime, settings: Settings,
) -> None:  # fmt: skip
    settings.GATEWAY_UNPRICED_MODELS, settings.GATEWAY_UNPRICED_MICROS = mode, 1_000_000
    await runtime.catalogue.reload()
    await make_budget(is_active=is_bound, hard_micros=100_000)
    answer = await post(model="upstream-model")
    assert answer.status_code == status
    costs = [min(record.cost_micros, 1) for record in await records()]
    assert costs == ([] if cost is None else [cost])
    assert (answer.json().get("error") or {}).get("code") == ("billing.model_unpriced" if status == 402 else None)


@pytest.mark.parametrize(("model", "status"), [("sandbox-small", 200), ("upstream-model", 402)])
async def test_where_every_model_needs_a_price_those_without_a_budget_need_it_too(
    model: str, status: int, upstream: Any, post: Callable, runtime: Runtime, settings: Settings
) -> None:
    settings.GATEWAY_UNPRICED_MODELS = "deny"
    await runtime.catalogue.reload()
    assert (await post(model=model)).status_code == status


async def test_a_call_that_no_budget_lets_in_takes_nothing_from_its_limits(
    post: Callable, make_budget: Callable, key: tuple[ApiKey, str], runtime: Runtime
) -> None:
    await run_in_database(lambda: LimitFactory(requests_per_minute=None, parallel_calls=1, tokens_per_minute=100))
    budget = await make_budget(hard_micros=0)
    assert [(await post()).status_code for _ in range(8)] == [402] * 8
    await run_in_database(lambda: Budget.objects.filter(id=budget.id).update(is_active=False))
    runtime.callers.forget(str(key[0].organization_id))
    assert (await post()).status_code == 200


@pytest.mark.parametrize("disables", [False, True])
async def test_what_may_stand_in_is_left_out_when_only_that_does_not_fit(
    disables: bool, upstream: Any, post: Callable, make_budget: Callable, runtime: Runtime
) -> None:
    dear = dict.fromkeys(("input_micros", "output_micros", "cached_micros", "cache_write_micros"), 50_000_000)
    await run_in_database(
        partial(
            Price.objects.create, provider="openai", model="upstream-model", valid_from="2025-01-01T00:00:00Z", **dear
        )
    )
    await runtime.catalogue.reload()
    await make_budget(hard_micros=60)
    assert (await post(fallbacks=["upstream-model"], disable_fallbacks=disables)).status_code == 200
    assert (await post(model="upstream-model", fallbacks=["sandbox-small"])).status_code == 402


async def test_a_price_of_zero_is_a_price(
    upstream: Any, post: Callable, make_budget: Callable, runtime: Runtime
) -> None:
    zero = dict.fromkeys(("input_micros", "output_micros", "cached_micros", "cache_write_micros"), 0)
    await run_in_database(
        partial(
            Price.objects.create, provider="openai", model="upstream-model", valid_from="2025-01-01T00:00:00Z", **zero
        )
    )
    await runtime.catalogue.reload()
    await make_budget(hard_micros=0)
    assert (await post(model="upstream-model")).status_code == 200


# The database away


@pytest_asyncio.fixture
async def lonely(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], None]]:
    """Return a function after which budgets find no database."""

    def lose() -> None:
        def fail(**anything: Any) -> None:
            raise OperationalError("away")

        monkeypatch.setattr(runtime.budgets, "_lease", fail)

    yield lose


async def test_calls_go_on_while_the_process_holds_enough_and_are_then_told_to_wait(
    post: Callable, make_budget: Callable, runtime: Runtime, lonely: Callable
) -> None:
    await make_budget(hard_micros=10_000_000)
    assert (await post()).status_code == 200
    (period,) = runtime.budgets.book._periods.values()
    lonely()
    period.free = 45
    assert (await post()).status_code == 200
    answer = await post(max_tokens=1000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "billing.budgets_unreachable")
    assert int(answer.headers["retry-after"]) <= 2


async def test_by_setting_calls_are_made_without_the_database(
    post: Callable, make_budget: Callable, lonely: Callable, settings: Settings, records: Callable, runtime: Runtime
) -> None:
    settings.GATEWAY_BUDGETS_WITHOUT_DATABASE = "allow"
    await make_budget(hard_micros=10_000)
    lonely()
    assert [(await post()).status_code for _ in range(2)] == [200, 200]
    found = await records()
    assert await figures() == (sum(record.cost_micros for record in found), 0)


# Two processes' worth of budgets over one database


class Office:
    """The budgets of several processes, in one loop."""

    def __init__(self, budget: Budget) -> None:
        self.terms = (BudgetTerms(budget.id, budget.name, budget.scope, "", "", budget.window),)
        self.opened: list[Budgets] = []

    def open(self, **options: Any) -> Budgets:
        self.opened.append(Budgets(Loader(), **options))
        return self.opened[-1]

    async def reserve(self, budgets: Budgets, micros: int) -> Any:
        return await budgets.reserve(self.terms, FACTS, models=("m",), micros=micros)


@pytest_asyncio.fixture
async def office(transactional_db: None) -> AsyncIterator[Office]:
    found = Office(await run_in_database(lambda: BudgetFactory(organization_id=uuid4(), hard_micros=1000)))
    yield found
    for budgets in found.opened:
        await budgets.close()
        budgets._loader.close()


async def test_what_lies_idle_elsewhere_is_recalled_before_a_call_is_refused(office: Office) -> None:
    rich, poor = office.open(), office.open()
    (await office.reserve(rich, 900)).settle(0)
    (period,) = rich.book._periods.values()
    period.is_scarce = False
    waiting = asyncio.create_task(office.reserve(poor, 400))
    async with get_async_redis().pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe("portico:budgets")
        message = None
        async with asyncio.timeout(5):
            while message is None:
                message = await channel.get_message(timeout=0.2)
    rich.hear(message["data"])
    assert (await waiting).micros == 400


async def test_a_recall_that_nobody_heard_of_is_found_by_asking(office: Office) -> None:
    rich, poor = office.open(), office.open(wait_seconds=5.0)
    (await office.reserve(rich, 900)).settle(0)
    (period,) = rich.book._periods.values()
    period.is_scarce = False
    rich._flusher and rich._flusher.cancel()
    waiting = asyncio.create_task(office.reserve(poor, 400))
    async with asyncio.timeout(5):
        while not waiting.done():
            rich.tick()
            await asyncio.sleep(0.05)
    assert (await waiting).micros == 400


async def test_a_call_waits_a_moment_for_another_to_end(office: Office) -> None:
    budgets = office.open()
    first = await office.reserve(budgets, 900)
    waiting = asyncio.create_task(office.reserve(budgets, 400))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    budgets.settle(first, 100)
    assert (await waiting).micros == 400


async def test_it_waits_no_longer_than_that(office: Office) -> None:
    budgets = office.open(wait_seconds=0.1)
    await office.reserve(budgets, 900)
    with pytest.raises(BudgetExceeded, match=r"\$0.0009 reserved"):
        await office.reserve(budgets, 400)


async def test_a_flood_of_calls_that_cannot_fit_asks_once(office: Office) -> None:
    asked = []

    def count(**arguments: Any) -> Any:
        asked.append(arguments)
        return lease_quota(**arguments)

    budgets = office.open(lease=count)
    refused = await asyncio.gather(*(office.reserve(budgets, 1001) for _ in range(200)), return_exceptions=True)
    assert {type(error) for error in refused} == {BudgetExceeded}
    refused = await asyncio.gather(*(office.reserve(budgets, 1002) for _ in range(200)), return_exceptions=True)
    assert {type(error) for error in refused} == {BudgetExceeded}
    assert len(asked) == 1


async def test_a_call_whose_caller_left_while_it_waited_keeps_nothing(office: Office) -> None:
    budgets = office.open(wait_seconds=5.0)
    first = await office.reserve(budgets, 1000)
    waiting = asyncio.create_task(office.reserve(budgets, 600))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    first.settle(0)
    assert (await office.reserve(budgets, 1000)).micros == 1000


async def test_one_whose_leases_were_released_begins_anew(office: Office) -> None:
    budgets = office.open()
    first = await office.reserve(budgets, 900)
    await run_in_database(lambda: [release_holder(holder=row.id) for row in BudgetHolder.objects.all()])
    second = await office.reserve(budgets, 950)
    assert second.charges != first.charges
    assert await figures() == (0, 950)


async def test_what_is_free_goes_back_when_the_process_ends(office: Office) -> None:
    budgets = office.open()
    running = await office.reserve(budgets, 300)
    (await office.reserve(budgets, 500)).settle(0)
    await budgets.close()
    assert await figures() == (0, 300)
    assert running.micros == 300


async def test_a_defect_of_ours_keeps_nobody_waiting(office: Office) -> None:
    def fail(**arguments: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await office.reserve(office.open(lease=fail), 10)


async def test_a_lost_database_is_told_of_at_once_the_second_time(office: Office) -> None:
    def fail(**arguments: Any) -> Any:
        raise OperationalError("away")

    budgets = office.open(lease=fail)
    for _ in range(2):
        with pytest.raises(BudgetsUnreachable):
            await office.reserve(budgets, 10)


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"periods": ["x"]}', b'{"budget": "x"}'])
async def test_messages_that_make_no_sense_are_ignored(office: Office, data: bytes) -> None:
    budgets = office.open()
    (await office.reserve(budgets, 900)).settle(0)
    budgets.hear(data)
    assert (await office.reserve(budgets, 900)).micros == 900


def test_a_call_concerns_the_budgets_that_name_what_it_is_about() -> None:
    def terms(scope: str, subject: str = "", model: str = "") -> BudgetTerms:
        return BudgetTerms(uuid4(), scope, scope, subject, model, "day")

    organization, key, other_model = terms("organization"), terms("key", "k"), terms("organization", model="x")
    each_tag, one_tag, no_tag = terms("tag"), terms("tag", "b"), terms("tag", "c")
    end_user, model = terms("end_user"), terms("model", "m")
    asked = (organization, key, other_model, each_tag, one_tag, no_tag, end_user, model)
    assert concern(asked, FACTS, ("m",)) == (
        (organization, ""), (key, "k"), (each_tag, "a"), (each_tag, "b"), (one_tag, "b"), (end_user, "eve"), (model, "m"),
    )  # fmt: skip
    nobody = CallFacts(model="m", end_user="", tags=(), prompt_tokens=1, answer_tokens=None)
    assert concern((end_user, each_tag), nobody, ("m",)) == ()


def test_a_refusal_says_whose_budget_it_was_and_that_a_total_never_returns() -> None:
    period = Period(BudgetTerms(uuid4(), "Eve", "end_user", "eve", "", "total"), PeriodKey(uuid4(), "eve", EPOCH, None))
    period.limit, period.spent = 1_500_000, 1_400_000
    error = refuse(period, 200_000)
    assert "of the end user 'eve'" in error.message
    assert "of $1.50, $1.40 are spent" in error.message
    assert error.message.endswith("It is never renewed.")
    assert orjson.loads(orjson.dumps(error.extra))["call_micros"] == 200_000
