"""Acknowledged calls = usage records = ledger debits, whatever dies while 200 calls run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from apps.core.embedded.state import choose_port
from tests.chaos.faults import find_victim, manage
from tests.chaos.journals import ClientJournal, UpstreamJournal, Verdict, compare, running_upstream
from tests.support.running import RunningPortico

KEY = "chaos-key-0123456789-0123456789-0123456789"
CALLS, AT_ONCE = 1000, 200
SETTLE_SECONDS = 60

pytestmark = pytest.mark.chaos

VICTIMS = ("web", "worker", "relay", "postgres", "redis")


async def settle(portico: RunningPortico, client: ClientJournal, upstream: UpstreamJournal) -> Verdict:
    """Wait until the books agree with the journals, at most a minute; return the last comparison."""
    verdict = Verdict(["never read"], [], [])
    for _ in range(SETTLE_SECONDS):
        try:
            text = await asyncio.to_thread(manage, portico, "usage_export", "--format", "ndjson")
        except subprocess.CalledProcessError:
            await asyncio.sleep(1)
            continue
        verdict = compare([json.loads(line) for line in text.splitlines()], client, upstream)
        if not verdict.lost:
            break
        await asyncio.sleep(1)
    return verdict


@pytest.mark.parametrize("victim", VICTIMS)
async def test_nothing_is_lost_doubled_or_invented_when_it_is_killed(tmp_path: Path, victim: str) -> None:
    async with running_upstream() as upstream:
        with RunningPortico(
            tmp_path / "data", choose_port(), PORTICO_API_KEY=KEY, OPENAI_API_KEY="mock", OPENAI_BASE_URL=upstream.url
        ) as portico:
            await asyncio.to_thread(portico.wait_for_banner)
            client = ClientJournal(f"http://127.0.0.1:{portico.port}", KEY)
            calls = asyncio.create_task(client.keep_calling(CALLS, at_once=AT_ONCE))
            await client.until(CALLS // 5)
            os.kill(await asyncio.to_thread(find_victim, portico, victim), signal.SIGKILL)
            await calls
            verdict = await settle(portico, client, upstream)
            books = json.loads(await asyncio.to_thread(manage, portico, "ledger_check", "--json"))
    assert (verdict.lost, verdict.doubled, verdict.invented) == ([], [], [])
    assert books["ok"] is True
    assert set(client.refused) <= {503}
    assert len(client.acknowledged) >= CALLS // 2
