"""Sweeps: small jobs that find again what a lost message or a dead process left lying.

Registered in `AppConfig.ready`, run by the relay; an advisory lock keeps two relays from running the same sweep at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.db import connection

from apps.core.locks import advisory_key

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A named job and its interval in seconds. `run` returns how many things it mended; it may be killed at any line."""

    name: str
    every_seconds: float
    run: Callable[[], int]


_sweeps: dict[str, Sweep] = {}


def register_sweep(name: str, *, every_seconds: float, run: Callable[[], int]) -> None:
    """Declare a sweep."""
    _sweeps[name] = Sweep(name, every_seconds, run)


def sweeps() -> dict[str, Sweep]:
    """Return the declared sweeps by name."""
    return _sweeps


def run_sweep(sweep: Sweep) -> int | None:
    """Run one sweep unless another process is at it (None). A failure is logged and counts as nothing mended."""
    key = advisory_key(f"sweep:{sweep.name}")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [key])
        if not cursor.fetchone()[0]:
            return None
    started = time.monotonic()
    try:
        mended = sweep.run()
    except Exception:
        logger.exception("sweep_failed", sweep=sweep.name)
        return 0
    finally:
        if connection.connection is not None and not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [key])
    if mended:
        logger.info("swept", sweep=sweep.name, mended=mended, seconds=round(time.monotonic() - started, 3))
    return mended
