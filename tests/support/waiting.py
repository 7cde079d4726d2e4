"""Wait for what another process or task does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE_SECONDS = 0.01


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Return once the condition holds; fail the test when it still does not after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(PAUSE_SECONDS)


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds, letting the loop run; fail the test when it does not within ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for does not know of us
            await asyncio.sleep(PAUSE_SECONDS)
