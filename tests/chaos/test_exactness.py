"""Acknowledged calls = usage records = ledger debits, whatever dies while 200 calls run."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apps.core.embedded.state import choose_port
from tests.chaos.journals import ClientJournal, UpstreamJournal, Verdict, compare, running_upstream
from tests.support.running import BASE_DIR, RunningPortico

KEY = "chaos-key-0123456789-0123456789-0123456789"
CALLS, AT_ONCE = 1000, 200
SETTLE_SECONDS = 60

pytestmark = pytest.mark.chaos

# What marks each process on its command line.
VICTIMS = {
    "web": b"uvicorn",
    "worker": b"worker",
    "relay": b"relay",
    "postgres": b"postgres",
    "redis": b"redis-server",
}


def find_victim(portico: RunningPortico, mark: bytes) -> int:
    """Return the process to kill: the oldest with the mark, which is the service itself and not a child of it."""
    found = [
        identity.pid
        for identity in portico.find_processes()
        if identity.pid != portico.process.pid and mark in Path(f"/proc/{identity.pid}/cmdline").read_bytes()
    ]
    assert found, f"no process is marked {mark!r}"
    return min(found)


def manage(portico: RunningPortico, *arguments: str) -> str:
    """Run a command beside the running services."""
    environment = next(
        Path(f"/proc/{identity.pid}/environ").read_bytes()
        for identity in portico.find_processes()
        if b"uvicorn" in Path(f"/proc/{identity.pid}/cmdline").read_bytes()
    )
    variables = dict(entry.split("=", 1) for entry in environment.decode().split("\0") if "=" in entry)
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR, env=variables, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip


async def settle(portico: RunningPortico, client: ClientJournal, upstream: UpstreamJournal) -> Verdict:
    """Wait until the books agree with the journals, at most a minute; return the last comparison."""
    verdict = Verdict(["never read"], [], [])
    for _ in range(SETTLE_SECONDS):
        try:
            text = await asyncio.to_thread(manage, portico, "usage_export", "--format", "ndjson")
        except (subprocess.CalledProcessError, StopIteration):
            await asyncio.sleep(1)
            continue
        verdict = compare([json.loads(line) for line in text.splitlines()], client, upstream)
        if not verdict.lost:
            break
        await asyncio.sleep(1)
    return verdict


@pytest.mark.parametrize("victim", list(VICTIMS))
async def test_nothing_is_lost_doubled_or_invented_when_it_is_killed(tmp_path: Path, victim: str) -> None:
    async with running_upstream() as upstream:
        with RunningPortico(
            tmp_path / "data", choose_port(), PORTICO_API_KEY=KEY, OPENAI_API_KEY="mock", OPENAI_BASE_URL=upstream.url
        ) as portico:
            await asyncio.to_thread(portico.wait_for_banner)
            client = ClientJournal(f"http://127.0.0.1:{portico.port}", KEY)
            calls = asyncio.create_task(client.keep_calling(CALLS, at_once=AT_ONCE))
            await client.until(CALLS // 5)
            os.kill(await asyncio.to_thread(find_victim, portico, VICTIMS[victim]), signal.SIGKILL)
            await calls
            verdict = await settle(portico, client, upstream)
            books = json.loads(await asyncio.to_thread(manage, portico, "ledger_check", "--json"))
    assert (verdict.lost, verdict.doubled, verdict.invented) == ([], [], [])
    assert books["ok"] is True
    assert set(client.refused) <= {503}
    assert len(client.acknowledged) >= CALLS // 2
