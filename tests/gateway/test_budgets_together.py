"""Two processes, one budget, more calls at once than it allows."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from apps.billing.models import BudgetPeriod
from tests.chaos.journals import running_upstream
from tests.gateway.conftest import run_in_database
from tests.support.gateway_process import GatewayProcess
from tests.support.spending import COST, call_at_once, open_shop, spent_and_recorded

pytestmark = pytest.mark.django_db(transaction=True)

CALLS, ALLOWED = 100, 30


async def test_exactly_as_many_calls_pass_as_the_budget_allows(tmp_path: Path) -> None:
    budget, secret = await run_in_database(lambda: open_shop(calls=ALLOWED))
    async with running_upstream() as upstream:
        with ExitStack() as stack:
            processes = [
                stack.enter_context(
                    GatewayProcess(data_dir=tmp_path, OPENAI_API_KEY="mock", OPENAI_BASE_URL=upstream.url)
                )
                for _ in range(2)
            ]
            for process in processes:
                await run_in_database(process.wait_until_ready)
            tally = await call_at_once([process.url for process in processes], secret, calls=CALLS)
    assert tally.codes == {"": ALLOWED, "billing.budget_exceeded": CALLS - ALLOWED}
    assert tally.statuses == {200: ALLOWED, 402: CALLS - ALLOWED}
    assert sum(upstream.arrived.values()) == ALLOWED
    assert await run_in_database(spent_and_recorded) == (ALLOWED * COST, ALLOWED * COST)
    period = await run_in_database(lambda: BudgetPeriod.objects.get(budget=budget))
    assert (period.spent_micros, period.leased_micros) == (budget.hard_micros, 0)
