"""Wait for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.01


def wait_until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Return once the condition holds; fail the test when it still does not after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(PAUSE_SECONDS)
