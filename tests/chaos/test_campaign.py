"""Thousands of calls, dozens of faults: nothing lost, doubled, invented, overspent. `make chaos SEED=…` repeats a run."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from apps.core.embedded.state import choose_port
from tests.chaos.callers import Callers
from tests.chaos.faults import Faults, manage
from tests.chaos.judging import Judgement, judge
from tests.chaos.moods import MoodyUpstream, running_moody
from tests.support.running import RunningPortico

KEY = "chaos-key-0123456789-0123456789-0123456789"
CALLS, AT_ONCE, FAULTS = 2_400, 24, 52
CAP_MICROS = 26_000
"""About three quarters of what all calls would cost: the cap is reached while faults go on."""
QUIET_SECONDS = 1.2
SETTLE_SECONDS = 90
PLANTED = Path(__file__).parent / "planted"

pytestmark = pytest.mark.chaos


def choose_seed() -> int:
    """Return SEED of the environment, else a new one; it is printed either way."""
    return int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))


async def set_budget(portico: RunningPortico) -> None:
    """Give the organization of the key a hard cap, through the API."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
        session.post(
            f"http://127.0.0.1:{portico.port}/api/v3/billing/budgets",
            json={
                "name": "Chaos",
                "scope": "organization",
                "window": "total",
                "hard_micros": CAP_MICROS,
            },
        ) as answer,
    ):
        assert answer.status == 201, await answer.text()


async def settle(
    portico: RunningPortico, callers: Callers, upstream: MoodyUpstream, *, within_seconds: float = SETTLE_SECONDS
) -> Judgement:
    """Wait until every journal has been shipped or replayed, then judge."""
    judgement = Judgement(lost=["never read"])
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        try:
            text = await asyncio.to_thread(manage, portico, "usage_export", "--format", "ndjson")
        except subprocess.CalledProcessError:
            await asyncio.sleep(1)
            continue
        judgement = judge([json.loads(line) for line in text.splitlines()], callers, upstream, cap_micros=CAP_MICROS)
        if not judgement.lost:
            break
        await asyncio.sleep(1)
    return judgement


async def run_campaign(
    data_dir: Path,
    *,
    seed: int,
    calls: int,
    faults: int,
    settle_seconds: float = SETTLE_SECONDS,
    **environment: str,
) -> tuple[Judgement, Callers, Faults, str]:
    """Run a whole campaign; return the judgement, what happened, and the product's own check of its books."""
    async with running_moody(seed) as upstream:
        with RunningPortico(
            data_dir,
            choose_port(),
            PORTICO_API_KEY=KEY,
            OPENAI_API_KEY="mock",
            OPENAI_BASE_URL=upstream.url,
            **environment,
        ) as portico:
            await asyncio.to_thread(portico.wait_for_banner)
            await set_budget(portico)
            callers = Callers(f"http://127.0.0.1:{portico.port}", KEY, seed)
            series = Faults(portico, seed)
            struck = asyncio.Event()
            work = asyncio.create_task(callers.run(calls, at_once=AT_ONCE, at_least_until=struck))
            for number in range(1, faults + 1):
                # A fault when its share of the calls has been made: calls and faults end together.
                await callers.until(calls * number // (faults + 1))
                await series.strike()
                await asyncio.sleep(QUIET_SECONDS)
            struck.set()
            await work
            judgement = await settle(portico, callers, upstream, within_seconds=settle_seconds)
            books = await asyncio.to_thread(manage, portico, "ledger_check", "--json")
    return judgement, callers, series, books


async def test_whatever_is_done_to_it_the_books_are_exact(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seed = choose_seed()
    judgement, callers, faults, books = await run_campaign(tmp_path / "data", seed=seed, calls=CALLS, faults=FAULTS)
    with capfd.disabled():
        sys.stdout.write(
            f"\n{judgement} seed {seed}\ncalls {callers.made} acknowledged {len(callers.acknowledged)} left {len(callers.left)} "
            f"broken {callers.broken} refused {dict(callers.refused)} spent {judgement.spent_micros} of {CAP_MICROS} "
            f"faults {faults.done.total()} {dict(faults.done)}\n"
        )
    assert judgement.is_clean, judgement
    assert json.loads(books)["ok"] is True
    assert callers.made >= CALLS
    assert faults.done.total() >= FAULTS
    assert set(callers.refused) <= {402, 429, 500, 502, 503, 504}
    assert 401 not in callers.refused
    assert len(callers.acknowledged) >= CALLS // 4


async def test_the_checker_catches_a_planted_bug(tmp_path: Path) -> None:
    judgement, *_ = await run_campaign(
        tmp_path / "data", seed=7, calls=300, faults=0, settle_seconds=20, PYTHONPATH=str(PLANTED)
    )
    assert judgement.lost or judgement.invented, "a product that forgets every 40th call was found faultless"
