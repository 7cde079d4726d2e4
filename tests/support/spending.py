"""Many calls at once on a budget, over several processes, and what became of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from apps.billing.models import Budget, BudgetPeriod, Price, UsageRecord
from apps.users.models import ApiKey
from tests.chaos.journals import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.factories.billing import BudgetFactory
from tests.factories.gateway import DeploymentFactory, ModelFactory, ProviderFactory
from tests.factories.users import ApiKeyFactory

INPUT_MICROS, OUTPUT_MICROS = 1_000_000, 4_000_000
COST = PROMPT_TOKENS + 4 * COMPLETION_TOKENS
"""What one call costs, in micro-units."""
BODY = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": COMPLETION_TOKENS,
}


def open_shop(*, calls: int) -> tuple[Budget, str]:
    """Return a budget of exactly so many calls a day for the organization of a key, and the key's secret."""
    provider = ProviderFactory(slug="openai", kind="openai", from_environment=True)
    DeploymentFactory(model=ModelFactory(name="gpt-4o-mini"), provider=provider)
    Price.objects.create(
        provider="openai",
        model="gpt-4o-mini",
        input_micros=INPUT_MICROS,
        output_micros=OUTPUT_MICROS,
        cached_micros=INPUT_MICROS,
        cache_write_micros=INPUT_MICROS,
        valid_from=datetime(2025, 1, 1, tzinfo=UTC),
    )
    key: ApiKey
    key, secret = ApiKeyFactory.with_secret()
    budget: Budget = BudgetFactory(organization_id=key.organization_id, hard_micros=calls * COST, window="total")
    return budget, secret


@dataclass
class Tally:
    """How calls ended, by status; 0 for a connection that broke."""

    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def passed(self) -> int:
        """Return how many were answered."""
        return self.statuses[200]

    async def until(self, count: int) -> None:
        """Return when so many were answered."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.passed >= count)


async def call_at_once(
    urls: Sequence[str], secret: str, *, calls: int, meanwhile: Callable[[Tally], object] | None = None
) -> Tally:
    """Make calls all at once, in turn to each process; `meanwhile` gives a coroutine that runs beside them."""
    tally = Tally()
    headers = {"Authorization": f"Bearer {secret}"}

    async def call(session: aiohttp.ClientSession, number: int) -> None:
        status, code = 0, ""
        try:
            async with session.post(
                f"{urls[number % len(urls)]}/v1/chat/completions", json=BODY, headers=headers
            ) as answer:
                content = await answer.json(content_type=None)
                status = answer.status
                code = "" if status == 200 else content["error"]["code"]
        except (TimeoutError, aiohttp.ClientError, ValueError):
            code = "broken"
        async with tally.changed:
            tally.statuses[status] += 1
            tally.codes[code] += 1
            tally.changed.notify_all()

    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        beside = [meanwhile(tally)] if meanwhile is not None else []
        await asyncio.gather(*(call(session, number) for number in range(calls)), *beside)
    return tally


def spent_and_recorded() -> tuple[int, int]:
    """Return what the budget says was spent, and what the usage records cost."""
    spent = sum(BudgetPeriod.objects.values_list("spent_micros", flat=True))
    return spent, sum(UsageRecord.objects.values_list("cost_micros", flat=True))
