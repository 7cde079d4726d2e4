"""Component health as data: run the probes at once, each within its limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from health_check.exceptions import ServiceWarning

from apps.monitoring.choices import Health
from apps.monitoring.selectors.probes import CacheProbe, DatabaseProbe, DiskProbe, Probe, ProvidersProbe, QueueProbe

PROBES: dict[str, type[Probe]] = {
    "database": DatabaseProbe,
    "cache": CacheProbe,
    "queue": QueueProbe,
    "providers": ProvidersProbe,
    "disk": DiskProbe,
}
# What a web process cannot serve without. Without Redis limits fall back to local shares; without workers sweeps work.
ESSENTIAL = ("database", "disk")
_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="probe")


@dataclass(frozen=True, slots=True)
class Component:
    """One component: how it is, a sentence when it isn't well, how long the probe took, what it saw."""

    name: str
    status: Health
    reason: str
    took_ms: float
    details: dict[str, Any]


def check_components(names: Iterable[str] = tuple(PROBES)) -> list[Component]:
    """Return the health of the named components. Nothing is raised, and nothing takes longer than the slowest limit."""
    return asyncio.run(_check(list(names)))


def overall(components: Iterable[Component]) -> Health:
    """Return the worst of them; only what is essential can take the whole down."""
    worst = Health.OK
    for component in components:
        if component.status == Health.DOWN and component.name in ESSENTIAL:
            return Health.DOWN
        if component.status != Health.OK:
            worst = Health.DEGRADED
    return worst


async def _check(names: list[str]) -> list[Component]:
    return list(await asyncio.gather(*(_check_one(name, PROBES[name]()) for name in names)))


async def _check_one(name: str, probe: Probe) -> Component:
    result = await probe.get_result(_threads)
    status = Health.OK
    if result.error is not None:
        status = Health.DEGRADED if isinstance(result.error, ServiceWarning) else Health.DOWN
    reason = "" if result.error is None else str(getattr(result.error, "message", "") or result.error)
    return Component(name, status, reason, round(result.time_taken * 1000, 2), probe.details)
