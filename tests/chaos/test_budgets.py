"""A thousand calls at once over four processes, on a budget of exactly three hundred, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from apps.billing.models import BudgetPeriod
from apps.core.redis import get_redis
from apps.gateway.runtime.replay import replay_orphans
from tests.chaos.journals import UpstreamJournal, running_upstream
from tests.gateway.conftest import run_in_database
from tests.support.gateway_process import GatewayProcess
from tests.support.spending import COST, Tally, call_at_once, open_shop, spent_and_recorded
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

PROCESSES, CALLS, ALLOWED = 4, 1000, 300
Meanwhile = Callable[[list[GatewayProcess]], Callable[[Tally], object]]


async def run(
    data_dir: Path, upstream: UpstreamJournal, secret: str, meanwhile: Meanwhile | None = None
) -> tuple[Tally, list[GatewayProcess]]:
    """Let the calls loose on the processes and end these; return how the calls ended."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(GatewayProcess(data_dir=data_dir, OPENAI_API_KEY="mock", OPENAI_BASE_URL=upstream.url))
            for _ in range(PROCESSES)
        ]
        for process in processes:
            await run_in_database(process.wait_until_ready)
        beside = meanwhile(processes) if meanwhile is not None else None
        tally = await call_at_once([process.url for process in processes], secret, calls=CALLS, meanwhile=beside)
    return tally, processes


def flush_in_the_middle(processes: list[GatewayProcess]) -> Callable[[Tally], object]:
    async def flush(tally: Tally) -> None:
        await tally.until(ALLOWED // 3)
        await asyncio.to_thread(get_redis().flushall)

    return flush


def kill_one_in_the_middle(processes: list[GatewayProcess]) -> Callable[[Tally], object]:
    async def kill(tally: Tally) -> None:
        await tally.until(ALLOWED // 3)
        await asyncio.to_thread(processes[0].kill)

    return kill


def check() -> dict:
    """Return what `budget_check` finds."""
    out = StringIO()
    call_command("budget_check", "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.parametrize("meanwhile", [None, flush_in_the_middle], ids=["undisturbed", "redis flushed"])
async def test_exactly_as_many_pass_as_the_budget_allows(tmp_path: Path, meanwhile: Meanwhile | None) -> None:
    budget, secret = await run_in_database(lambda: open_shop(calls=ALLOWED))
    async with running_upstream() as upstream:
        tally, _ = await run(tmp_path, upstream, secret, meanwhile)
    print(f"passed {tally.passed} refused {tally.statuses[402]} of {CALLS}, allowed {ALLOWED}: {dict(tally.codes)}")  # noqa: T201
    assert tally.codes == {"": ALLOWED, "billing.budget_exceeded": CALLS - ALLOWED}
    assert sum(upstream.arrived.values()) == ALLOWED
    assert await run_in_database(spent_and_recorded) == (ALLOWED * COST, ALLOWED * COST)
    assert (await run_in_database(check))["ok"] is True
    period = await run_in_database(lambda: BudgetPeriod.objects.get(budget=budget))
    assert (period.spent_micros, period.leased_micros) == (budget.hard_micros, 0)


async def test_a_killed_process_loses_nothing_and_overspends_nothing(tmp_path: Path) -> None:
    budget, secret = await run_in_database(lambda: open_shop(calls=ALLOWED))
    async with running_upstream() as upstream:
        tally, _ = await run(tmp_path, upstream, secret, kill_one_in_the_middle)
    await run_in_database(lambda: replay_orphans(tmp_path / "journal"))
    spent, recorded = await run_in_database(spent_and_recorded)
    print(f"passed {tally.passed}, spent {spent} of {budget.hard_micros}: {dict(tally.codes)}")  # noqa: T201
    assert set(tally.codes) <= {"", "billing.budget_exceeded", "broken"}
    assert ALLOWED // 3 <= tally.passed <= ALLOWED
    assert spent == recorded <= budget.hard_micros
    assert (await run_in_database(check))["ok"] is True
    # What the killed one held is free within seconds of a start, not only when its time has run out.
    with GatewayProcess(data_dir=tmp_path, OPENAI_API_KEY="mock", OPENAI_BASE_URL="http://127.0.0.1:1/v1") as next_one:
        await run_in_database(next_one.wait_until_ready)
        await run_in_database(lambda: wait_until(nothing_is_leased, seconds=15))
    assert await run_in_database(spent_and_recorded) == (spent, spent)
    assert list((tmp_path / "journal").glob("*")) == []


def nothing_is_leased() -> bool:
    """Tell whether no quota is held by anybody."""
    return BudgetPeriod.objects.get().leased_micros == 0
