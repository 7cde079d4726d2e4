"""A database or Redis that stands still, is gone, or is not there yet when Portico starts."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from apps.core.embedded import EmbeddedPostgres
from apps.core.embedded.processes import find_processes_in
from apps.core.embedded.state import choose_port
from tests.chaos.faults import SERVICES, manage
from tests.chaos.journals import UpstreamJournal, running_upstream
from tests.support.running import RunningPortico

KEY = "chaos-key-0123456789-0123456789-0123456789"
BACK_SECONDS = 10.0
PATIENCE = aiohttp.ClientTimeout(total=15)
HONEST_SECONDS = 2.5
"""Two seconds, and what a busy machine adds."""

pytestmark = pytest.mark.chaos


@contextmanager
def standing_still(portico: RunningPortico, service: str) -> Iterator[None]:
    """Stop every process of an embedded service for the length of the block, without ending it."""
    stopped = find_processes_in(portico.data_dir / SERVICES[service])
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def serving(data_dir: Path, **environment: str) -> AsyncIterator[tuple[RunningPortico, aiohttp.ClientSession]]:
    """Run Portico over an upstream, with a client of it."""
    async with running_upstream() as upstream:
        with start(data_dir, upstream, **environment) as portico:
            await asyncio.to_thread(portico.wait_for_banner)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{portico.port}", timeout=PATIENCE) as session:
                yield portico, session


def start(data_dir: Path, upstream: UpstreamJournal, **environment: str) -> RunningPortico:
    return RunningPortico(
        data_dir,
        choose_port(),
        PORTICO_API_KEY=KEY,
        OPENAI_API_KEY="mock",
        OPENAI_BASE_URL=upstream.url,
        **environment,
    )


async def ask(session: aiohttp.ClientSession, *, key: str = KEY, stream: bool = False) -> tuple[int, str, float]:
    """Make a call; return status, Retry-After and seconds."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    begun = time.monotonic()
    async with session.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Retry-After", ""), time.monotonic() - begun


async def look(session: aiohttp.ClientSession, path: str) -> tuple[int, float]:
    """Get a page with the key; return status and seconds."""
    begun = time.monotonic()
    async with session.get(path, headers={"Authorization": f"Bearer {KEY}"}) as answer:
        await answer.read()
        return answer.status, time.monotonic() - begun


async def until_ready(session: aiohttp.ClientSession) -> float:
    """Return how long it takes until /ready says so."""
    begun = time.monotonic()
    while (await look(session, "/ready"))[0] != 200:
        assert time.monotonic() - begun < 60, "it is not ready after a minute"
        await asyncio.sleep(0.2)
    return time.monotonic() - begun


def record_count(portico: RunningPortico) -> int:
    return len(manage(portico, "usage_export").splitlines())


async def test_a_database_that_stands_still_stops_nobody_who_is_known(tmp_path: Path) -> None:
    stranger = "pk_live_" + "0" * 40
    async with serving(tmp_path / "data") as (portico, session):
        assert (await ask(session))[0] == 200
        with standing_still(portico, "postgres"):
            known = [await ask(session, stream=number % 2 == 0) for number in range(20)]
            await asyncio.sleep(35)  # longer than a known key is fresh
            known += [await ask(session, stream=number % 2 == 0) for number in range(5)]
            unknown = await ask(session, key="another-key-0123456789-0123456789")
            malformed = await ask(session, key=stranger)
            health, ready, listing = [await look(session, p) for p in ("/health", "/ready", "/api/v3/conversations")]
        back_after = await until_ready(session)
        assert (await ask(session))[0] == 200
        for _ in range(8):
            if (count := await asyncio.to_thread(record_count, portico)) == 27:
                break
            await asyncio.sleep(1)
    assert {status for status, _, _ in known} == {200}
    assert (unknown[0], unknown[1] != "") == (503, True)
    assert unknown[2] < HONEST_SECONDS
    assert malformed[0] == 401  # its checksum is wrong: nobody has to be asked
    assert health[0] == 200
    assert (ready[0], listing[0]) == (503, 503)
    assert max(ready[1], listing[1]) < 2 * HONEST_SECONDS
    assert back_after < BACK_SECONDS
    assert count == 27


async def test_a_redis_that_stands_still_refuses_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as (portico, session):
        assert (await ask(session))[0] == 200
        with standing_still(portico, "redis"):
            found = [await ask(session, stream=number % 2 == 0) for number in range(20)]
            await asyncio.sleep(8)  # until the process knows that it hears nothing
            found += [await ask(session, stream=number % 2 == 0) for number in range(10)]
        assert await until_ready(session) < BACK_SECONDS
        assert (await ask(session))[0] == 200
    assert {status for status, _, _ in found} == {200}


async def test_a_start_without_database_waits_and_says_so(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "elsewhere")
    await asyncio.to_thread(postgres.start)
    postgres.stop()
    async with running_upstream() as upstream:
        with start(tmp_path / "data", upstream, DATABASE_URL=postgres.url) as portico:
            said = await asyncio.to_thread(
                portico.wait_for_line, lambda line: "waiting for the database of DATABASE_URL" in line
            )
            assert "refused" in said
            await asyncio.to_thread(postgres.start)
            try:
                await asyncio.to_thread(portico.wait_for_banner)
                async with aiohttp.ClientSession(f"http://127.0.0.1:{portico.port}", timeout=PATIENCE) as session:
                    assert (await ask(session))[0] == 200
            finally:
                portico.stop()
                postgres.stop()


def test_a_wrong_password_is_told_at_once(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "elsewhere")
    postgres.start()
    try:
        password = urlsplit(postgres.url).password
        assert password
        url = postgres.url.replace(password, "not-the-password")
        with RunningPortico(tmp_path / "data", choose_port(), DATABASE_URL=url) as portico:
            assert portico.wait_for_exit() != 0
            assert "The database of DATABASE_URL refuses us" in portico.log
            assert "not-the-password" not in portico.log
    finally:
        postgres.stop()
